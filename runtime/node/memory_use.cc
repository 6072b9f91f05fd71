// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/memory_use.h"

#include <algorithm>
#include <filesystem>

#include "runtime/node/cgroup.h"
#include "runtime/node/files.h"

namespace rmpi {
namespace {

constexpr uint64_t kKiB = 1024;

std::string ProcFile(const std::string& root, pid_t pid, const char* name) {
  return root + "/proc/" + std::to_string(pid) + "/" + name;
}

}  // namespace

MemoryUse ReadMemoryUse(const std::string& root) {
  MemoryUse use;
  const std::string meminfo = root + "/proc/meminfo";
  const auto total = static_cast<uint64_t>(ReadField(meminfo, "MemTotal").value_or(0)) * kKiB;
  const auto available = static_cast<uint64_t>(ReadField(meminfo, "MemAvailable").value_or(0)) * kKiB;
  use.limit_bytes = total;
  use.used_bytes = total - std::min(total, available);
  use.limit = "the machine";
  for (const CgroupMemory& group : ReadCgroupMemory(root)) {
    if (group.limit_bytes == 0) continue;
    const MemoryUse other{group.used_bytes, group.limit_bytes, group.folder};
    if (other.fraction() > use.fraction()) use = other;
  }
  return use;
}

uint64_t ReadOomKills(const std::string& root) {
  int64_t kills = 0;
  for (const CgroupMemory& group : ReadCgroupMemory(root)) {
    for (const char* file : {"/memory.events", "/memory.oom_control"}) {
      kills += ReadField(group.folder + file, "oom_kill").value_or(0);
    }
  }
  return static_cast<uint64_t>(kills);
}

uint64_t ReadOwnMemory(const std::string& root, pid_t pid) {
  return static_cast<uint64_t>(ReadField(ProcFile(root, pid, "status"), "RssAnon").value_or(0)) * kKiB;
}

std::vector<ProcessMemory> LargestProcesses(const std::string& root, size_t most) {
  std::vector<ProcessMemory> all;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root + "/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    ProcessMemory p;
    p.pid = static_cast<pid_t>(std::stol(name));
    p.bytes = ReadOwnMemory(root, p.pid);
    if (p.bytes != 0) all.push_back(p);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  all.resize(std::min(all.size(), most));
  for (ProcessMemory& p : all) {
    p.command = ReadSmallFile(ProcFile(root, p.pid, "cmdline")).value_or("");
    std::replace(p.command.begin(), p.command.end(), '\0', ' ');
    if (p.command.size() > 60) p.command.resize(60);
  }
  return all;
}

}  // namespace rmpi
