// SPDX-License-Identifier: Apache-2.0
// Which mpirun it is, and what it must be told so that it starts all ranks on few CPUs, leaves our standard
// input alone and does not end the job with the first rank that dies.
#pragma once

#include <string>
#include <vector>

#include "slurm/environment.h"

namespace rmpi::launcher {

enum class MpirunKind {
  kOpenMpi4,
  kOpenMpi5,
  kHydra,  // MPICH and its descendants
  kOther,
};

// From what `mpirun --version` printed.
MpirunKind MpirunKindOf(const std::string& version);

// The options between `mpirun -n N` and the program. On several hosts, what of the environment goes along.
std::vector<std::string> MpirunOptions(MpirunKind kind, bool one_host, const Environment& environment);

}  // namespace rmpi::launcher
