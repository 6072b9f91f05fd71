// SPDX-License-Identifier: Apache-2.0
// `ray-mpi status`: how a run is. Nodes and what is used of them, its processes and where they are bound,
// what waits and why, placement groups.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"
#include "runtime/message/status_messages.h"

namespace rmpi::launcher {

// `words`: after "status". Returns the exit status.
int ShowStatus(const std::vector<std::string>& words, const Environment& environment);

// ---- how it looks (status_text.cc)
std::string StatusTables(const RunStatus& status,
                         bool all);  // for people; all: labels, idle workers, the dead
std::string StatusLines(const RunStatus& status, bool all);  // the same without a terminal
std::string StatusJson(const RunStatus& status);             // all of it

}  // namespace rmpi::launcher
