// SPDX-License-Identifier: Apache-2.0
// How full the memory is that this process may use: of the control group, or of an ancestor, that is nearest
// to its limit (beyond it the kernel kills), and of the machine.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rmpi {

struct MemoryUse {
  uint64_t used_bytes = 0;  // without file pages that the kernel gives up by itself; shared memory included
  uint64_t limit_bytes = 0;
  std::string limit;  // whose it is: the folder of a control group, or "the machine"

  double fraction() const {
    return limit_bytes == 0 ? 0 : static_cast<double>(used_bytes) / static_cast<double>(limit_bytes);
  }
};

// Of all limits that hold here, the fullest. Reads below `root` ("" is the machine itself).
MemoryUse ReadMemoryUse(const std::string& root);

// How many processes of our control groups the kernel has killed for their memory.
uint64_t ReadOomKills(const std::string& root);

struct ProcessMemory {
  pid_t pid = 0;
  uint64_t bytes = 0;  // its own: resident pages that are not shared
  std::string command;
};

// The own memory of a process; 0 if it is gone.
uint64_t ReadOwnMemory(const std::string& root, pid_t pid);
// The largest processes of the machine that can be seen, largest first.
std::vector<ProcessMemory> LargestProcesses(const std::string& root, size_t most);

}  // namespace rmpi
