// SPDX-License-Identifier: Apache-2.0
// MemoryMonitor: looks at the memory of the node before its limit makes the kernel kill, which takes no heed
// of who can start again. Ray's two settings, from the environment of the launch: RAY_memory_usage_threshold
// (0.95 of the limit) and RAY_memory_monitor_refresh_ms (250; 0: never). Used by the raylet's control thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/node/memory_use.h"
#include "runtime/raylet/oom_policy.h"

namespace rmpi {

class MemoryMonitor {
 public:
  // Reads below `root` ("" is the machine itself).
  explicit MemoryMonitor(std::string root);

  TimeNs NextDeadline() const { return next_; }
  // The use, when it is time to look and it is above the threshold.
  std::optional<MemoryUse> Check(TimeNs now);
  // What is chosen has to be gone first, and to have made a difference.
  void Killed(TimeNs now) { next_ = now + kAfterKill; }
  // For people: whom, and why that one.
  std::string Reason(const OomCandidate& victim, const MemoryUse& use, size_t candidates) const;
  const std::string& root() const { return root_; }

 private:
  static constexpr TimeNs kAfterKill = kSecond;

  std::string root_;
  double threshold_;
  TimeNs period_;
  TimeNs next_ = 0;
};

}  // namespace rmpi
