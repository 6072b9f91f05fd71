// SPDX-License-Identifier: Apache-2.0
#include "launcher/resources.h"

#include <fmt/format.h>

#include <algorithm>

namespace rmpi::launcher {

void DecideResources(const Options& options, const NodeResources& node, RayletConfig* raylet,
                     std::vector<std::string>* notices) {
  notices->insert(notices->end(), node.notices.begin(), node.notices.end());
  const double cpus = options.num_cpus.value_or(node.cpus);
  if (cpus > node.cpus) {
    notices->push_back(fmt::format(
        "--num-cpus {:g} is more than the {:g} granted here: taken as logical CPUs, which share them", cpus,
        node.cpus));
  }
  const double gpus = options.num_gpus.value_or(node.gpus);
  if (gpus > node.gpus) {
    notices->push_back(fmt::format(
        "--num-gpus {:g} is more than the {:g} visible here: the rest are logical GPUs", gpus, node.gpus));
  }
  raylet->object_store_bytes = options.object_store_bytes.value_or(node.object_store_bytes);
  const uint64_t rest =
      node.memory_bytes > raylet->object_store_bytes ? node.memory_bytes - raylet->object_store_bytes : 0;
  raylet->resources = {{"CPU", cpus}, {"memory", static_cast<double>(options.memory_bytes.value_or(rest))}};
  if (gpus > 0) raylet->resources.emplace_back("GPU", gpus);
  raylet->resources.insert(raylet->resources.end(), options.resources.begin(), options.resources.end());
  std::sort(raylet->resources.begin(), raylet->resources.end());
  raylet->labels = node.labels;
  for (const auto& [key, value] : options.labels) raylet->labels[key] = value;  // the user's word is the last
}

}  // namespace rmpi::launcher
