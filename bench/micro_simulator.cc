// SPDX-License-Identifier: Apache-2.0
// The simulator of the control plane: events per second over the seeds 1 to 50, and tasks and calls started.
#include <benchmark/benchmark.h>

#include "tests/sim/world.h"

namespace rmpi::sim {
namespace {

void Seeds(benchmark::State& state) {
  uint64_t events = 0, started = 0, seed = 0;
  for (auto _ : state) {
    World world(seed++ % 50 + 1, false);
    if (const std::string failure = world.Run(); !failure.empty()) state.SkipWithError(failure.c_str());
    events += world.steps();
    started += world.started();
  }
  state.counters["events/s"] = benchmark::Counter(static_cast<double>(events), benchmark::Counter::kIsRate);
  state.counters["started/s"] = benchmark::Counter(static_cast<double>(started), benchmark::Counter::kIsRate);
}
BENCHMARK(Seeds)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rmpi::sim
