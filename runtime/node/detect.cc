// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/detect.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "runtime/base/host_name.h"
#include "runtime/node/cgroup.h"
#include "runtime/node/cpu_grant.h"
#include "runtime/node/files.h"
#include "runtime/node/gpus.h"
#include "runtime/node/topology.h"

namespace rmpi {
namespace {

constexpr uint64_t kMaxStoreBytes = 200'000'000'000;
constexpr uint64_t kMinStoreBytes = 75 << 20;

// The mask of the mpirun (or its daemon) among our ancestors; a shell may stand between it and us.
std::optional<CpuList> LauncherMask() {
  constexpr std::array<std::string_view, 8> kLaunchers = {"mpirun",  "mpiexec", "orterun", "orted",
                                                          "prterun", "prted",   "prte",    "hydra_pmi_proxy"};
  pid_t pid = ::getppid();
  for (int up = 0; up < 8 && pid > 1; ++up) {
    const std::string stat = ReadSmallFile("/proc/" + std::to_string(pid) + "/stat").value_or("");
    const size_t open = stat.find('('), close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close + 4 >= stat.size()) break;
    const std::string_view name = std::string_view(stat).substr(open + 1, close - open - 1);
    if (std::find(kLaunchers.begin(), kLaunchers.end(), name) != kLaunchers.end()) {
      CpuList mask = AffinityOf(pid);
      return mask.empty() ? std::nullopt : std::optional(mask);
    }
    pid = static_cast<pid_t>(std::strtol(stat.c_str() + close + 4, nullptr, 10));  // ") S ppid"
  }
  return std::nullopt;
}

CpuList ByLocality(const DetectOptions& options, const CpuList& cpus) {
  Topology topology;
  if (!LoadTopology(options.synthetic_topology, &topology).ok()) return cpus;
  CpuList ordered;
  for (int cpu : topology.cpus_by_locality) {
    if (std::binary_search(cpus.begin(), cpus.end(), cpu)) ordered.push_back(cpu);
  }
  return ordered.size() == cpus.size() ? ordered : cpus;
}

void DetectCpus(const DetectOptions& options, const JobEnvironment& job, const CgroupLimits& limits,
                NodeResources* node) {
  CpuQuestion question;
  question.launch = options.launch;
  question.local_rank = options.local_rank;
  question.local_size = options.local_size;
  question.mask = options.mask ? *options.mask : AffinityOf(0);
  question.available =
      limits.cpus ? *limits.cpus
                  : ParseCpuList(ReadSmallFile(options.root + "/sys/devices/system/cpu/online").value_or(""));
  if (question.available.empty()) question.available = question.mask;
  if (options.launch == Launch::kMpirun) {
    question.launcher_mask = options.launcher_mask ? options.launcher_mask : LauncherMask();
  }
  question.slurm_cpus = job.cpus_on_node;
  question.quota = limits.cpu_quota;
  question.by_locality = [&](const CpuList& cpus) { return ByLocality(options, cpus); };
  CpuGrant grant = GrantCpus(question);
  node->cpus = grant.count;
  node->cpu_ids = grant.ids;
  node->notices.insert(node->notices.end(), grant.notices.begin(), grant.notices.end());
}

// Its meminfo has the lines of /proc/meminfo, each behind "Node <id> ".
uint64_t NumaBytes(const std::string& folder) {
  constexpr std::string_view kKey = "MemTotal:";
  const std::string text = ReadSmallFile(folder + "/meminfo").value_or("");
  const size_t at = text.find(kKey);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + kKey.size(), nullptr, 10) * 1024;
}

void DetectNumaNodes(const DetectOptions& options, NodeResources* node) {
  const std::string folder = options.root + "/sys/devices/system/node/";
  size_t all = 0;
  for (int id : ParseCpuList(ReadSmallFile(folder + "online").value_or(""))) {
    const CpuList cpus =
        ParseCpuList(ReadSmallFile(folder + "node" + std::to_string(id) + "/cpulist").value_or(""));
    if (cpus.empty()) continue;  // memory without cores
    ++all;
    if (Intersect(cpus, node->cpu_ids).empty()) continue;
    node->numa_nodes.push_back(id);
    node->numa_bytes += NumaBytes(folder + "node" + std::to_string(id));
  }
  node->all_numa_nodes = node->numa_nodes.size() == all;
  if (all == 0) return;
  const size_t sharing = (static_cast<size_t>(options.local_size) * node->numa_nodes.size() + all - 1) / all;
  node->numa_bytes /= std::max<size_t>(1, sharing);
}

