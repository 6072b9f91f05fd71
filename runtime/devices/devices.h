// SPDX-License-Identifier: Apache-2.0
// The devices of a node (GPUs and other accelerators) by the names that a process calls them: what the keeper
// tells the node's workers in their environment, and which variables show a worker just the devices of its
// task. Pure functions. A node numbers its devices in one row, by resource, as sched::Pool does.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/status.h"

namespace rmpi {

struct DeviceKind {
  std::string resource;  // GPU
  std::string variable;  // that shows devices to a process, e.g. CUDA_VISIBLE_DEVICES
  bool masked = false;   // the ids were given to the node in that variable; else they are plain numbers
  std::vector<std::string> ids;  // by number
};
using DeviceKinds = std::vector<DeviceKind>;  // by name of resource

constexpr const char* kDevicesVariable = "RAY_MPI_DEVICES";

std::string EncodeDevices(const DeviceKinds& kinds);
Status DecodeDevices(const std::string& text, DeviceKinds* out);

// How a process is shown the devices of a resource; "" if it is not a resource of devices. GPUs: of NVIDIA.
std::string VisibleDevicesVariable(const std::string& resource);

struct HeldDevices {
  const DeviceKind* kind = nullptr;
  std::vector<std::string> ids;
};
// `numbers`: as the raylet gave them, ascending. Only kinds of which there are some.
std::vector<HeldDevices> NameDevices(const DeviceKinds& kinds, const std::vector<uint32_t>& numbers);

using Lookup = std::function<std::optional<std::string>(const std::string&)>;  // of a variable's value
using Variables = std::vector<std::pair<std::string, std::string>>;
// What a process must have in its environment, besides what `environment` says it has, to see just these
// devices. Empty when the user has forbidden it (RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES=1 and its like).
Variables DeviceVariables(const std::vector<HeldDevices>& held, const Lookup& environment);
// The same for a task without devices: nothing, unless RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1.
Variables NoDeviceVariables(const DeviceKinds& kinds, const Lookup& environment);

}  // namespace rmpi
