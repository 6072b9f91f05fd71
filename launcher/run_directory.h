// SPDX-License-Identifier: Apache-2.0
// The run directory: one per keeper, node-local, mode 0700, gone at the end. It holds session.json (what a
// process needs to attach) and the short-lived files of the node. Who holds it keeps a lock on the folder
// itself, so a folder without a holder is known to be left over from a crash, and is removed by the next run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/options.h"
#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::launcher {

struct Session {
  std::string version;
  uint64_t run_id = 0;
  int keeper_pid = 0;
  std::string socket;  // abstract name, without the leading NUL
  std::string hostname;
  uint32_t rank = 0;
  std::string node;  // its id in hex; empty until the raylet knows it
  bool serve = false;
  bool joined = false;  // later: not of the launch
  int64_t created = 0;  // seconds since 1970; as read
};

class RunDirectory {
 public:
  // Makes <base>/ray-mpi-<uid>-<job>.<step>.<random>. The base is RAY_MPI_DIR, else SLURM_TMPDIR,
  // XDG_RUNTIME_DIR, TMPDIR, /tmp: the first that is set and can be written (one that the user named himself
  // must be writable).
  static Status Create(const Environment& environment, const std::string& job_step, RunDirectory* out);

  const std::string& path() const { return path_; }
  // Writes session.json in one step (rename), mode 0600.
  Status WriteSession(const Session& session) const;
  // Removes the folder and everything in it. Twice is fine. Waits up to Programs::kGrace for an mpirun on
  // another node to leave the folder that it made here.
  void Remove();

 private:
  std::string path_;
  UniqueFd lock_;
};

// A run directory of this user on this node, with what its session.json says.
struct FoundRun {
  std::string path;
  std::string job;  // Slurm's; "local": of none
  Session session;
  bool Read();  // what session.json says now; false: it is not there
  // Its keeper lives: it holds the folder's lock.
  bool Held() const;
};
std::vector<FoundRun> FindRuns(const Environment& environment);
// The one that was started last and has its head on this node; nullopt: none.
std::optional<FoundRun> NewestHead(const Environment& environment);

// `bytes` random bytes as hex.
std::string RandomHex(size_t bytes);
uint64_t RandomId();

}  // namespace rmpi::launcher
