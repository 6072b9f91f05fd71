// SPDX-License-Identifier: Apache-2.0
// What is tried on a Cluster, and what came of it.
#pragma once

#include <string>
#include <vector>

#include "tests/scale/cluster.h"
#include "tests/scale/workload.h"

namespace rmpi::scale {

struct Outcome {
  std::string name;
  bool finished = false;               // all tasks were done in time
  uint64_t tasks = 0;                  // that were asked for
  uint64_t started = 0;                // more than that after deaths
  TimeNs to_last_start = 0;            // virtual, from the submission
  TimeNs makespan = 0;                 // virtual
  TimeNs p50 = 0, p99 = 0, worst = 0;  // from a task's submission to its start
  HeadLoad head;
  double local_grants_per_s = 0;  // of real CPU time of the nodes' schedulers
  size_t head_bytes = 0;
  TimeNs cpu = 0;  // real, of the whole simulation
  uint64_t events = 0;

  double head_messages_per_task() const {
    return tasks == 0 ? 0 : static_cast<double>(head.in + head.out) / static_cast<double>(tasks);
  }
  double heartbeats_per_s() const {
    return makespan == 0 ? 0 : static_cast<double>(head.heartbeats) * 1e9 / static_cast<double>(makespan);
  }
  double decisions_per_s() const {
    return head.cpu == 0 ? 0 : static_cast<double>(head.assigned) * 1e9 / static_cast<double>(head.cpu);
  }
};

// `tasks` of `run` each, at once, from so many owners.
Outcome Burst(const Size& size, uint32_t owners, uint64_t tasks, TimeNs run);
// The same twice: what is told of is the second time, when the owners have leases and workers are there.
Outcome WarmBurst(const Size& size, uint32_t owners, uint64_t tasks, TimeNs run);
// One task for each CPU, none of which ends: how long until all run.
Outcome RampUp(const Size& size, uint32_t owners);
// A stream of tasks that keeps the cluster half busy, for `span`.
Outcome Steady(const Size& size, uint32_t owners, TimeNs run, TimeNs span);
// So many actors of no CPU from each owner, all at once.
Outcome Actors(const Size& size, uint32_t owners, uint64_t actors);
// Placement groups of so many bundles of so many CPUs, all asked for at once by one owner. Latencies: until
// it hears that one is there.
Outcome Groups(const Size& size, uint64_t groups, GroupStrategy strategy, uint32_t bundles, int64_t cpus);
// Nothing to do for `span`: what the head hears all the same.
Outcome Idle(const Size& size, TimeNs span);
// A burst of tasks of a second each, in which so many nodes die.
Outcome Deaths(const Size& size, uint32_t owners, uint32_t deaths);

// A few tasks of half a node each beside an endless stream of small ones, of `run` each, from other owners,
// that keeps all CPUs busy: how long until they start. Not finished: one of them never did.
Outcome BigAmongSmall(const Size& size, uint32_t owners, uint64_t big, TimeNs run);

// The mixed workload (workload.h) of so many owners, all tasks at once: beside what the list scheduler
// reaches.
struct MixedOutcome {
  Outcome outcome;
  Bound bound;
  double utilisation =
      0;  // of the CPUs until the last task has ended, by what tasks do (not what their transfers take)

  double over_bound() const {
    return static_cast<double>(outcome.makespan) / static_cast<double>(bound.makespan);
  }
};
MixedOutcome MixedWork(const Size& size, uint32_t owners, TimeNs span, uint64_t seed);

}  // namespace rmpi::scale
