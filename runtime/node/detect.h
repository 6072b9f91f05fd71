// SPDX-License-Identifier: Apache-2.0
// What this rank may use. To be called once, early, by the keeper, which then binds itself to `cpu_ids` (see
// BindToCpus); all that it starts inherits that.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/node/cpu_list.h"
#include "slurm/launch.h"

namespace rmpi {

struct DetectOptions {
  Environment environment;
  Launch launch = Launch::kNone;
  int local_rank = 0, local_size = 1;

  // For tests: a machine that is not there.
  std::string root;                      // before /proc, /sys and /dev
  std::optional<CpuList> mask;           // instead of this process's
  std::optional<CpuList> launcher_mask;  // instead of that of the mpirun above us
  std::string synthetic_topology;        // see LoadTopology
};

// The usual options: this process's environment, and its place in the launch.
DetectOptions OptionsFor(const Environment& environment, const LaunchInfo& launch);

struct NodeResources {
  double cpus = 1;                  // logical CPUs that may be kept busy; at most cpu_ids.size()
  std::vector<int> cpu_ids;         // where to run
  std::vector<int> numa_nodes;      // that these CPUs belong to
  uint64_t numa_bytes = 0;          // of memory in these, for each of the ranks that share them
  bool all_numa_nodes = true;       // the machine has no others
  uint64_t memory_bytes = 0;        // this rank's share of all memory, the object store included
  uint64_t object_store_bytes = 0;  // default size: 30 % of that, within what can be had safely
  uint64_t memlock_bytes = 0;       // RLIMIT_MEMLOCK; UINT64_MAX: no limit
  double gpus = 0;
  std::vector<std::string> gpu_ids;
  std::vector<int> gpu_numa;  // by id: the domain that it is near; -1: not known
  std::string gpu_variable;   // that shows them to a worker
  bool gpus_masked = false;   // the ids were given to us in that variable
  std::string gpu_type;       // Ray's name of the model; empty: not known
  std::map<std::string, std::string> labels;
  std::vector<std::string> notices;  // for the user, one line each
};

NodeResources DetectNode(const DetectOptions& options);

}  // namespace rmpi
