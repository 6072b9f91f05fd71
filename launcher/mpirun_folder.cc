// SPDX-License-Identifier: Apache-2.0
#include "launcher/mpirun_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "launcher/process.h"
#include "slurm/scrub.h"

namespace rmpi::launcher {
namespace {

// Open MPI refuses one for mpirun's own host beside one for all hosts.
constexpr std::array kChosenByUser = {"OMPI_MCA_orte_tmpdir_base", "OMPI_MCA_orte_local_tmpdir_base",
                                      "PRTE_MCA_prte_tmpdir_base", "PRTE_MCA_prte_local_tmpdir_base"};

}  // namespace

Status MpirunFolder::Make(MpirunKind kind, Environment* environment) {
  const bool chosen = std::any_of(kChosenByUser.begin(), kChosenByUser.end(),
                                  [&](const char* name) { return environment->contains(name); });
  if (chosen || (kind != MpirunKind::kOpenMpi4 && kind != MpirunKind::kOpenMpi5)) return Status::Ok();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::Io("a pipe to watch mpirun", errno);
  const UniqueFd watched(ends[0]);
  alive_.reset(ends[1]);
  if (Status s = RunDirectory::Create(*environment, "mpirun.0", &directory_); !s.ok()) return s;

  SpawnOptions options;
  options.own_session = true;  // what kills the launcher's group shall not kill it
  options.quiet_stdio = true;
  options.close_others = true;
  options.keep_fds = {watched.get()};
  const auto body = [this, fd = watched.get()] {
    ::prctl(PR_SET_NAME, "ray-mpi-cleaner");
    char byte;
    while (::read(fd, &byte, 1) < 0 && errno == EINTR) {
    }
    directory_.Remove();
    return 0;
  };
  if (Status s = Fork(options, body, &cleaner_pid_); !s.ok()) return s;
  SetOverUser(environment, "OMPI_MCA_orte_tmpdir_base", directory_.path());
  SetOverUser(environment, "PRTE_MCA_prte_tmpdir_base", directory_.path());
  return Status::Ok();
}

MpirunFolder::~MpirunFolder() {
  if (cleaner_pid_ > 0) {
    ::kill(cleaner_pid_, SIGKILL);
    ::waitpid(cleaner_pid_, nullptr, 0);
  }
  directory_.Remove();
}

}  // namespace rmpi::launcher
