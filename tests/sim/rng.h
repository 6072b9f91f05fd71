// SPDX-License-Identifier: Apache-2.0
// The only source of chance in the simulator.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/ids/ids.h"

namespace rmpi::sim {

class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}

  uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15ULL); }
  // 0 .. n-1; 0 for n = 0.
  uint64_t Below(uint64_t n) { return n == 0 ? 0 : Next() % n; }
  bool Percent(uint64_t p) { return Below(100) < p; }

 private:
  uint64_t state_;
};

}  // namespace rmpi::sim
