// SPDX-License-Identifier: Apache-2.0
#include "launcher/programs.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
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

void Programs::End(const std::vector<pid_t>& pids, TimeNs now) {
  const std::set<pid_t> all(pids.begin(), pids.end());
  for (const pid_t pid : pids) {
    const bool topmost = !all.contains(ParentOf(pid));
    const auto [it, met] = ending_.emplace(pid, Ending{now, topmost ? now : now + kPatience, topmost, false});
    Ending& ending = it->second;
    if (!met && topmost && !ending.topmost) ending.ask_at = std::min(ending.ask_at, now + kOrphanWait);
    ending.topmost = topmost;
    if (now >= ending.begin + kGrace) {
      ::kill(pid, SIGKILL);
    } else if (now >= ending.ask_at && !std::exchange(ending.asked, true)) {
      ::kill(pid, SIGTERM);
    }
  }
}

void Programs::Look(TimeNs now) {
  if (now < look_at_) return;
  look_at_ = kNever;
  std::set<pid_t> leaders;
  std::vector<pid_t> members;
  std::map<pid_t, Ending> ending;  // of those that are still there
  for (const pid_t pid : Descendants(::getpid())) {
    if (const auto it = ending_.find(pid); it != ending_.end()) ending.insert(*it);
    const pid_t leader = ::getsid(pid);
    if (!dead_.contains(leader)) continue;
    leaders.insert(leader);
    members.push_back(pid);
  }
  ending_ = std::move(ending);
  End(members, now);
  dead_ = std::move(leaders);
  if (!dead_.empty()) look_at_ = now + kPause;
}

void EndProgramsOf(const std::string& run_directory) {
  const std::string entry = "RAY_MPI_SESSION=" + run_directory;
  const timespec pause{0, 20'000'000};
  Programs programs;
  for (const TimeNs begin = MonotonicNow(); MonotonicNow() <= begin + Programs::kGrace + kSecond;) {
    const std::vector<pid_t> left = WithEnvironment(entry);
    if (left.empty()) return;
    programs.End(left, MonotonicNow());
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace rmpi::launcher
