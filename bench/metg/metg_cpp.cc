// SPDX-License-Identifier: Apache-2.0
// The grid as C++ tasks: each point is a task whose arguments are refs to the points it depends on; the whole
// grid is submitted before anything is waited for.
#include <ray/api.h>

#include "bench/metg/graph.h"

namespace {

uint64_t Point0(uint64_t iterations) {
  metg::Kernel(iterations);
  return 1;
}
uint64_t Point2(uint64_t iterations, uint64_t a, uint64_t b) { return Point0(iterations) + a + b; }
uint64_t Point3(uint64_t iterations, uint64_t a, uint64_t b, uint64_t c) {
  return Point0(iterations) + a + b + c;
}
uint64_t Point4(uint64_t iterations, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return Point0(iterations) + a + b + c + d;
}
uint64_t Point5(uint64_t iterations, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  return Point0(iterations) + a + b + c + d + e;
}

using Row = std::vector<ray::ObjectRef<uint64_t>>;

ray::ObjectRef<uint64_t> Submit(uint64_t iterations, const Row& row, std::pair<int, int> inputs) {
  const auto at = [&](int i) -> const ray::ObjectRef<uint64_t>& {
    return row[static_cast<size_t>(inputs.first + i)];
  };
  switch (inputs.second - inputs.first) {
    case 0:
      return ray::Task(Point0).Remote(iterations);
    case 2:
      return ray::Task(Point2).Remote(iterations, at(0), at(1));
    case 3:
      return ray::Task(Point3).Remote(iterations, at(0), at(1), at(2));
    case 4:
      return ray::Task(Point4).Remote(iterations, at(0), at(1), at(2), at(3));
    case 5:
      return ray::Task(Point5).Remote(iterations, at(0), at(1), at(2), at(3), at(4));
    default:
      std::fprintf(stderr, "metg_cpp: a width below the pattern's reach\n");
      std::exit(2);
  }
}

double Run(const metg::Options& o, uint64_t iterations, uint64_t* sum) {
  const double start = metg::Now();
  Row row, next;
  for (int step = 0; step < o.steps; ++step) {
    next.clear();
    for (int i = 0; i < o.width; ++i) {
      const std::pair<int, int> inputs = step == 0 ? std::pair(0, 0) : metg::Inputs(o.pattern, o.width, i);
      next.push_back(Submit(iterations, row, inputs));
    }
    row.swap(next);
  }
  *sum = 0;
  for (const auto& value : ray::Get(row)) *sum += *value;
  return metg::Now() - start;
}

}  // namespace

RAY_REMOTE(Point0, Point2, Point3, Point4, Point5);

int main(int argc, char** argv) {
  const metg::Options options = metg::Parse(argc, argv);
  ray::RayConfig config;
  config.head_args = {"--num-cpus", "2"};
  ray::Init(config);
  uint64_t sum = 0;
  Run(options, 1, &sum);  // workers are there, functions are known
  int status = 0;
  for (const uint64_t iterations : options.iterations) {
    std::vector<double> seconds;
    const double start = metg::Now(), cpu = metg::CpuSeconds();
    for (int i = 0; i < options.repeats; ++i) {
      seconds.push_back(Run(options, iterations, &sum));
      if (sum != metg::ExpectedSum(options)) status = 1;
    }
    if (status != 0) std::fprintf(stderr, "metg_cpp: the last row's sum is wrong\n");
    metg::Report("C++ tasks", options, iterations, seconds,
                 (metg::CpuSeconds() - cpu) / (metg::Now() - start));
  }
  ray::Shutdown();
  return status;
}
