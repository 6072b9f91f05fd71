// SPDX-License-Identifier: Apache-2.0
// Which GPUs are this rank's: those that Slurm or the user made visible, divided among the ranks of the host
// unless each already has its own. Outside of a Slurm job, those that the driver of NVIDIA or AMD knows and
// that are in /dev here. No library of a vendor is loaded for that: it would cost seconds, and be missing in
// containers.
#pragma once

#include <string>
#include <vector>

#include "slurm/environment.h"

namespace rmpi {

struct GpuGrant {
  std::vector<std::string> ids;  // as they stand in `variable`: numbers or UUIDs
  std::string variable;   // the variable that makes them visible to a worker, e.g. CUDA_VISIBLE_DEVICES
  bool masked = false;    // that variable was given to us
  std::vector<int> numa;  // by id: the domain that it is near; -1: not known
  std::string type;       // Ray's name of the model, e.g. H200; empty: not known
};

// "NVIDIA A100-SXM4-40GB" -> "A100", "Tesla V100-SXM2-16GB" -> "V100", "NVIDIA GeForce RTX 5090" ->
// "GeForce-RTX-5090".
std::string AcceleratorType(const std::string& model);

GpuGrant GrantGpus(const Environment& env, const std::string& root, int local_rank, int local_size);

}  // namespace rmpi
