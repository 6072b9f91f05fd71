// SPDX-License-Identifier: Apache-2.0
// Finding a running session, the other parts of this installation, and the embedded one-node runtime of a
// program that was started without ray-mpi. The counterpart of ray_mpi/_session.py: the same rules, the same
// command.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::cpp {

// The run directory to attach to; "" means: start an embedded runtime.
Status ResolveAddress(const std::string& address, std::string* session);

// A program of this installation: beside this library (<prefix>/lib -> <prefix>/bin), else on PATH; "":
// nowhere.
std::string FindInstalled(const std::string& program);

// A runtime that lives as long as our end of the control socket is open.
class Embedded {
 public:
  Embedded() = default;
  Embedded(const Embedded&) = delete;
  Embedded& operator=(const Embedded&) = delete;
  ~Embedded() { Stop(); }

  // `options`: of the ray-mpi command. Waits until it is ready.
  Status Start(const std::vector<std::string>& options, std::string* session);
  // Ends it: it sees our end close. Bounded; safe to call twice.
  void Stop();
  // In a forked child: it is the parent's.
  void Abandon();
  bool running() const { return pid_ > 0; }

 private:
  Status AwaitReady(std::string* session);

  UniqueFd control_;
  pid_t pid_ = -1;
};

}  // namespace rmpi::cpp
