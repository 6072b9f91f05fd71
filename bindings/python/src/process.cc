// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "bindings/python/src/py.h"

namespace rmpi::python {
namespace {

constexpr int kReparentWaitMs = 2000;

// In the worker, before anything else: whose child it is, where its output goes, with whom it dies.
void BecomeWorker(int out_fd, int err_fd, int keeper) {
  // Its own session: Ctrl-C at the terminal is the driver's business, and the keeper finds by it what the
  // worker started.
  setsid();
  dup2(out_fd, STDOUT_FILENO);
  dup2(err_fd, STDERR_FILENO);
  if (out_fd > STDERR_FILENO) close(out_fd);
  if (err_fd > STDERR_FILENO && err_fd != out_fd) close(err_fd);
  // The death signal follows the parent at the time of prctl(): wait until that is the keeper. The
  // intermediate process exits at once, so this takes microseconds.
  for (int waited = 0; getppid() != keeper; ++waited) {
    if (waited >= kReparentWaitMs) _exit(1);
    const timespec nap{0, waited < 10 ? 50'000 : 1'000'000};
    nanosleep(&nap, nullptr);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != keeper) _exit(1);  // it went just before
  prctl(PR_SET_NAME, "ray-mpi-worker");
}

int ReadPid(int fd) {
  int pid = 0;
  ssize_t n = 0;
  do {
    n = read(fd, &pid, sizeof pid);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(sizeof pid) ? pid : -ECHILD;
}

}  // namespace

int ForkWorker(int out_fd, int err_fd, int keeper) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return -errno;
  PyOS_BeforeFork();
  const pid_t between = fork();
  if (between == 0) {
    // Only system calls here: this process exists to make the worker an orphan, which the keeper adopts.
    const pid_t worker = fork();
    if (worker != 0) {
      const int report = worker > 0 ? worker : -errno;
      (void)!write(pipe_fds[1], &report, sizeof report);
      _exit(0);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    BecomeWorker(out_fd, err_fd, keeper);
    PyOS_AfterFork_Child();  // also gives `random` a new seed
    return 0;
  }
  const int failure = between < 0 ? -errno : 0;
  PyOS_AfterFork_Parent();
  close(pipe_fds[1]);
  const int pid = between < 0 ? failure : ReadPid(pipe_fds[0]);
  close(pipe_fds[0]);
  if (between > 0) {
    int status = 0;
    while (waitpid(between, &status, 0) < 0 && errno == EINTR) {
    }
  }
  return pid;
}

}  // namespace rmpi::python
