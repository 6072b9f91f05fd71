// SPDX-License-Identifier: Apache-2.0
// Time as the state machines see it: nanoseconds handed in by the loop (or by the simulator), never read
// by the logic itself.
#pragma once

#include <time.h>

#include <cstdint>

namespace rmpi {

using TimeNs = int64_t;

constexpr TimeNs kMicrosecond = 1'000;
constexpr TimeNs kMillisecond = 1'000'000;
constexpr TimeNs kSecond = 1'000'000'000;
constexpr TimeNs kNever = INT64_MAX;

// CLOCK_MONOTONIC now. For loops and threads only.
inline TimeNs MonotonicNow() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<TimeNs>(ts.tv_sec) * kSecond + ts.tv_nsec;
}

}  // namespace rmpi
