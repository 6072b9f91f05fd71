// SPDX-License-Identifier: Apache-2.0
// The machine's shape as hwloc sees it. Loading it takes 10 ms and more, so it is loaded only where CPUs must
// be divided among several ranks of one host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/node/cpu_list.h"

namespace rmpi {

struct Topology {
  struct NumaNode {
    int id = 0;
    CpuList cpus;
    uint64_t memory_bytes = 0;
  };
  CpuList cpus_by_locality;  // packages, NUMA nodes, cores: those that share most stand together
  std::vector<NumaNode> numa_nodes;
  int cores = 0;
};

// `synthetic` describes a machine that is not there, e.g. "package:2 core:4 pu:2"; "" is this one.
Status LoadTopology(const std::string& synthetic, Topology* topology);

}  // namespace rmpi
