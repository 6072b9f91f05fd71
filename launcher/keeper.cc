// SPDX-License-Identifier: Apache-2.0
// Keeper, the loop: what it hears and what it does about it. The end is in keeper_end.cc.
#include "launcher/keeper.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "launcher/process.h"
#include "runtime/base/fd_passing.h"

namespace rmpi::launcher {
namespace {

constexpr char kServing[] =
    "the runtime serves programs that say ray.init(\"auto\"), until `ray-mpi stop`, Ctrl-C or SIGTERM";

// Not reaped yet, so that its pid cannot mean somebody else.
bool IsChild(pid_t pid) {
  siginfo_t info;
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

}  // namespace

Keeper::Keeper(KeeperConfig config, RayletMain raylet_main)
    : config_(std::move(config)), raylet_main_(std::move(raylet_main)) {}

int Keeper::Run() {
  bringup_at_ = MonotonicNow() + config_.bringup_timeout;
  Status started = MakeResources();
  if (started.ok()) started = StartProcesses();
  if (!started.ok()) {
    Say(started.message());
    Report("error " + started.message());
    status_ = 1;
  } else {
    Loop();
  }
  CleanUp();
  return status_;
}

void Keeper::Loop() {
  while (!over()) {
    const auto interest = static_cast<short>(POLLIN | (outbox_.empty() ? 0 : POLLOUT));
    pollfd fds[] = {{signals_.get(), POLLIN, 0},
                    {raylet_link_.get(), interest, 0},
                    {config_.control_fd, POLLIN, 0},
                    {config_.launcher_fd, POLLIN, 0},
                    {parent_.get(), POLLIN, 0}};
    const TimeNs wait = NextDeadline() == kNever ? -1 : std::max<TimeNs>(0, NextDeadline() - MonotonicNow());
    const int timeout_ms =
        wait < 0 ? -1 : static_cast<int>(std::min<TimeNs>(wait / kMillisecond + 1, 1 << 30));
    if (::poll(fds, std::size(fds), timeout_ms) < 0 && errno != EINTR) {
      return Fail(1, fmt::format("poll: {}", std::strerror(errno)));
    }
    // The raylet's words before the news of its death.
    if (fds[1].revents != 0) OnRayletMessages();
    if (fds[0].revents != 0) OnSignal();
    if (fds[2].revents != 0) OnControl();
    if (fds[3].revents != 0) OnLauncher();
    if (fds[4].revents != 0) {
      parent_.reset();
      Fail(1, "the mpirun that started this rank is gone: ending this node");
    }
    Flush();
    OnDeadlines(MonotonicNow());
  }
}

TimeNs Keeper::NextDeadline() const {
  return std::min({bringup_at_, end_at_, driver_kill_at_, programs_.next_look(), look_at_});
}

void Keeper::OnDeadlines(TimeNs now) {
  programs_.Look(now);
  if (ready_) WatchRaylet(now);
  if (now >= driver_kill_at_) {
    driver_kill_at_ = kNever;
    if (driver_pid_ != 0) ::kill(driver_pid_, SIGKILL);
  }
  if (now >= bringup_at_) {
    bringup_at_ = kNever;
    const bool lost = coming_up() && config_.rank == 0;  // one of those that wait is enough to end the launch
    Fail(1, fmt::format("the runtime did not come up within {:.0f} s: the raylet (pid {}) runs, but {}. "
                        "--bringup-timeout gives it longer, `ray-mpi doctor` looks for the reason",
                        static_cast<double>(config_.bringup_timeout) / 1e9, raylet_pid_,
                        config_.size == 1 ? "does not answer"
                        : met_            ? "the head has not taken it in"
                               : fmt::format("has not met the other {} ranks; those that are waiting "
                                             "like this one say so, the one that says nothing never came",
                                             config_.size - 1)));
    if (lost && config_.end_launch) config_.end_launch();
  }
  if (now >= end_at_) {
    end_at_ = kNever;
    if (driver_pid_ != 0) ::kill(driver_pid_, SIGKILL);
    if (raylet_pid_ != 0) {
      Say(fmt::format("the raylet (pid {}) did not end within {} s: killed", raylet_pid_, kGrace / kSecond));
      raylet_done_ = true;
      ::kill(raylet_pid_, SIGKILL);
    }
  }
}

// --- Signals ---

void Keeper::OnSignal() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    const bool from_terminal = info.ssi_code == SI_KERNEL;  // it went to the driver, too
    if (signal == SIGCHLD) {
      Reap();
    } else if (signal == kEndOfLaunch) {
      if (coming_up())
        Fail(1, "another rank was lost while the run came up (see its message): ending this one");
    } else if (signal == SIGTERM && coming_up()) {
      Fail(128 + SIGTERM, "asked to end while the run came up");
    } else if (signal == SIGINT) {
      OnInterrupt(signal, from_terminal);
    } else if (signal == SIGTERM && AskedToStop()) {
      StopServing();
    } else if (signal == SIGUSR1 || signal == SIGUSR2) {
      // A warning (Slurm's --signal): for a driver that wants it. Others must not die of it.
      if (driver_pid_ != 0 && Catches(driver_pid_, signal)) ::kill(driver_pid_, signal);
    } else if (driver_pid_ != 0) {
      if (!from_terminal) ::kill(driver_pid_, signal);
    } else if (config_.control_fd < 0 || config_.joined) {
      StopServing();
    }
  }
}

