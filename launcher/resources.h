// SPDX-License-Identifier: Apache-2.0
// What this rank offers: what the machine grants it, changed by the options.
#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"
#include "runtime/devices/devices.h"
#include "runtime/node/detect.h"
#include "runtime/raylet/raylet.h"

namespace rmpi::launcher {

// The NUMA nodes to bind the object store to, as a list ("0-1"), or "": where the grant covers some of
// several and their memory has room for it. (A bound arena that outgrew them would meet the kernel's OOM
// killer.)
std::string DecideArenaNuma(const Options& options, const NodeResources& node, uint64_t object_store_bytes);

// Fills in the CPUs that workers are bound to, and which devices are near them. None are bound if the user
// does not want it, or if there are more CPUs for tasks than real ones.
void DecideBinding(const Options& options, const NodeResources& node, const DeviceKinds& devices,
                   RayletConfig* raylet);

// Fills in resources, labels and object_store_bytes. `notices` are for the user (once, on rank 0). An error:
// what is asked for contradicts the devices that the node was given.
Status DecideResources(const Options& options, const NodeResources& node, RayletConfig* raylet,
                       std::vector<std::string>* notices);

// The names of what the raylet counts as devices.
Status DecideDevices(const NodeResources& node, const Environment& environment, const RayletConfig& raylet,
                     DeviceKinds* devices);

}  // namespace rmpi::launcher
