// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/gpus.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "runtime/node/files.h"

namespace rmpi {
namespace {

// A number below zero or a name that is no device ends the list, as for the CUDA runtime.
std::vector<std::string> VisibleIds(const std::string& text) {
  std::vector<std::string> ids;
  for (const std::string& id : Split(text, ',')) {
    if (id.empty() || id.starts_with('-') || id == "NoDevFiles" || id == "none" || id == "void") break;
    ids.push_back(id);
  }
  return ids;
}

std::vector<std::string> Numbered(size_t count) {
  std::vector<std::string> ids;
  for (size_t i = 0; i < count; ++i) ids.push_back(std::to_string(i));
  return ids;
}

size_t NvidiaDevices(const std::string& root) {
  std::error_code error;
  std::filesystem::directory_iterator folder(root + "/proc/driver/nvidia/gpus", error);
  return error ? 0 : static_cast<size_t>(std::distance(begin(folder), end(folder)));
}

}  // namespace

GpuGrant GrantGpus(const Environment& env, const std::string& root, int local_rank, int local_size) {
  // Slurm sets several of these; on an AMD machine only ROCR_VISIBLE_DEVICES means anything.
  const bool amd = std::filesystem::exists(root + "/dev/kfd");
  GpuGrant grant{{}, amd ? "ROCR_VISIBLE_DEVICES" : "CUDA_VISIBLE_DEVICES"};
  const std::optional<int64_t> on_node = GetInt(env, "SLURM_GPUS_ON_NODE");
  if (env.contains(grant.variable)) {
    grant.ids = VisibleIds(Get(env, grant.variable));
  } else if (env.contains("ZE_AFFINITY_MASK")) {
    grant = {VisibleIds(Get(env, "ZE_AFFINITY_MASK")), "ZE_AFFINITY_MASK"};
  } else if (on_node && *on_node > 0 && *on_node < 1024) {
    grant.ids = Numbered(static_cast<size_t>(*on_node));
  } else if (Get(env, "SLURM_JOB_ID").empty()) {
    grant.ids = Numbered(NvidiaDevices(root));
  }

  // Each rank of the host has its own where all of theirs together fit into what Slurm gave to the node.
  const auto visible = static_cast<int64_t>(grant.ids.size());
  const bool own = HasPrefix(env, "SLURM_GPUS_PER_TASK") || HasPrefix(env, "SLURM_GPU_BIND") ||
                   (on_node && visible * local_size <= *on_node);
  if (local_size > 1 && !own) {
    const auto part = [&](int64_t rank) { return grant.ids.begin() + visible * rank / local_size; };
    grant.ids = std::vector<std::string>(part(local_rank), part(local_rank + 1));
  }
  return grant;
}

}  // namespace rmpi
