// SPDX-License-Identifier: Apache-2.0
// The work of one point: a chain of multiply-adds in registers, so that time is proportional to `iterations`
// and no memory is touched.
#pragma once

#include <cstdint>

namespace metg {

inline double Kernel(uint64_t iterations) {
  double a = 1.0, b = 1.1, c = 1.2, d = 1.3;
  for (uint64_t i = 0; i < iterations; ++i) {
    a = a * 0.999999 + 1e-6;
    b = b * 0.999998 + 1e-6;
    c = c * 0.999997 + 1e-6;
    d = d * 0.999996 + 1e-6;
  }
  volatile double sink = a + b + c + d;  // the compiler must not drop the loop
  return sink;
}

}  // namespace metg
