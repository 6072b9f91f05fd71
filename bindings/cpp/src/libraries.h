// SPDX-License-Identifier: Apache-2.0
// The libraries of a code search path: found by the driver (so that a wrong path is its error), loaded by the
// worker.
#pragma once

#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace rmpi::cpp {

// The .so files that `paths` name: files themselves, and those in folders (not in folders inside), sorted.
// kNotFound names a path that is not there or has none.
Status FindLibraries(const std::vector<std::string>& paths, std::vector<std::string>* libraries);

// The command of a worker for these paths; kNotFound as above.
Status LibraryWorkerCommand(const std::vector<std::string>& paths, std::vector<std::string>* argv);

// Loads all; returns what went wrong, or "".
std::string LoadLibraries(const std::vector<std::string>& paths);

}  // namespace rmpi::cpp
