// SPDX-License-Identifier: Apache-2.0
// A mixed workload, as of a day on a cluster: short and long tasks, small and big ones, some with a GPU, some
// with large arguments, and gangs in between. The same for one seed on every machine.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/scale/cluster.h"

namespace rmpi::scale {

// How long the arguments of a task take to another node: what the head assumes as well (global_scheduler.cc).
inline constexpr uint64_t kArgumentBytes = 100'000'000;
inline constexpr double kBytesPerSecond = 1e9;
inline constexpr TimeNs kTransfer =
    static_cast<TimeNs>(static_cast<double>(kArgumentBytes) / kBytesPerSecond * 1e9);

struct MixedTask {
  TimeNs run = 0;
  uint32_t cpus = 1;
  uint32_t gpus = 0;
  uint32_t data = 0;  // the node where its arguments of kArgumentBytes lie; 0: it has none
};

// A placement group of so many bundles on as many nodes, with a task in each, which comes later.
struct Gang {
  TimeNs at = 0;  // since the submission of the tasks
  uint32_t bundles = 0;
  uint32_t cpus = 0;  // of each
  TimeNs run = 0;
};

struct Workload {
  std::vector<MixedTask> tasks;
  std::vector<Gang> gangs;
};

// As much as keeps all CPUs busy for about `span`. Of the tasks 40 % take 10 ms, 40 % 1 s, 20 % 60 s; 60 %
// one CPU, 30 % four, 10 % 64; a tenth has a GPU, a fifth 100 MB of arguments somewhere. Ten gangs of 64 CPUs
// on every eighth node for 60 s come one after the other.
Workload Mixed(const Size& size, TimeNs span, uint64_t seed);

// What no schedule can be better than, and what one that knows everything reaches.
struct Bound {
  TimeNs by_cpus = 0, by_gpus = 0;  // all work on all CPUs, on all GPUs
  TimeNs longest = 0;
  TimeNs makespan = 0;  // of the best list schedule
};

// A central list scheduler: it knows all tasks with their lengths and all nodes at every moment, and decides
// in no time. Whenever something ends, the first task of its list that fits there starts. Lists: as
// submitted, longest first, and most CPUs first and of these the longest; each with and without work for GPUs
// coming first on nodes that have some; the best of the six makespans counts. It is let off what costs real
// schedulers time: arguments travel in none, processes start in none, and the bundles of a gang need not run
// together.
Bound ListSchedule(const Size& size, const Workload& work);

}  // namespace rmpi::scale
