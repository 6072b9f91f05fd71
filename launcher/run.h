// SPDX-License-Identifier: Apache-2.0
// One rank: from options, launch and machine to a keeper's configuration, and its run.
#pragma once

#include "launcher/keeper.h"
#include "launcher/options.h"
#include "launcher/paths.h"

namespace rmpi::launcher {

// kRun and kEmbedded. Returns the exit status; 2 when this rank must not start.
int RunRank(const Options& options, const Paths& paths, const Environment& environment,
            Keeper::RayletMain raylet);

// The whole command. main() calls it with the real raylet, tests with one of their own.
int Main(int argc, char** argv, Keeper::RayletMain raylet);

}  // namespace rmpi::launcher
