// SPDX-License-Identifier: Apache-2.0
#include "launcher/resources.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "runtime/node/files.h"
#include "runtime/node/topology.h"
#include "runtime/raylet/handshake.h"
#include "sched/pool.h"

namespace rmpi::launcher {

Status DecideResources(const Options& options, const NodeResources& node, RayletConfig* raylet,
                       std::vector<std::string>* notices) {
  notices->insert(notices->end(), node.notices.begin(), node.notices.end());
  const double cpus = options.num_cpus.value_or(node.cpus);
  if (cpus > node.cpus) {
    notices->push_back(
        fmt::format("--num-cpus {} is more than the {} granted here: taken as logical CPUs, which share them",
                    cpus, node.cpus));
  }
  const double gpus = options.num_gpus.value_or(node.gpus);
  if (gpus > node.gpus && node.gpus_masked) {
    return Status::Invalid(fmt::format("--num-gpus {} is more than the {} of this node's {} ({})", gpus,
                                       node.gpus, node.gpu_variable, fmt::join(node.gpu_ids, ",")));
  }
  if (gpus > node.gpus) {
    notices->push_back(fmt::format(
        "--num-gpus {} is more than the {} visible here: the rest are logical GPUs", gpus, node.gpus));
  }
  raylet->object_store_bytes = options.object_store_bytes.value_or(node.object_store_bytes);
  if (raylet->object_store_bytes > node.memory_bytes && node.memory_bytes > 0) {
    notices->push_back(
        fmt::format("--object-store-memory: {} MiB are more than the {} MiB of memory for this rank; objects "
                    "beyond that will "
                    "meet the kernel's OOM killer, not ObjectStoreFullError",
                    raylet->object_store_bytes >> 20, node.memory_bytes >> 20));
  }
  const uint64_t rest =
      node.memory_bytes > raylet->object_store_bytes ? node.memory_bytes - raylet->object_store_bytes : 0;
  raylet->resources = {{"CPU", cpus}, {"memory", static_cast<double>(options.memory_bytes.value_or(rest))}};
  if (gpus > 0) raylet->resources.emplace_back("GPU", gpus);
  const std::string type = gpus > 0 ? node.gpu_type : "";
  if (!type.empty()) raylet->resources.emplace_back("accelerator_type:" + type, 1);
  raylet->resources.insert(raylet->resources.end(), options.resources.begin(), options.resources.end());
  std::sort(raylet->resources.begin(), raylet->resources.end());
  raylet->labels = node.labels;
  if (!type.empty()) raylet->labels["ray.io/accelerator-type"] = type;
  for (const auto& [key, value] : options.labels) raylet->labels[key] = value;  // the user's word is the last
  return Status::Ok();
}

std::string DecideArenaNuma(const Options& options, const NodeResources& node, uint64_t object_store_bytes) {
  const bool has_room = object_store_bytes <= node.numa_bytes / 4 * 3;
  if (options.bind == "none" || node.all_numa_nodes || !has_room) return "";
  return FormatCpuList(node.numa_nodes);
}

void DecideBinding(const Options& options, const NodeResources& node, const DeviceKinds& devices,
                   RayletConfig* raylet) {
  const double cpus = options.num_cpus.value_or(node.cpus);
  const bool few = cpus > static_cast<double>(node.cpu_ids.size());
  Topology topology;
  if (options.bind == "none" || few || node.cpu_ids.back() >= static_cast<int>(kMaxBoundCpus) ||
      !LoadTopology("", &topology).ok()) {
    return;
  }
  raylet->cpus = PlacesOf(topology, node.cpu_ids);
  for (const DeviceKind& kind : devices) {
    for (size_t i = 0; i < kind.ids.size(); ++i) {
      const bool known = kind.resource == "GPU" && i < node.gpu_numa.size();
      raylet->device_numa.push_back(known ? node.gpu_numa[i] : sched::kAnyNuma);
    }
  }
}

Status DecideDevices(const NodeResources& node, const Environment& environment, const RayletConfig& raylet,
                     DeviceKinds* devices) {
  size_t total = 0;
  for (const auto& [name, amount] : raylet.resources) {  // by name, as the scheduler numbers them
    if (!sched::IsUnitResource(name) || amount == 0) continue;
    total += static_cast<size_t>(amount);
    if (amount != std::floor(amount) || total > kMaxDevices) {
      return Status::Invalid(
          fmt::format("this node cannot offer {:g} of {}: devices are whole, and at most {} in all", amount,
                      name, kMaxDevices));
    }
    DeviceKind kind{name, VisibleDevicesVariable(name), false, {}};
    if (name == "GPU") {
      kind = {name, node.gpu_variable, node.gpus_masked, node.gpu_ids};
    } else if (environment.contains(kind.variable)) {
      kind.masked = true;
      kind.ids = Split(Get(environment, kind.variable), ',');
    }
    if (kind.masked && kind.ids.size() < static_cast<size_t>(amount)) {
      return Status::Invalid(fmt::format("this node cannot offer {:g} of {}: {} names {}", amount, name,
                                         kind.variable, kind.ids.size()));
    }
    while (kind.ids.size() < static_cast<size_t>(amount)) kind.ids.push_back(std::to_string(kind.ids.size()));
    kind.ids.resize(static_cast<size_t>(amount));
    devices->push_back(std::move(kind));
  }
  return Status::Ok();
}

}  // namespace rmpi::launcher
