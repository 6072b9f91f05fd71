// SPDX-License-Identifier: Apache-2.0
// Runs many seeds of the simulator. `--seed=N [--verbose]`: one; `--seeds=N`: N of them, from `--first=M` on.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/sim/world.h"

namespace rmpi::sim {
namespace {

uint64_t seeds = 1000;
uint64_t first = 1;

// Seeds that failed once, by what they found.
struct Found {
  const char* name;
  uint64_t seed;
};

class OnceFailed : public testing::TestWithParam<Found> {};

TEST_P(OnceFailed, Passes) { EXPECT_EQ(World(GetParam().seed, false).Run(), ""); }

INSTANTIATE_TEST_SUITE_P(
    Sim, OnceFailed,
    testing::Values(Found{"CancelledTaskLeavesItsDemand", 3}, Found{"HandOffOfAFormerDemand", 66},
                    Found{"ResultSealedAfterItsOwnersEnd", 146},
                    Found{"RevokedTaskPushedBackWithoutEnd", 362}, Found{"AssignmentForADeadOwner", 418},
                    Found{"LastKnownCopyEvicted", 572}, Found{"PromiseToADeadOwner", 3792},
                    Found{"DemandOfADeadOwner", 11311}, Found{"StoredErrorOfALostConstructor", 17096}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Sim, Seeds) {
  uint64_t steps = 0, started = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    World world(seed, false);
    const std::string failure = world.Run();
    steps += world.steps();
    started += world.started();
    ASSERT_EQ(failure, "") << "rerun with sim_test --seed=" << seed << " --verbose";
  }
  std::printf("%llu seeds, %llu events, %llu tasks started\n", static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(steps), static_cast<unsigned long long>(started));
  EXPECT_GT(started, seeds * 20);
}

}  // namespace
}  // namespace rmpi::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  uint64_t seed = 0;
  bool verbose = false, all = false;
  for (int i = 1; i < argc; ++i) {
    const auto value = [&](const char* name) {
      const size_t n = std::strlen(name);
      return std::strncmp(argv[i], name, n) == 0 ? argv[i] + n : nullptr;
    };
    if (const char* v = value("--seed=")) {
      seed = std::strtoull(v, nullptr, 10);
    } else if (const char* n = value("--seeds=")) {
      rmpi::sim::seeds = std::strtoull(n, nullptr, 10);
    } else if (const char* f = value("--first=")) {
      rmpi::sim::first = std::strtoull(f, nullptr, 10);
    } else if (std::strcmp(argv[i], "--verbose") == 0) {
      verbose = true;
    } else if (std::strcmp(argv[i], "--all") == 0) {
      all = true;  // goes on after a failure, one line each
    }
  }
  if (all) {
    int failures = 0;
    for (uint64_t s = rmpi::sim::first; s < rmpi::sim::first + rmpi::sim::seeds; ++s) {
      const auto start = std::chrono::steady_clock::now();
      const std::string failure = rmpi::sim::World(s, false).Run();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      if (took.count() > 1)
        std::printf("seed %llu took %.1f s\n", static_cast<unsigned long long>(s), took.count());
      if (failure.empty()) continue;
      std::printf("%s\n", failure.substr(0, failure.find('\n')).c_str());
      ++failures;
    }
    std::printf("%d failures\n", failures);
    return failures != 0;
  }
  if (seed == 0) return RUN_ALL_TESTS();
  const std::string failure = rmpi::sim::World(seed, verbose).Run();
  std::printf("%s\n", failure.empty() ? "passed" : failure.c_str());
  return failure.empty() ? 0 : 1;
}
