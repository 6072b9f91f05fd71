// SPDX-License-Identifier: Apache-2.0
// Keeper, the end. Every way leads through BeginEnd, which starts one clock for everything that is left.
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "launcher/keeper.h"
#include "launcher/process.h"
#include "launcher/spill_folders.h"
#include "runtime/transport/listen_file.h"

namespace rmpi::launcher {
namespace {

// A child of ours that leads its session: worker, zygote, or a daemon that came to us as an orphan.
bool LeadsSession(pid_t pid) {
  siginfo_t info;
  const bool child = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
  return child && ::getsid(pid) == pid;
}

}  // namespace

// The raylet drains (tells the other nodes, flushes the last output) and says kDone. While it is still
// joining the other ranks it cannot: it gets the rest of the bring-up's time, for ending it there would leave
// them waiting.
void Keeper::DriverGone(int wait_status) {
  if (std::exchange(driver_over_, true)) return;
  if (config_.driver.empty()) Send(KeeperMessage::kDriverExit, 0, wait_status);
  if (ready_ || config_.size == 1) StartClock();
}

void Keeper::StartClock() { end_at_ = std::min(end_at_, MonotonicNow() + kGrace); }

void Keeper::BeginEnd() {
  if (std::exchange(done_, true)) return;
  bringup_at_ = kNever;
  StartClock();
  EndWorkers();
  if (driver_pid_ != 0) {  // its runtime is gone
    driver_kill_at_ = MonotonicNow() + kDriverGrace;
    ::kill(driver_pid_, SIGTERM);
    ::kill(driver_pid_, SIGCONT);
  }
}

void Keeper::Fail(int status, const std::string& what) {
  if (done_) return;
  Say(what);
  if (!ready_) Report("error " + what);
  // A driver that has ended well has ended well, whatever breaks afterwards.
  if (!driver_over_) {
    status_ = status;
    failed_ = true;
  }
  const bool expected = std::exchange(raylet_done_, true);
  BeginEnd();
  // One that has not said it is leaving would never know that it should; one that waits inside of MPI for
  // other ranks cannot hear it.
  if (!expected && raylet_pid_ != 0) ::kill(raylet_pid_, coming_up() ? SIGKILL : SIGTERM);
}

// The head would take a raylet that is stopped, or hangs, for dead, and start what runs here elsewhere: that
// has to be over by then. Time in which this process did not run either is nobody's silence.
void Keeper::WatchRaylet(TimeNs now) {
  look_at_ = kNever;
  if (pulse_ == nullptr || raylet_pid_ == 0) return;
  if (hung_kill_at_ != kNever) return EndHungRaylet(now);
  if (raylet_done_ || done_) return;
  look_at_ = now + kHeartbeatPeriod;
  const TimeNs known = pulse_->load();
  if (known == 0) return;
  if (silence_.known() == 0) silence_.Start(now);
  silence_.OnTurn(now);
  silence_.OnKnown(known);
  if (!silence_.Expired(now)) return;
  hung_kill_at_ = now + kWorkersGrace;
  Fail(config_.rank == 0 || config_.joined ? 1 : 0,
       fmt::format(
           "the raylet (pid {}) has given no sign of life for {} s: it was stopped, or hangs: {}",
           raylet_pid_, kHungAfter / kSecond,
           config_.rank == 0 ? "the run cannot go on" : "this node stops its work, and leaves the run"));
  EndHungRaylet(now);
}

// After its workers: the head hears of its end at once, and starts their work elsewhere.
void Keeper::EndHungRaylet(TimeNs now) {
  const std::vector<pid_t> left = Workers();
  if (now < hung_kill_at_ && std::any_of(left.begin(), left.end(), LeadsSession)) {
    EndProcesses(left);  // one may have been born meanwhile
    look_at_ = now + 5 * kMillisecond;
  } else {
    ::kill(raylet_pid_, SIGKILL);
  }
}

// Workers hold nothing that is worth a wait: what they had to say is in the raylet's hands or lost anyway.
// The programs that tasks started are asked to end. The driver, and what the driver started, has its own
// time.
void Keeper::EndWorkers() { EndProcesses(Workers()); }

std::vector<pid_t> Keeper::Workers() const {
  std::vector<pid_t> spared = driver_pid_ == 0 ? std::vector<pid_t>() : Descendants(driver_pid_);
  spared.insert(spared.end(), {raylet_pid_, driver_pid_, cleaner_pid_});
  std::vector<pid_t> left = Descendants(::getpid());
  std::erase_if(left,
                [&](pid_t pid) { return std::find(spared.begin(), spared.end(), pid) != spared.end(); });
  return left;
}

void Keeper::EndProcesses(std::vector<pid_t> pids) {
  const auto programs = std::partition(pids.begin(), pids.end(), LeadsSession);
  std::for_each(pids.begin(), programs, [](pid_t pid) { ::kill(pid, SIGKILL); });
  programs_.End({programs, pids.end()}, MonotonicNow());
}

void Keeper::RemoveFiles() {
  if (!std::exchange(spill_folders_ended_, true)) RemoveSpillFolders(config_.raylet);
  directory_.Remove();
  if (!config_.raylet.listen.empty()) RemoveListenFile(config_.raylet.listen, config_.raylet.run_id);
}

// As their subreaper we become the parent of whatever loses its own, so that going on until there is no child
// left reaches everything, double forks included. The cleaner goes last: we may still be killed ourselves.
void Keeper::CleanUp() {
  // A process may hang in the kernel (unmapping, a dead file system).
  constexpr TimeNs kLimit = Programs::kGrace + 2 * kSecond;
  const TimeNs give_up_at = MonotonicNow() + kLimit;
  timespec pause{0, 500'000};
  while (true) {
    pid_t reaped = 0;
    while ((reaped = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (reaped < 0 && errno == ECHILD) return RemoveFiles();
    std::vector<pid_t> left = Descendants(::getpid());
    std::erase(left, cleaner_pid_);
    if (left.empty() && cleaner_pid_ != 0) {
      RemoveFiles();
      ::kill(std::exchange(cleaner_pid_, 0), SIGKILL);
    }
    EndProcesses(left);
    if (MonotonicNow() > give_up_at) {
      RemoveFiles();
      return Say(fmt::format("{} processes do not end although they were killed (first: pid {})", left.size(),
                             left.empty() ? 0 : left[0]));
    }
    ::nanosleep(&pause, nullptr);
    pause.tv_nsec = std::min<long>(pause.tv_nsec * 2, 10'000'000);
  }
}

void Keeper::Send(KeeperMessage::Type type, pid_t pid, int wait_status, uint64_t token) {
  if (!raylet_link_.valid()) return;
  KeeperMessage message;
  message.type = type;
  message.pid = pid;
  message.wait_status = wait_status;
  message.token = token;
  outbox_.push_back(message);
  Flush();
}

void Keeper::Flush() {
  while (!outbox_.empty() && raylet_link_.valid()) {
    if (::send(raylet_link_.get(), &outbox_.front(), sizeof(KeeperMessage), MSG_DONTWAIT | MSG_NOSIGNAL) <
        0) {
      if (errno == EAGAIN || errno == EINTR) return;
      outbox_.clear();  // it is gone; SIGCHLD will say why
      return;
    }
    outbox_.pop_front();
  }
}

void Keeper::Report(const std::string& line) {
  if (config_.control_fd >= 0) SendLine(config_.control_fd, line);
}

void Keeper::Say(const std::string& text) const {
  const std::string where =
      config_.size > 1 ? fmt::format("rank {} on {}: ", config_.rank, config_.raylet.hostname) : "";
  fmt::print(stderr, "ray-mpi: {}{}\n", where, text);
}

}  // namespace rmpi::launcher
