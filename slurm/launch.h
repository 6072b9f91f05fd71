// SPDX-License-Identifier: Apache-2.0
// Who started this process, looked at before MPI_Init: a launch without a matching PMI plugin aborts there
// with a misleading text, or becomes many unrelated one-rank runs, and `srun mpirun` hangs. Those are refused
// here.
#pragma once

#include <string>
#include <vector>

#include "slurm/environment.h"

namespace rmpi {

enum class Launch {
  kNone,      // nobody: one process on its own (a laptop, a login node, a batch script without srun)
  kSrun,      // one rank of a Slurm step that speaks PMI
  kMpirun,    // one rank of an mpirun
  kWrongPmi,  // one of several tasks of a Slurm step that does not speak PMI: to be refused
  kNested,    // one rank of an mpirun that srun started once per task: to be refused
};

struct LaunchInfo {
  Launch kind = Launch::kNone;
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;
  std::string advice;  // for the user: why this launch is refused, or what would be better; may be empty

  bool refused() const { return kind == Launch::kWrongPmi || kind == Launch::kNested; }
};

// `command` is what the user ran ("ray-mpi", "app.py", ...); it appears in the advice.
LaunchInfo DetectLaunch(const Environment& env, const std::vector<std::string>& command);

// The line that runs `command` with one rank on each of the job's nodes.
std::string SrunLine(const Environment& env, const std::vector<std::string>& command);

// Why an mpirun must not be started on this host (inside a step of several tasks it would hang, and from a
// login node it would start the program elsewhere); "" if it may.
std::string WhyNoMpirun(const Environment& env, const std::string& host,
                        const std::vector<std::string>& command);

}  // namespace rmpi
