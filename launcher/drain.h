// SPDX-License-Identifier: Apache-2.0
// `ray-mpi drain NODE`: empties a node of a run that is up, and waits until that is done.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"

namespace rmpi::launcher {

// `words`: after "drain". Returns the exit status: 0, it is drained and nothing was left behind.
int DrainNode(const std::vector<std::string>& words, const Environment& environment);

}  // namespace rmpi::launcher
