// SPDX-License-Identifier: Apache-2.0
#include "launcher/resources.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace rmpi::launcher {
namespace {

constexpr double kStoreShare = 0.3;  // of the memory granted, as Ray does
constexpr uint64_t kStoreMinBytes = 64u << 20;

}  // namespace

void DecideResources(const Options& options, const Environment&, const LaunchInfo& launch,
                     RayletConfig* raylet, std::vector<std::string>* notices) {
  const int ranks = std::max(1, launch.local_size);
  cpu_set_t mask;
  CPU_ZERO(&mask);
  ::sched_getaffinity(0, sizeof mask, &mask);
  const double granted_cpus = std::max(1, CPU_COUNT(&mask) / ranks);
  const auto memory = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                      static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) / static_cast<uint64_t>(ranks);

  const double cpus = options.num_cpus.value_or(granted_cpus);
  if (cpus > granted_cpus) {
    notices->push_back(fmt::format(
        "--num-cpus {} is more than the {} CPUs granted here: taken as logical CPUs", cpus, granted_cpus));
  }
  raylet->object_store_bytes = options.object_store_bytes.value_or(
      std::max(kStoreMinBytes, static_cast<uint64_t>(static_cast<double>(memory) * kStoreShare)));
  const uint64_t rest = memory > raylet->object_store_bytes ? memory - raylet->object_store_bytes : 0;
  raylet->resources = {{"CPU", cpus}, {"memory", static_cast<double>(options.memory_bytes.value_or(rest))}};
  if (options.num_gpus.value_or(0) > 0) raylet->resources.emplace_back("GPU", *options.num_gpus);
  raylet->resources.insert(raylet->resources.end(), options.resources.begin(), options.resources.end());
  std::sort(raylet->resources.begin(), raylet->resources.end());
  raylet->labels = options.labels;
}

}  // namespace rmpi::launcher
