// SPDX-License-Identifier: Apache-2.0
// `ray-mpi stop`: ends what `ray-mpi --serve` keeps up.
#pragma once

#include "slurm/environment.h"

namespace rmpi::launcher {

// Ends the runtimes of this user that serve and whose head runs on this node; inside of a Slurm job, those of
// that job. Waits for their end. 0: all that there were have ended. 1: there was none, or one does not end.
int StopServing(const Environment& environment);

}  // namespace rmpi::launcher
