// SPDX-License-Identifier: Apache-2.0
// Which GPUs are this rank's: those that Slurm or the user made visible, divided among the ranks of the host
// unless each already has its own. Outside of a Slurm job, those that the NVIDIA driver knows.
#pragma once

#include <string>
#include <vector>

#include "slurm/environment.h"

namespace rmpi {

struct GpuGrant {
  std::vector<std::string> ids;  // as they stand in `variable`: numbers or UUIDs
  std::string variable;  // the variable that makes them visible to a worker, e.g. CUDA_VISIBLE_DEVICES
};

GpuGrant GrantGpus(const Environment& env, const std::string& root, int local_rank, int local_size);

}  // namespace rmpi
