// SPDX-License-Identifier: Apache-2.0
// Which worker goes when a node's memory runs out: pure logic, fed by MemoryMonitor.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/ids/ids.h"

namespace rmpi {

struct OomCandidate {
  Address worker;
  pid_t pid = 0;
  std::string name;  // of its task, or its actor's class
  bool actor = false;
  bool retriable = false;   // what it runs starts again by itself
  uint64_t started_ns = 0;  // its task, or its actor
  uint64_t own_bytes = 0;   // memory that its end gives back
};

// Retriable ones first, and of those the newest: it has the least to lose. One whose end gives nothing back
// is not chosen. Nothing: nobody is left.
std::optional<size_t> ChooseVictim(const std::vector<OomCandidate>& candidates);

}  // namespace rmpi
