// SPDX-License-Identifier: Apache-2.0
// Where objects go that do not fit into memory: a folder of this run in each folder that was named, or in the
// run directory. They go with the run, unless it is to keep them (objstore/spill/run_folders).
#pragma once

#include <string>

#include "launcher/options.h"
#include "runtime/raylet/raylet.h"

namespace rmpi::launcher {

// Looks at the folders that were named, and sets what the raylet is to do.
Status DecideSpilling(const Options& options, RayletConfig* raylet);

// Turns them into this run's own (or chooses one), which the raylet makes when it needs them. Of a run
// directory in memory (a tmpfs) it is another place, if there is one.
void NameSpillFolders(const std::string& run_directory, const Environment& environment, RayletConfig* raylet);
void RemoveSpillFolders(const RayletConfig& raylet);

}  // namespace rmpi::launcher
