// SPDX-License-Identifier: Apache-2.0
// MpirunFolder: where the mpirun of `ray-mpi -n` keeps its session files. Open MPI's mpirun removes them at
// its end, but not when it is killed; so they lie in a run directory of their own, which the launcher
// removes. For its own death a small child waits, the cleaner, which sleeps until launcher and mpirun are
// both gone.
#pragma once

#include <sys/types.h>

#include "launcher/mpirun_kind.h"
#include "launcher/options.h"
#include "launcher/run_directory.h"
#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::launcher {

class MpirunFolder {
 public:
  MpirunFolder() = default;
  MpirunFolder(const MpirunFolder&) = delete;
  MpirunFolder& operator=(const MpirunFolder&) = delete;
  ~MpirunFolder();

  // Makes the folder and names it in the environment of an mpirun-to-be whose ranks all run on this host.
  // Does nothing for an mpirun that has no such files, or when the user has chosen the place himself.
  Status Make(MpirunKind kind, Environment* environment);

  // mpirun has to inherit this and keep it open: its closing tells the cleaner. -1: there is no folder.
  int alive_fd() const { return alive_.get(); }

 private:
  RunDirectory directory_;
  UniqueFd alive_;
  pid_t cleaner_pid_ = 0;
};

}  // namespace rmpi::launcher
