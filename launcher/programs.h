// SPDX-License-Identifier: Apache-2.0
// Programs that tasks started (an mpirun, an srun, a shell) and that outlive their worker. A worker leads a
// session, so whoever is in the session of a dead worker was started by it. They get SIGTERM, by which mpirun
// and srun end their ranks on all nodes and remove their files, and SIGKILL kGrace later. Owned by the
// keeper's one thread; what leads a session of its own (a daemon) is left alone until the run ends.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>

#include "runtime/base/time.h"

namespace rmpi::launcher {

class Programs {
 public:
  static constexpr TimeNs kGrace = 3 * kSecond;  // an mpirun takes up to two

  // A child that led a session was reaped: what is left of that session is to end.
  void LeaderEnded(pid_t pid) {
    dead_.insert(pid);
    look_at_ = 0;
  }
  // At most every kPause while there is something to wait for.
  void Look(TimeNs now);
  TimeNs next_look() const { return look_at_; }

  // Asks the process to end when it is met first, and kills it when it has not ended within kGrace.
  void End(pid_t pid, TimeNs now);

 private:
  static constexpr TimeNs kPause = 100 * kMillisecond;

  std::set<pid_t> dead_;             // leaders whose sessions may have members
  std::map<pid_t, TimeNs> kill_at_;  // asked to end
  TimeNs look_at_ = kNever;
};

// For the raylet that outlives a killed keeper: ends all processes of this user that were started in the run,
// whose folder is in their environment. Returns when they are gone, at the latest after Programs::kGrace.
void EndProgramsOf(const std::string& run_directory);

}  // namespace rmpi::launcher
