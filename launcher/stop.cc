// SPDX-License-Identifier: Apache-2.0
#include "launcher/stop.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher/run_directory.h"
#include "runtime/base/time.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::launcher {
namespace {

constexpr TimeNs kPatience = 30 * kSecond;
constexpr int kLookEveryMs = 20;

// Whoever still lives: a pid that was reused since is not of this run. One that is coming up is ended when it
// is up: before that its other ranks would not hear of it.
bool EndOne(FoundRun run) {
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, run.session.keeper_pid, 0)));
  if (!process.valid() || !run.Held()) return true;
  pollfd ended{process.get(), POLLIN, 0};
  TimeNs give_up_at = MonotonicNow() + kPatience;
  while (run.session.node.empty() && MonotonicNow() < give_up_at) {
    if (::poll(&ended, 1, kLookEveryMs) > 0) return true;
    if (!run.Read()) return true;
  }
  ::syscall(SYS_pidfd_send_signal, process.get(), SIGTERM, nullptr, 0);
  give_up_at = MonotonicNow() + kPatience;
  while (MonotonicNow() < give_up_at) {
    const auto left_ms = static_cast<int>((give_up_at - MonotonicNow()) / kMillisecond + 1);
    if (::poll(&ended, 1, left_ms) > 0) return true;
  }
  return false;
}

}  // namespace

int StopServing(const Environment& environment) {
  const std::string& job = Get(environment, "SLURM_JOB_ID");
  size_t ended = 0, elsewhere = 0;
  int status = 0;
  for (const FoundRun& run : FindRuns(environment)) {
    if (!run.session.serve || (!job.empty() && run.job != job)) continue;
    if (run.session.rank != 0) {
      ++elsewhere;
    } else if (EndOne(run)) {
      ++ended;
      fmt::print("ended {}\n", run.path);
    } else {
      fmt::print(stderr, "ray-mpi: stop: {} (pid {}) has not ended within {} s of SIGTERM\n", run.path,
                 run.session.keeper_pid, kPatience / kSecond);
      status = 1;
    }
  }
  if (ended != 0 || status != 0) return status;
  fmt::print(stderr, "ray-mpi: stop: no runtime that serves has its head on this node{}{}\n",
             job.empty() ? "" : " in job " + job,
             elsewhere == 0 ? "" : "; one has another of its nodes here: say it on the node of its rank 0");
  return 1;
}

}  // namespace rmpi::launcher