// Of a SIGTERM: whether there is nothing to wait for. The program, if it runs, is told, and the run ends with
// it.
bool Keeper::AskedToStop() {
  stop_asked_ = true;
  return driver_pid_ == 0 && (config_.control_fd < 0 || config_.joined);
}

// No program of ours runs here (any more).
void Keeper::StopServing() {
  if (!done_) Send(KeeperMessage::kStop, 0, 0);
}

// As often as the user asks, as hard as he asks: the program's own handling, then SIGTERM, then SIGKILL, when
// they come in one breath. A prompt that lives through many a Ctrl-C over the day is left alone.
void Keeper::OnInterrupt(int signal, bool from_terminal) {
  constexpr TimeNs kBreath = 2 * kSecond;
  if (config_.control_fd >= 0) return;  // the embedding program has its own ideas
  if (driver_pid_ == 0) return StopServing();
  const TimeNs now = MonotonicNow();
  interrupts_ = now - interrupted_at_ < kBreath ? interrupts_ + 1 : 1;
  interrupted_at_ = now;
  if (interrupts_ >= 3) {
    ::kill(driver_pid_, interrupts_ == 3 ? SIGTERM : SIGKILL);
  } else if (!from_terminal) {
    ::kill(driver_pid_, signal);
  }
}

// `ray-mpi -n`, which holds the terminal, hands on what the user types there.
void Keeper::OnLauncher() {
  int32_t signal = 0;
  const ssize_t n = ::recv(config_.launcher_fd, &signal, sizeof signal, MSG_DONTWAIT);
  if (n == sizeof signal) {
    if (signal == SIGINT) {
      OnInterrupt(signal, false);
    } else if (signal == SIGTERM && AskedToStop()) {
      StopServing();
    } else if (driver_pid_ != 0) {
      ::kill(driver_pid_, signal);
    }
  } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
    config_.launcher_fd = -1;
    Fail(1, "the `ray-mpi -n` that started this run is gone: ending it");
  }
}

// Nobody writes here: readable means that the embedding process has closed it, or died.
void Keeper::OnControl() {
  char byte;
  const ssize_t n = ::read(config_.control_fd, &byte, 1);
  if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
  ::close(std::exchange(config_.control_fd, -1));
  DriverGone(0);
}

// --- Children ---

void Keeper::Reap() {
  siginfo_t info{};
  while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
    const pid_t pid = info.si_pid;
    if (::getsid(pid) == pid) programs_.LeaderEnded(pid);
    int wait_status = 0;
    ::waitpid(pid, &wait_status, 0);
    if (pid == raylet_pid_) {
      OnRayletMessages();  // its last words
      OnRayletExit(wait_status);
    } else if (pid == cleaner_pid_) {
      cleaner_pid_ = 0;  // somebody killed it; we can do without
    } else if (pid == driver_pid_) {
      OnDriverExit(wait_status);
    } else {
      if (pid == zygote_pid_) OnZygoteExit(wait_status);
      Send(KeeperMessage::kChildExit, pid, wait_status);
    }
    info.si_pid = 0;
  }
}

