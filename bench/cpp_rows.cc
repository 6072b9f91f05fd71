// SPDX-License-Identifier: Apache-2.0
// The rows of bench/compare for C++ tasks and objects: a driver in this program, workers that are this
// program again. Prints what bench/rows/measure.py prints: one JSON line per row, at least 5 rounds and 2 s
// after a warm-up round.
#include <ray/api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int Noop() { return 0; }

// Units per second of each round; `call` does `units` of them.
std::vector<double> Rates(const std::function<void()>& call, double units) {
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

void Row(const char* name, const char* unit, const std::vector<double>& samples) {
  std::printf("{\"row\": \"%s\", \"unit\": \"%s\", \"samples\": [", name, unit);
  for (size_t i = 0; i < samples.size(); ++i) std::printf("%s%.6g", i == 0 ? "" : ", ", samples[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

std::vector<double> MicrosecondsEach(std::vector<double> rates) {
  for (double& rate : rates) rate = 1e6 / rate;
  return rates;
}

}  // namespace

RAY_REMOTE(Noop);

int main() {
  ray::RayConfig config;
  config.head_args = {"--num-cpus", "2", "--object-store-memory", "1G"};
  ray::Init(config);
  Row("cpp_tasks_sync", "us", MicrosecondsEach(Rates([] { ray::Get(ray::Task(Noop).Remote()); }, 1)));
  constexpr int kBurst = 10'000;
  std::vector<ray::ObjectRef<int>> refs;
  refs.reserve(kBurst);
  const auto burst = [&refs] {
    refs.clear();
    for (int i = 0; i < kBurst; ++i) refs.push_back(ray::Task(Noop).Remote());
    ray::Get(refs);
  };
  Row("cpp_tasks_async", "tasks/s", Rates(burst, kBurst));
  refs.clear();
  Row("cpp_put_calls", "puts/s", Rates([] { ray::Put(0); }, 1));
  const auto small = ray::Put(0);
  Row("cpp_get_calls", "gets/s", Rates([&small] { ray::Get(small); }, 1));
  const auto large = ray::Put(std::vector<double>(12'500'000, 1.0));
  Row("cpp_view_of_100MB", "gets/s", Rates([&large] { (void)ray::GetView(large); }, 1));
  ray::Shutdown();
}
