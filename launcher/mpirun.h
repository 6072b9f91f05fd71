// SPDX-License-Identifier: Apache-2.0
// `ray-mpi -n N`: starts mpirun, and stands in for it towards the shell. An mpirun that may survive the death
// of a rank always returns 0, and buffers and relays the program's output; so rank 0's keeper connects back
// over a private socket, gets this process's own stdin, stdout and stderr, takes its signals, and hands back
// its status.
#pragma once

#include <string>

#include "launcher/options.h"
#include "launcher/paths.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::launcher {

// Returns the exit status.
int RunMpirun(const Options& options, const Paths& paths, const Environment& environment);

// Rank 0's side: connects to the `ray-mpi -n` around it, and takes over its standard streams. Invalid: there
// is none, or it is on another host; then mpirun relays the streams.
UniqueFd JoinLauncher(const Environment& environment);
// Any rank's side: ends the run, for this rank is lost and the others would wait for it.
void EndByLauncher(const Environment& environment);
// The last word: the status that `ray-mpi -n` returns.
void SendStatus(int fd, int status);

// Where JoinLauncher finds it: an abstract Unix socket.
inline constexpr char kLauncherVariable[] = "RAY_MPI_LAUNCHER";

}  // namespace rmpi::launcher
