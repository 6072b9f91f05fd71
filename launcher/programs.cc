// SPDX-License-Identifier: Apache-2.0
#include "launcher/programs.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "launcher/process.h"

namespace rmpi::launcher {
namespace {

// Everything of this user whose environment, at its start, had `entry`; not this process itself.
std::vector<pid_t> WithEnvironment(const std::string& entry) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& folder : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(folder.path().filename().c_str());
    if (pid <= 0 || pid == ::getpid()) continue;
    std::ifstream file(folder.path() / "environ");  // of other users: does not open
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::string all = '\0' + text;
    if (all.find('\0' + entry + '\0') != all.npos) found.push_back(pid);
  }
  return found;
}

}  // namespace

void Programs::End(pid_t pid, TimeNs now) {
  const auto [it, fresh] = kill_at_.emplace(pid, now + kGrace);
  if (fresh) {
    ::kill(pid, SIGTERM);
  } else if (now >= it->second) {
    ::kill(pid, SIGKILL);
  }
}

void Programs::Look(TimeNs now) {
  if (now < look_at_) return;
  look_at_ = kNever;
  std::set<pid_t> leaders;
  std::map<pid_t, TimeNs> kill_at;
  for (const pid_t pid : Descendants(::getpid())) {
    const pid_t leader = ::getsid(pid);
    if (dead_.contains(leader)) {
      leaders.insert(leader);
      End(pid, now);
    }
    if (const auto it = kill_at_.find(pid); it != kill_at_.end()) kill_at.insert(*it);
  }
  dead_ = std::move(leaders);
  kill_at_ = std::move(kill_at);
  if (!dead_.empty()) look_at_ = now + kPause;
}

void EndProgramsOf(const std::string& run_directory) {
  const std::string entry = "RAY_MPI_SESSION=" + run_directory;
  const timespec pause{0, 20'000'000};
  Programs programs;
  for (const TimeNs begin = MonotonicNow(); MonotonicNow() <= begin + Programs::kGrace + kSecond;) {
    const std::vector<pid_t> left = WithEnvironment(entry);
    if (left.empty()) return;
    for (const pid_t pid : left) programs.End(pid, MonotonicNow());
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace rmpi::launcher
