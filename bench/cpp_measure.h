// SPDX-License-Identifier: Apache-2.0
// How the rows of C++ programs are measured and printed: as bench/rows/measure.py does it, one JSON line per
// row, at least 5 rounds and 2 s after a warm-up round.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

namespace bench {

inline double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Units per second of each round; `call` does `units` of them.
inline std::vector<double> Rates(const std::function<void()>& call, double units) {
  constexpr double kRound = 0.4, kTotal = 2.0;
  const double warm = Now();
  int calls = 0;
  while (Now() - warm < kRound / 2) {
    call();
    ++calls;
  }
  calls = std::max(1, static_cast<int>(calls * kRound / (Now() - warm)));
  std::vector<double> rates;
  const double begin = Now();
  while (rates.size() < 5 || Now() - begin < kTotal) {
    const double start = Now();
    for (int i = 0; i < calls; ++i) call();
    rates.push_back(units * calls / (Now() - start));
  }
  return rates;
}

inline void Row(const char* name, const char* unit, const std::vector<double>& samples) {
  std::printf("{\"row\": \"%s\", \"unit\": \"%s\", \"samples\": [", name, unit);
  for (size_t i = 0; i < samples.size(); ++i) std::printf("%s%.6g", i == 0 ? "" : ", ", samples[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

inline std::vector<double> MicrosecondsEach(std::vector<double> rates) {
  for (double& rate : rates) rate = 1e6 / rate;
  return rates;
}

}  // namespace bench
