// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/gpus.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>

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

struct Found {
  size_t count = 0;
  std::vector<std::string> buses, uuids;  // of each, where that is known
  std::string model;                      // of the first
};

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The text behind "key:" at the beginning of a line.
std::string ValueOf(const std::string& path, const std::string& key) {
  for (const std::string& line : ReadLines(path)) {
    if (!line.starts_with(key + ":")) continue;
    const size_t from = line.find_first_not_of(" \t", key.size() + 1);
    return from == std::string::npos ? "" : line.substr(from, line.find_last_not_of(" \t\r\n") + 1 - from);
  }
  return "";
}

bool IsNumber(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// A container sees all of the machine in /proc, but only its own in /dev.
Found NvidiaDevices(const std::string& root) {
  Found found;
  const std::string folder = root + "/proc/driver/nvidia/gpus/";
  for (const std::string& bus : NamesIn(folder)) {
    const std::string minor = ValueOf(folder + bus + "/information", "Device Minor");
    if (!minor.empty() && !std::filesystem::exists(root + "/dev/nvidia" + minor)) continue;
    if (found.count++ == 0) found.model = ValueOf(folder + bus + "/information", "Model");
    found.buses.push_back(bus);
    found.uuids.push_back(ValueOf(folder + bus + "/information", "GPU UUID"));
  }
  if (found.count != 0) return found;
  for (const std::string& name : NamesIn(root + "/dev")) {
    found.count += name.starts_with("nvidia") && IsNumber(std::string_view(name).substr(6)) ? 1 : 0;
  }
  return found;
}

Found AmdDevices(const std::string& root) {
  Found found;
  const std::string folder = root + "/sys/class/kfd/kfd/topology/nodes/";
  for (const std::string& node : NamesIn(folder)) {
    found.count += ReadNumber(folder + node + "/gpu_id").value_or(0) != 0 ? 1 : 0;  // 0: a CPU
  }
  return found;
}

// An id is a number, or the beginning of a UUID.
int NumaOf(const Found& found, const std::string& id, const std::string& root) {
  size_t at = 0;
  if (IsNumber(id)) {
    at = static_cast<size_t>(std::strtoul(id.c_str(), nullptr, 10));
  } else {
    while (at < found.uuids.size() && !found.uuids[at].starts_with(id)) ++at;
  }
  if (at >= found.buses.size()) return -1;
  return static_cast<int>(
      ReadNumber(root + "/sys/bus/pci/devices/" + found.buses[at] + "/numa_node").value_or(-1));
}

}  // namespace

std::string AcceleratorType(const std::string& model) {
  std::vector<std::string> words;
  for (const std::string& word : Split(model, ' ')) {
    if (!word.empty()) words.push_back(word);
  }
  const auto joined = [&](size_t from, size_t to) {
    std::string out;
    for (size_t i = from; i < to; ++i) out += (i == from ? "" : "-") + words[i];
    return out;
  };
  // Behind the brand: words of capitals, up to one with a digit, whose suffix behind a hyphen does not count.
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string head =
        words[i].substr(0, words[i].find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"));
    if (head.find_first_of("0123456789") != std::string::npos && head.size() > 1) {
      words[i] = head;
      return joined(1, i + 1);
    }
    if (head != words[i]) break;
  }
  const size_t from = !words.empty() && words[0] == "NVIDIA" ? 1 : 0;
  return joined(from, words.size());
}

GpuGrant GrantGpus(const Environment& env, const std::string& root, int local_rank, int local_size) {
  // Slurm sets several of these; on an AMD machine CUDA_VISIBLE_DEVICES is the least of them.
  // HIP_VISIBLE_DEVICES counts within ROCR_VISIBLE_DEVICES.
  const bool amd = std::filesystem::exists(root + "/dev/kfd");
  const bool rocr = env.contains("ROCR_VISIBLE_DEVICES") && !env.contains("HIP_VISIBLE_DEVICES");
  GpuGrant grant;
  grant.variable = !amd ? "CUDA_VISIBLE_DEVICES" : rocr ? "ROCR_VISIBLE_DEVICES" : "HIP_VISIBLE_DEVICES";
  if (!env.contains(grant.variable) && env.contains("ZE_AFFINITY_MASK")) grant.variable = "ZE_AFFINITY_MASK";
  const std::optional<int64_t> on_node = GetInt(env, "SLURM_GPUS_ON_NODE");
  const Found found = amd ? AmdDevices(root) : NvidiaDevices(root);
  grant.type = AcceleratorType(found.model);
  grant.masked = env.contains(grant.variable);
  if (grant.masked) {
    grant.ids = VisibleIds(Get(env, grant.variable));
  } else if (on_node && *on_node > 0 && *on_node < 1024) {
    grant.ids = Numbered(static_cast<size_t>(*on_node));
  } else if (Get(env, "SLURM_JOB_ID").empty()) {
    grant.ids = Numbered(found.count);
  }

  // Each rank of the host has its own where all of theirs together fit into what Slurm gave to the node.
  const auto visible = static_cast<int64_t>(grant.ids.size());
  const bool own = HasPrefix(env, "SLURM_GPUS_PER_TASK") || HasPrefix(env, "SLURM_GPU_BIND") ||
                   (on_node && visible * local_size <= *on_node);
  if (local_size > 1 && !own) {
    const auto part = [&](int64_t rank) { return grant.ids.begin() + visible * rank / local_size; };
    grant.ids = std::vector<std::string>(part(local_rank), part(local_rank + 1));
  }
  for (const std::string& id : grant.ids) grant.numa.push_back(NumaOf(found, id, root));
  return grant;
}

}  // namespace rmpi
