// SPDX-License-Identifier: Apache-2.0
// Programs that tasks started (an mpirun, an srun, a shell) and that outlive their worker. A worker leads a
// session, so whoever is in the session of a dead worker was started by it. They get SIGTERM, by which mpirun
// and srun end their ranks on all nodes and remove their files, and SIGKILL kGrace later. SIGTERM goes to the
// topmost of them first: an mpirun whose own children (an srun that holds its daemons) are ended beside it
// cannot clean up on other nodes. Owned by the keeper's one thread; what leads a session of its own (a
// daemon) is left alone until the run ends.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/time.h"

namespace rmpi::launcher {

class Programs {
 public:
  static constexpr TimeNs kGrace = 4 * kSecond;  // an mpirun takes two

  // A child that led a session was reaped: what is left of that session is to end.
  void LeaderEnded(pid_t pid) {
    dead_.insert(pid);
    look_at_ = 0;
  }
  // At most every kPause while there is something to wait for.
  void Look(TimeNs now);
  TimeNs next_look() const { return look_at_; }

  // To be called again and again with those that are left. Asks each process once to end: at once, when its
  // parent is not among them; kOrphanWait after it has lost that parent, for it may be about to end by
  // itself; kPatience after it was met first. Kills those that have not ended within kGrace.
  void End(const std::vector<pid_t>& pids, TimeNs now);

 private:
  static constexpr TimeNs kPause = 100 * kMillisecond;
  static constexpr TimeNs kPatience = 3 * kSecond;
  static constexpr TimeNs kOrphanWait = 500 * kMillisecond;
  struct Ending {
    TimeNs begin;  // when it was met first
    TimeNs ask_at;
    bool topmost;  // its parent is not to end
    bool asked;
  };

  std::set<pid_t> dead_;  // leaders whose sessions may have members
  std::map<pid_t, Ending> ending_;
  TimeNs look_at_ = kNever;
};

// For the raylet that outlives a killed keeper: ends all processes of this user that were started in the run,
// whose folder is in their environment. Returns when they are gone, at the latest after Programs::kGrace.
void EndProgramsOf(const std::string& run_directory);

}  // namespace rmpi::launcher
