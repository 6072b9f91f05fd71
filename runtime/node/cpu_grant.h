// SPDX-License-Identifier: Apache-2.0
// Which CPUs are this rank's. A pure function, because the rules are many:
//   * srun's mask is never widened. Where ranks of one host share a mask, they divide it.
//   * mpirun binds a rank to one CPU by default, which would leave a raylet and all its workers on it: that
//   mask
//     is undone, up to what mpirun itself may use, and divided among the ranks of the host.
//   * Slurm may grant fewer CPUs than the mask has (no confinement): their number counts, nobody is bound.
//   * More ranks than CPUs: one CPU each is announced, nobody is bound.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/node/cpu_list.h"
#include "slurm/launch.h"

namespace rmpi {

struct CpuQuestion {
  Launch launch = Launch::kNone;
  int local_rank = 0, local_size = 1;
  CpuList mask;                          // of this process
  CpuList available;                     // of the cpuset, or all that are online
  std::optional<CpuList> launcher_mask;  // of the mpirun or its daemon that started us
  std::optional<int> slurm_cpus;         // what Slurm granted on this node, to all of its ranks together
  std::optional<double> quota;           // CPU seconds per second for all of us together
  // Orders CPUs so that neighbours in the list are neighbours in the machine. Asked only before dividing.
  std::function<CpuList(const CpuList&)> by_locality;
};

struct CpuGrant {
  CpuList ids;       // where this rank may run
  double count = 1;  // how many CPUs it may keep busy; at most ids.size()
  std::vector<std::string> notices;
};

CpuGrant GrantCpus(const CpuQuestion& question);

}  // namespace rmpi
