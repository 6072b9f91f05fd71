// SPDX-License-Identifier: Apache-2.0
// Starting processes and finding them again. For single-threaded callers.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "launcher/options.h"
#include "runtime/base/status.h"

namespace rmpi::launcher {

// Sent by the keeper of a rank that was lost at bring-up to all keepers of the launch. To every other
// process, and to a keeper later on, it means nothing (its default is to be ignored).
constexpr int kEndOfLaunch = SIGURG;

struct SpawnOptions {
  int death_signal = 0;  // sent to the child when this process dies; 0: none
  // An orphan goes on: it has to clean up. death_signal is ignored until `body` sets a handler of its own.
  bool survives_parent = false;
  // Signals that Slurm sends to every process of a step (an interrupt under `srun -X`, a warning of the time
  // limit) and that are for the program alone: ignored until this child has handlers of its own, if ever.
  bool ignores_step_signals = false;
  // The kernel, out of memory, ends it before the runtime and the program (as Ray's workers)
  bool expendable = false;
  bool own_session = false;  // no terminal: Ctrl-C does not reach it, and it never reads the terminal
  bool no_stdin = false;     // stdin from /dev/null
  bool quiet_stdio = false;  // that, and stdout to our stderr
  int stdout_fd = -1, stderr_fd = -1;  // both given: the child's output; its stdin is /dev/null
  std::string folder;                  // where it runs; empty, or not there: where we do
  std::vector<int> keep_fds;  // exec only: stay open. With close_others, every other one from 3 up is closed
  bool close_others = false;
  std::string name;  // exec only: what the program finds as its argv[0], if not its path
};

// Forks; the child sets itself up as told, with all signals at their defaults and none blocked, and calls
// `body`, whose value is its exit status.
Status Fork(const SpawnOptions& options, const std::function<int()>& body, pid_t* child);

// Forks and executes argv[0] (a path). When it cannot be executed the child says so and exits with 127, or
// 126 when it may not be.
Status Spawn(const SpawnOptions& options, const std::vector<std::string>& argv,
             const Environment& environment, pid_t* child);

// Executes argv[0] in this process, which sees `name` in its place if there is one; returns only on failure.
int Exec(const std::vector<std::string>& argv, const Environment& environment, const std::string& name = "");

// All living processes below `root`, however deep, root not included.
std::vector<pid_t> Descendants(pid_t root);

// 0 when there is no such process.
pid_t ParentOf(pid_t pid);

// Whether the process has a handler for the signal.
bool Catches(pid_t pid, int signal);

// Writes text and a newline to a pipe or socket; a reader that has gone is no error.
void SendLine(int fd, const std::string& text);

// "exit status 3", "signal 9 (Killed)".
std::string DescribeEnd(int wait_status);
// 0..255 as a shell reports it: 128 + signal when a signal ended it.
int ExitStatus(int wait_status);

}  // namespace rmpi::launcher
