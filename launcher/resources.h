// SPDX-License-Identifier: Apache-2.0
// What this rank offers: what the machine grants it, changed by the options.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"
#include "runtime/node/detect.h"
#include "runtime/raylet/raylet.h"

namespace rmpi::launcher {

// Fills in resources, labels and object_store_bytes. `notices` are for the user (once, on rank 0).
void DecideResources(const Options& options, const NodeResources& node, RayletConfig* raylet,
                     std::vector<std::string>* notices);

}  // namespace rmpi::launcher
