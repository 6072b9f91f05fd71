// SPDX-License-Identifier: Apache-2.0
// The keeper: the process that srun, mpirun or the shell started. It has no MPI and one thread. It makes the
// node's run directory, sockets and shared memory, starts raylet, zygote and (rank 0) the driver, reaps all
// of them and whatever they leave behind, and carries the driver's status out.
//
// Invariants:
// - When Run returns, no process below it and no run directory is left.
// - It ends: at most kGrace after the driver's end, the raylet's end or kDone; and Programs::kGrace later
// where
//   programs that tasks started do not end when asked.
// - Before the ranks have met nobody sees another's end: whoever is lost then ends the launch.
// - It never blocks on a process: messages to the raylet wait in a queue here.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "launcher/programs.h"
#include "launcher/run_directory.h"
#include "runtime/base/status.h"
#include "runtime/base/time.h"
#include "runtime/base/unique_fd.h"
#include "runtime/raylet/fence.h"
#include "runtime/raylet/keeper_link.h"
#include "runtime/raylet/raylet.h"
#include "slurm/environment.h"

namespace rmpi::launcher {

struct KeeperConfig {
  RayletConfig raylet;   // the keeper fills in session, run id and descriptors
  std::string job_step;  // for the run directory's name
  std::string version;
  uint32_t rank = 0, size = 1;
  std::string arena_numa;   // the NUMA nodes that the object store is bound to; empty: none
  bool joined = false;      // a node of a run that was up already; rank is not 0
  Environment environment;  // of this process: where the run directory goes

  std::vector<std::string> driver;  // empty: no driver of ours
  Environment driver_environment;
  bool driver_is_python = false;
  Environment native_environment;  // of C++ workers

  std::vector<std::string> zygote;  // "--fd N" is appended; empty: no zygote (there is no Python)
  Environment zygote_environment;

  int control_fd = -1;        // embedded: told when the runtime is up; its end is the driver's
  int launcher_fd = -1;       // `ray-mpi -n`: signals come in (int32); its end is the launcher's. Not owned
  bool watch_parent = false;  // the parent is an mpirun: its death ends us
  TimeNs bringup_timeout = 60 * kSecond;
  // Ends the whole launch: called when this rank is lost before the others could see it, who would wait for
  // it.
  std::function<void()> end_launch;
};

class Keeper {
 public:
  using RayletMain = std::function<int(const RayletConfig&)>;
  Keeper(KeeperConfig config, RayletMain raylet_main);

  // Returns the exit status of this process.
  int Run();

  static constexpr TimeNs kGrace = 3 * kSecond;  // from the beginning of the end to SIGKILL for the rest
  static constexpr TimeNs kOrphanGrace = 1500 * kMillisecond;  // for a raylet to end without its keeper
  // For the workers of a raylet that hangs to be gone before it is: the head's patience ends later.
  static constexpr TimeNs kWorkersGrace = 900 * kMillisecond;
  // From SIGTERM to SIGKILL for a driver that lost its runtime.
  static constexpr TimeNs kDriverGrace = 2 * kSecond;

 private:
  // --- Start ---
  Status MakeResources();
  Status StartProcesses();
  Status WatchSignals();
  Status MakeSocket();
  Status MakePulse();
  Status StartCleaner();
  Status StartRaylet();
  Status StartZygote();
  Status StartDriver();
  void StartWorker(const KeeperMessage& request, std::span<UniqueFd> fds);
  Session MakeSession(const std::string& node) const;

  // --- The loop ---
  void Loop();
  TimeNs NextDeadline() const;
  void OnDeadlines(TimeNs now);
  void WatchRaylet(TimeNs now);
  void EndHungRaylet(TimeNs now);
  void OnSignal();
  void OnInterrupt(int signal, bool from_terminal);
  bool AskedToStop();
  void StopServing();
  void OnLauncher();
  void OnControl();
  void Reap();
  void OnRayletExit(int wait_status);
  void OnZygoteExit(int wait_status);
  void OnDriverExit(int wait_status);
  void OnRayletMessages();
  void OnRayletMessage(const KeeperMessage& message, std::span<UniqueFd> fds);
  void OnReady(const KeeperMessage& message);

  // --- The end ---
  void DriverGone(int wait_status);                        // it ended, or the embedding process let go
  void GuardRaylet(std::function<bool()> orphaned) const;  // runs in the raylet's process
  bool coming_up() const { return config_.size > 1 && !met_; }
  void StartClock();                               // from now on, kGrace
  void BeginEnd();                                 // the run is over for everything of this node
  void Fail(int status, const std::string& what);  // it is over for a bad reason
  std::vector<pid_t> Workers() const;
  void EndWorkers();
  void EndProcesses(std::vector<pid_t> pids);
  void CleanUp();
  void RemoveFiles();

  void Send(KeeperMessage::Type type, pid_t pid, int wait_status, uint64_t token = 0);
  void Flush();
  void Report(const std::string& line);  // embedded: to the process that is the driver
  void Say(const std::string& text) const;
  bool over() const { return done_ && raylet_pid_ == 0 && driver_pid_ == 0; }

  KeeperConfig config_;
  RayletMain raylet_main_;
  RunDirectory directory_;
  std::string socket_name_;
  UniqueFd listen_, board_, arena_, pins_;
  UniqueFd raylet_link_, raylet_link_far_;  // our end, the raylet's until it is started
  UniqueFd zygote_link_, zygote_link_far_;
  UniqueFd signals_, parent_;

  pid_t raylet_pid_ = 0, zygote_pid_ = 0, driver_pid_ = 0;  // 0: not running
  bool spill_folders_ended_ = false;  // who is to remove them is noted in the run directory
  pid_t cleaner_pid_ = 0;             // outlives us to clean up, should we be killed
  Programs programs_;                 // what dead workers left running
  std::deque<KeeperMessage> outbox_;
  int status_ = 0;
  std::atomic<TimeNs>* pulse_ = nullptr;  // RayletConfig::known_alive; null: nobody takes over from us
  Fence silence_{kHungAfter};             // of the raylet, since its first pulse
  TimeNs look_at_ = kNever;               // for a pulse
  TimeNs hung_kill_at_ = kNever;          // the raylet hangs, and ends then at the latest
  bool met_ = false;                      // the raylet said kMet: the other ranks see what becomes of it
  bool ready_ = false;                    // the raylet said kReady
  bool raylet_done_ = false;              // the raylet said kDone or kFatal: its end is expected
  bool driver_over_ = false;              // the program has ended: its status stands
  bool stop_asked_ = false;  // by SIGTERM: the run ends with the program, though it serves others
  bool failed_ = false;      // status_ is ours, not the driver's
  bool done_ = false;        // the run is over; what is left has until end_at_
  TimeNs bringup_at_ = kNever, end_at_ = kNever, driver_kill_at_ = kNever;
  TimeNs interrupted_at_ = 0;
  int interrupts_ = 0;
};

}  // namespace rmpi::launcher
