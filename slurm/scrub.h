// SPDX-License-Identifier: Apache-2.0
// The environment of a task. A child that inherits its rank's environment aborts in MPI_Init, and an mpirun
// in it takes the whole Slurm step down. What a task gets instead looks like a batch script's environment:
// the job's variables, but none of the step, of the rank, or of the PMI connection.
#pragma once

#include <string>
#include <string_view>

#include "slurm/environment.h"

namespace rmpi {

// Every variable that ScrubEnvironment takes away stays readable under this prefix.
inline constexpr std::string_view kOriginalPrefix = "RAY_MPI_ORIG_";

// Names, separated by blanks, of the variables that the launcher set over the user's own with SetOverUser.
inline constexpr std::string_view kSetByUs = "RAY_MPI_SET";

// Sets a variable for MPI's sake (e.g. OMPI_MCA_pml=ob1) so that ScrubEnvironment gives the user's value
// back.
void SetOverUser(Environment* env, const std::string& name, const std::string& value);

// The environment for children of a rank. Scrubbing twice changes nothing more.
Environment ScrubEnvironment(const Environment& env);

// For tasks, on top of that. Open MPI's mpirun begins at its own node, and gets as many places there as there
// are CPUs: `slots`, or in a job of Slurm's what that gave on each node; without this it has one for each
// rank of ours. It starts daemons only where it has ranks, not on all nodes of the job. It does not bind: two
// tasks' mpiruns know nothing of each other and would both take the first cores. What the user has set stays;
// mpirun's own options win over both.
void SetMpirunOfTasks(Environment* env, int64_t slots);

// Open MPI's session files go to `folder`: a worker that is killed leaves them behind.
void SetMpiFolderOfTasks(Environment* env, const std::string& folder);

}  // namespace rmpi