void Keeper::OnRayletExit(int wait_status) {
  const pid_t pid = std::exchange(raylet_pid_, 0);
  raylet_link_.reset();
  outbox_.clear();
  if (raylet_done_ || (driver_over_ && ExitStatus(wait_status) == 0)) return BeginEnd();
  const bool head = config_.rank == 0;
  const std::string what =
      fmt::format("the raylet (pid {}) died unexpectedly: {}{}", pid, DescribeEnd(wait_status),
                  head ? ": the run cannot go on" : ": this node leaves the run");
  const bool lost = coming_up() && !done_;
  // The others of a run go on without this node, and the run's status is the driver's. A node that never
  // joined is different: nobody has counted on it, so nobody else would tell.
  Fail(head || config_.joined || !ready_ ? 1 : 0, what);
  if (lost && config_.end_launch) config_.end_launch();
}

void Keeper::OnZygoteExit(int wait_status) {
  const pid_t pid = std::exchange(zygote_pid_, 0);
  if (done_ || driver_over_) return;
  // It ends well when its link closes, and a dying raylet closes that before it can be reaped: that one's end
  // is the news. (A raylet that lives and finds its zygote gone says so itself.)
  if (raylet_pid_ != 0 && ExitStatus(wait_status) == 0) return;
  const std::string what = fmt::format("the process that starts Python workers (zygote, pid {}) ended: {}",
                                       pid, DescribeEnd(wait_status));
  // A C++ program may never need it; the raylet refuses Python tasks from now on.
  if (!config_.driver_is_python) return;
  const bool lost = coming_up();
  Fail(config_.rank == 0 || !ready_ ? 1 : 0, what);
  if (lost && config_.end_launch) config_.end_launch();
}

void Keeper::OnDriverExit(int wait_status) {
  const pid_t pid = driver_pid_;
  if (!failed_) status_ = ExitStatus(wait_status);
  driver_pid_ = 0;
  if (config_.raylet.serve && !stop_asked_ && !done_) {
    return Say(fmt::format("the program has ended with status {}; {}", ExitStatus(wait_status), kServing));
  }
  Send(KeeperMessage::kDriverExit, pid, wait_status);
  DriverGone(wait_status);
}

// --- The raylet's messages ---

void Keeper::OnRayletMessages() {
  KeeperMessage message;
  while (raylet_link_.valid()) {
    UniqueFd fds[3];
    const ssize_t n = ReceiveFds(raylet_link_.get(), &message, sizeof message, fds, MSG_DONTWAIT);
    if (n == sizeof message) {
      message.text[sizeof message.text - 1] = '\0';
      OnRayletMessage(message, fds);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      // Closed, though the raylet may still live (it finalises MPI): nothing more to hear or say.
      if (n == 0 || errno != EAGAIN) raylet_link_.reset();
      return;
    }
  }
}

void Keeper::OnRayletMessage(const KeeperMessage& message, std::span<UniqueFd> fds) {
  switch (message.type) {
    case KeeperMessage::kReady:
      return OnReady(message);
    case KeeperMessage::kKill:
      if (message.pid > 0 && IsChild(message.pid)) ::kill(message.pid, message.wait_status);
      return;
    case KeeperMessage::kStartWorker:
      return StartWorker(message, fds);
    case KeeperMessage::kDone:
      raylet_done_ = true;
      if (config_.driver.empty() && config_.rank == 0 && !config_.raylet.serve) status_ = message.wait_status;
      return BeginEnd();
    case KeeperMessage::kMet:
      met_ = true;
      return;
    case KeeperMessage::kFatal: {
      const bool lost = coming_up() && !done_;
      raylet_done_ = true;
      Fail(message.wait_status, message.text);
      if (lost && config_.end_launch) config_.end_launch();
      return;
    }
    default:
      return Say(fmt::format("message {} of the raylet is unknown", message.type));
  }
}

void Keeper::OnReady(const KeeperMessage& message) {
  if (done_) return;  // too late
  ready_ = met_ = true;
  bringup_at_ = kNever;
  if (message.text[0] != '\0') {
    if (Status s = directory_.WriteSession(MakeSession(message.text)); !s.ok()) return Fail(1, s.message());
  }
  Report("session " + directory_.path());
  if (config_.raylet.serve && config_.driver.empty() && config_.rank == 0) Say(kServing);
  if (config_.joined && config_.control_fd < 0)
    Say(fmt::format("node {} of the run of {}, until SIGTERM or its end", message.text, config_.raylet.join));
  if (driver_over_) StartClock();
}

}  // namespace rmpi::launcher