void DetectMemory(const DetectOptions& options, const JobEnvironment& job, const CgroupLimits& limits,
                  NodeResources* node) {
  const std::string meminfo = options.root + "/proc/meminfo";
  const auto ranks = static_cast<uint64_t>(options.local_size);
  const auto total = static_cast<uint64_t>(ReadField(meminfo, "MemTotal").value_or(0)) * 1024;
  const auto available = static_cast<uint64_t>(ReadField(meminfo, "MemAvailable").value_or(0)) * 1024;
  uint64_t memory = total, left = available;
  memory = std::min(memory, limits.memory_bytes.value_or(memory));
  memory = std::min(memory, job.memory_per_node_bytes.value_or(memory));
  left = std::min({left, limits.memory_left_bytes.value_or(left), memory});
  node->memory_bytes = memory / ranks;
  left /= ranks;

  // Filling the arena beyond a control group's limit is a kill, not an error: leave a fifth of what is left
  // to everybody else, and fall below the usual minimum rather than take more than half.
  const uint64_t wanted = std::clamp(node->memory_bytes / 10 * 3, kMinStoreBytes, kMaxStoreBytes);
  node->object_store_bytes = std::min(wanted, std::max(left / 5 * 4, std::min(kMinStoreBytes, left / 2)));
  if (node->object_store_bytes < wanted) {
    node->notices.push_back("the object store gets " + std::to_string(node->object_store_bytes >> 20) +
                            " MiB instead of " + std::to_string(wanted >> 20) + " MiB, because only " +
                            std::to_string(left >> 20) +
                            " MiB of memory are free for this rank; ask Slurm for more with --mem");
  }
}

uint64_t MemlockLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur;
}

// Labels that a scheduling strategy can ask for.
std::map<std::string, std::string> Labels(const JobEnvironment& job) {
  std::map<std::string, std::string> labels{
      {"ray-mpi/host", job.node_name.empty() ? HostName() : job.node_name}};
  if (!job.partition.empty()) labels["ray-mpi/partition"] = job.partition;
  if (!job.topology.empty()) labels["ray-mpi/switch"] = job.topology;
  if (job.het_group) labels["ray-mpi/het-group"] = std::to_string(*job.het_group);
  return labels;
}

}  // namespace

DetectOptions OptionsFor(const Environment& environment, const LaunchInfo& launch) {
  DetectOptions options;
  options.environment = environment;
  options.launch = launch.kind;
  options.local_rank = launch.local_rank;
  options.local_size = launch.local_size;
  return options;
}

NodeResources DetectNode(const DetectOptions& given) {
  DetectOptions options = given;
  options.local_size = std::max(1, options.local_size);
  options.local_rank = std::clamp(options.local_rank, 0, options.local_size - 1);
  const JobEnvironment job = ParseJobEnvironment(options.environment);
  const CgroupLimits limits = ReadCgroupLimits(options.root);

  NodeResources node;
  DetectCpus(options, job, limits, &node);
  DetectNumaNodes(options, &node);
  DetectMemory(options, job, limits, &node);
  node.memlock_bytes = MemlockLimit();
  GpuGrant gpus = GrantGpus(options.environment, options.root, options.local_rank, options.local_size);
  node.gpus = static_cast<double>(gpus.ids.size());
  node.gpu_ids = std::move(gpus.ids);
  node.gpu_numa = std::move(gpus.numa);
  node.gpu_variable = std::move(gpus.variable);
  node.gpus_masked = gpus.masked;
  node.gpu_type = std::move(gpus.type);
  node.labels = Labels(job);
  return node;
}

}  // namespace rmpi
