// SPDX-License-Identifier: Apache-2.0
// The limits of the control groups that this process is in, versions 1 and 2 and both at once. A limit of any
// ancestor counts, as far up as it can be seen.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/node/cpu_list.h"

namespace rmpi {

struct CgroupLimits {
  std::optional<CpuList> cpus;                // the cpuset
  std::optional<double> cpu_quota;            // CPU seconds per second
  std::optional<uint64_t> memory_bytes;       // the smallest memory limit
  std::optional<uint64_t> memory_left_bytes;  // what can be allocated before the first limit is met
};

// A control group with a memory limit.
struct CgroupMemory {
  std::string folder;
  uint64_t limit_bytes = 0;
  uint64_t used_bytes = 0;  // without the file pages that are given up before anything is killed
};

// Ours and its ancestors, innermost first. Both read below `root` ("" is the machine itself).
std::vector<CgroupMemory> ReadCgroupMemory(const std::string& root);
CgroupLimits ReadCgroupLimits(const std::string& root);

}  // namespace rmpi
