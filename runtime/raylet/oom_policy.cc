// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/oom_policy.h"

#include <tuple>

namespace rmpi {
namespace {

// A warm interpreter has a few MiB that are its own; killing it would change nothing.
constexpr uint64_t kWorthwhile = 16 << 20;

}  // namespace

std::optional<size_t> ChooseVictim(const std::vector<OomCandidate>& candidates) {
  std::optional<size_t> best;
  const auto rank = [](const OomCandidate& c) { return std::tuple(c.retriable, c.started_ns); };
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].own_bytes < kWorthwhile) continue;
    if (!best || rank(candidates[i]) > rank(candidates[*best])) best = i;
  }
  return best;
}

}  // namespace rmpi
