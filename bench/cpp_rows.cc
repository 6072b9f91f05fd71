// SPDX-License-Identifier: Apache-2.0
// The rows of bench/compare for C++ tasks and objects: a driver in this program, workers that are this
// program again.
#include <ray/api.h>

#include <vector>

#include "bench/cpp_measure.h"

namespace {

int Noop() { return 0; }

}  // namespace

RAY_REMOTE(Noop);

int main() {
  using namespace bench;
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
