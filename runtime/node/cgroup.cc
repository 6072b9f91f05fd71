// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/cgroup.h"

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <vector>

#include "runtime/node/files.h"

namespace rmpi {
namespace {

// "No limit" is a number close to the largest one in version 1.
constexpr int64_t kNoLimit = int64_t{1} << 60;

struct Mount {
  bool version2 = false;
  std::string root;  // which group is mounted
  std::string mount_point;
  std::vector<std::string> controllers;  // version 1 only
};

std::vector<Mount> ReadMounts(const std::string& root) {
  std::vector<Mount> mounts;
  for (const std::string& line : ReadLines(root + "/proc/self/mountinfo")) {
    const size_t dash = line.find(" - cgroup");
    if (dash == std::string::npos) continue;
    std::istringstream head(line), tail(line.substr(dash + 3));
    std::string skipped, type, source, options;
    Mount mount;
    head >> skipped >> skipped >> skipped >> mount.root >> mount.mount_point;
    tail >> type >> source >> options;
    mount.version2 = type == "cgroup2";
    mount.controllers = Split(options, ',');
    mounts.push_back(mount);
  }
  return mounts;
}

// The path of our group in the hierarchy of `controller`, from a line "4:memory:/slurm/job_7" or "0::/slurm".
std::optional<std::string> GroupPath(const std::vector<std::string>& lines, const Mount& mount,
                                     const std::string& controller) {
  for (const std::string& line : lines) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto names = Split(line.substr(first + 1, second - first - 1), ',');
    const bool ours = mount.version2 ? second == first + 1
                                     : std::find(names.begin(), names.end(), controller) != names.end();
    if (ours) return line.substr(second + 1);
  }
  return std::nullopt;
}

// Our group's folder and those of its ancestors, innermost first, in every hierarchy that may know
// `controller`.
struct Chain {
  bool version2;
  std::vector<std::string> folders;
};

class Groups {
 public:
  explicit Groups(const std::string& root)
      : root_(root), mounts_(ReadMounts(root)), lines_(ReadLines(root + "/proc/self/cgroup")) {}

  std::vector<Chain> Of(const std::string& controller) const {
    std::vector<Chain> chains;
    for (const Mount& mount : mounts_) {
      const auto& names = mount.controllers;
      if (!mount.version2 && std::find(names.begin(), names.end(), controller) == names.end()) continue;
      if (auto path = GroupPath(lines_, mount, controller)) chains.push_back(Walk(mount, *path));
    }
    return chains;
  }

 private:
  Chain Walk(const Mount& mount, std::string path) const {
    // In a container, the path may be the host's while only a part of the tree is mounted.
    if (mount.root != "/") {
      path = path.starts_with(mount.root) ? path.substr(mount.root.size()) : "";
    }
    Chain chain{mount.version2, {}};
    const std::string top = root_ + mount.mount_point;
    while (path.size() > 1) {
      if (path.find("/..") == std::string::npos) chain.folders.push_back(top + path);
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
    chain.folders.push_back(top);
    return chain;
  }

  std::string root_;
  std::vector<Mount> mounts_;
  std::vector<std::string> lines_;
};

template <typename T>
void Lower(std::optional<T>* smallest, T value) {
  if (!*smallest || value < **smallest) *smallest = value;
}

void ReadCpus(const Groups& groups, CgroupLimits* limits) {
  for (const Chain& chain : groups.Of("cpuset")) {
    for (const std::string& folder : chain.folders) {
      const auto text =
          ReadSmallFile(folder + (chain.version2 ? "/cpuset.cpus.effective" : "/cpuset.effective_cpus"));
      const CpuList cpus = ParseCpuList(text ? *text : ReadSmallFile(folder + "/cpuset.cpus").value_or(""));
      if (cpus.empty()) continue;
      limits->cpus = limits->cpus ? Intersect(*limits->cpus, cpus) : cpus;
      break;  // the innermost set already lies within its ancestors'
    }
  }
}

void ReadQuota(const Groups& groups, CgroupLimits* limits) {
  for (const Chain& chain : groups.Of("cpu")) {
    for (const std::string& folder : chain.folders) {
      double quota_us = -1, period_us = 0;
      if (chain.version2) {
        std::sscanf(ReadSmallFile(folder + "/cpu.max").value_or("").c_str(), "%lf %lf", &quota_us,
                    &period_us);
      } else {
        quota_us = static_cast<double>(ReadNumber(folder + "/cpu.cfs_quota_us").value_or(-1));
        period_us = static_cast<double>(ReadNumber(folder + "/cpu.cfs_period_us").value_or(0));
      }
      if (quota_us > 0 && period_us > 0) Lower(&limits->cpu_quota, quota_us / period_us);
    }
  }
}

std::vector<CgroupMemory> ReadMemory(const Groups& groups) {
  std::vector<CgroupMemory> all;
  for (const Chain& chain : groups.Of("memory")) {
    for (const std::string& folder : chain.folders) {
      int64_t limit = kNoLimit;
      for (const char* file : {"/memory.limit_in_bytes", "/memory.max", "/memory.high"}) {
        limit = std::min(limit, ReadNumber(folder + file).value_or(kNoLimit));
      }
      if (limit >= kNoLimit || limit < 0) continue;
      // File pages that nobody uses are given up before anything is killed.
      const int64_t used =
          ReadNumber(folder + (chain.version2 ? "/memory.current" : "/memory.usage_in_bytes")).value_or(0);
      const int64_t cache =
          ReadField(folder + "/memory.stat", chain.version2 ? "inactive_file" : "total_inactive_file")
              .value_or(0);
      all.push_back(
          {folder, static_cast<uint64_t>(limit), static_cast<uint64_t>(std::max<int64_t>(used - cache, 0))});
    }
  }
  return all;
}

}  // namespace

std::vector<CgroupMemory> ReadCgroupMemory(const std::string& root) { return ReadMemory(Groups(root)); }

CgroupLimits ReadCgroupLimits(const std::string& root) {
  const Groups groups(root);
  CgroupLimits limits;
  ReadCpus(groups, &limits);
  ReadQuota(groups, &limits);
  for (const CgroupMemory& group : ReadMemory(groups)) {
    Lower(&limits.memory_bytes, group.limit_bytes);
    Lower(&limits.memory_left_bytes, group.limit_bytes - std::min(group.limit_bytes, group.used_bytes));
  }
  return limits;
}

}  // namespace rmpi
