// SPDX-License-Identifier: Apache-2.0
// The machine's shape as hwloc sees it: packages, NUMA domains, cores, no caches and no devices, which take
// much of the time that loading takes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/node/cpu_list.h"
#include "sched/cpu_slots.h"

namespace rmpi {

struct Topology {
  struct NumaNode {
    int id = 0;
    CpuList cpus;
    uint64_t memory_bytes = 0;
  };
  CpuList cpus_by_locality;             // packages, NUMA nodes, cores: those that share most stand together
  std::vector<sched::CpuPlace> places;  // the same CPUs in the same order
  std::vector<NumaNode> numa_nodes;
  int cores = 0;
};

// `instead` describes a machine that is not there, e.g. "package:2 core:4 pu:2", or names a file.xml that
// hwloc wrote of it; "" is this one.
Status LoadTopology(const std::string& instead, Topology* topology);

// Those that workers are bound to: of the machine's CPUs the granted ones, by locality. None if they cannot
// be found out, so that nobody is bound.
std::vector<sched::CpuPlace> PlacesOf(const Topology& topology, const CpuList& granted);

}  // namespace rmpi
