// SPDX-License-Identifier: Apache-2.0
// The grid: which points of the row before a point depends on, and the value that proves it got them.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "bench/metg/kernel.h"

namespace metg {

struct Options {
  std::string pattern = "stencil_1d";
  int width = 16, steps = 200, repeats = 3;
  std::vector<uint64_t> iterations;
};

// Columns [first, second) of the row before.
inline std::pair<int, int> Inputs(const std::string& pattern, int width, int column) {
  const int reach = pattern == "stencil_1d" ? 1 : pattern == "nearest" ? 2 : -1;
  if (reach < 0) return {0, 0};
  return {std::max(0, column - reach), std::min(width, column + reach + 1)};
}

// 1 + the sum of the inputs' values, modulo 2^64: a row's sum tells whether every point got every input.
inline uint64_t Value(const std::vector<uint64_t>& row, std::pair<int, int> inputs) {
  uint64_t value = 1;
  for (int i = inputs.first; i < inputs.second; ++i) value += row[static_cast<size_t>(i)];
  return value;
}

// The last row's sum, by one thread without any kernel.
inline uint64_t ExpectedSum(const Options& o) {
  std::vector<uint64_t> row(static_cast<size_t>(o.width), 1), next(row.size());
  for (int step = 1; step < o.steps; ++step) {
    for (int i = 0; i < o.width; ++i)
      next[static_cast<size_t>(i)] = Value(row, Inputs(o.pattern, o.width, i));
    row.swap(next);
  }
  uint64_t sum = 0;
  for (uint64_t v : row) sum += v;
  return sum;
}

inline double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// PROGRAM pattern width steps repeats iterations[,iterations...]
inline Options Parse(int argc, char** argv) {
  Options o;
  const bool known = argc == 6 && (o.pattern = argv[1], o.pattern == "stencil_1d" || o.pattern == "nearest" ||
                                                            o.pattern == "no_dependency");
  if (known) {
    o.width = std::atoi(argv[2]);
    o.steps = std::atoi(argv[3]);
    o.repeats = std::atoi(argv[4]);
    for (char* at = argv[5]; *at != '\0';) {
      char* end = at;
      o.iterations.push_back(std::strtoull(at, &end, 10));
      if (end == at) break;
      at = *end == ',' ? end + 1 : end;
    }
  }
  if (!known || o.width < 1 || o.steps < 1 || o.repeats < 1 || o.iterations.empty()) {
    std::fprintf(
        stderr, "usage: %s stencil_1d|nearest|no_dependency WIDTH STEPS REPEATS ITERATIONS[,ITERATIONS...]\n",
        argv[0]);
    std::exit(2);
  }
  return o;
}

// CPU time of this process so far, in seconds.
inline double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// driver_cpu: of a driver that runs no kernel itself, in cores; 0 where there is none.
inline void Report(const char* system, const Options& o, uint64_t iterations,
                   const std::vector<double>& seconds, double driver_cpu) {
  std::printf(
      "{\"system\": \"%s\", \"pattern\": \"%s\", \"width\": %d, \"steps\": %d, \"iterations\": %llu, "
      "\"driver_cpu\": %.2f, "
      "\"seconds\": [",
      system, o.pattern.c_str(), o.width, o.steps, static_cast<unsigned long long>(iterations), driver_cpu);
  for (size_t i = 0; i < seconds.size(); ++i) std::printf("%s%.6f", i == 0 ? "" : ", ", seconds[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

}  // namespace metg
