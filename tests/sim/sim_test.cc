// SPDX-License-Identifier: Apache-2.0
// Runs many seeds of the simulator: `--seeds=N` of them, from `--first=M` on, to the first failure, which is
// made smaller as far as it goes; with `--all` one line per failure, with
// `--first-failure` one for the first. `--seed=N [--verbose]`: one of them,
// which
// `--tasks=N`, `--nodes=N` and `--without=kills,cancels,..` make smaller.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

#include "tests/sim/shrink.h"
#include "tests/sim/world.h"

namespace rmpi::sim {
namespace {

uint64_t seeds = 1000;
uint64_t first = 1;
bool only_first = false;

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
                    Found{"DemandOfADeadOwner", 11311}, Found{"StoredErrorOfALostConstructor", 17096},
                    Found{"AssignmentForAnEndedJob", 2795},
                    Found{"DetachedArgumentOfAnOwnerThatIsGone", 533}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Sim, Seeds) {
  uint64_t steps = 0, started = 0, rebuilt = 0, items_again = 0, read_back = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    World world(seed, false);
    const std::string failure = world.Run();
    steps += world.steps();
    started += world.started();
    rebuilt += world.rebuilt();
    items_again += world.items_again();
    read_back += world.read_back();
    ASSERT_EQ(failure, "") << Shrink(seed);
  }
  std::printf(
      "%llu seeds, %llu events, %llu tasks started, %llu of them again, %llu items again, %llu "
      "objects read from files of dead nodes\n",
      static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(steps),
      static_cast<unsigned long long>(started), static_cast<unsigned long long>(rebuilt),
      static_cast<unsigned long long>(items_again), static_cast<unsigned long long>(read_back));
  EXPECT_GT(started, seeds * 20);
  EXPECT_GT(rebuilt, seeds / 10);
  EXPECT_GT(items_again, seeds / 50);
  EXPECT_GT(read_back, seeds / 50);
}

TEST(Sim, TenThousandActorsAreMadeAndCalledOnce) {
  constexpr uint32_t kMany = 10000;
  World world(50, kMany);
  EXPECT_EQ(world.Run(), "");
  EXPECT_GE(world.started(), kMany * 9 / 5) << "a tenth of the constructors may raise";
}

// Goes on after a failure, with one line each.
int RunAll() {
  int failures = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const auto start = std::chrono::steady_clock::now();
    const std::string failure = World(seed, false).Run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (took.count() > 5)
      std::printf("seed %llu took %.1f s\n", static_cast<unsigned long long>(seed), took.count());
    if (failure.empty()) continue;
    std::printf("%s\n", failure.substr(0, failure.find('\n')).c_str());
    std::fflush(stdout);
    ++failures;
    if (only_first) break;
  }
  std::printf("%d failures\n", failures);
  return failures != 0;
}

int RunOne(uint64_t seed, const Limits& limits, bool shrink, bool verbose) {
  const std::string failure = World(seed, verbose, limits).Run();
  std::printf("%s\n", failure.empty() ? "passed" : failure.c_str());
  if (!failure.empty() && shrink) std::printf("%s\n", Shrink(seed).c_str());
  return failure.empty() ? 0 : 1;
}

}  // namespace
}  // namespace rmpi::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  uint64_t seed = 0;
  bool verbose = false, all = false, shrink = false;
  rmpi::sim::Limits limits;
  for (int i = 1; i < argc; ++i) {
    const auto value = [&](const char* name) {
      const size_t n = std::strlen(name);
      return std::strncmp(argv[i], name, n) == 0 ? argv[i] + n : nullptr;
    };
    const auto number = [](const char* v) { return std::strtoull(v, nullptr, 10); };
    if (const char* v = value("--seed=")) {
      seed = number(v);
    } else if (const char* n = value("--seeds=")) {
      rmpi::sim::seeds = number(n);
    } else if (const char* f = value("--first=")) {
      rmpi::sim::first = number(f);
    } else if (const char* t = value("--tasks=")) {
      limits.tasks = static_cast<uint32_t>(number(t));
    } else if (const char* c = value("--nodes=")) {
      limits.nodes = static_cast<uint32_t>(number(c));
    } else if (const char* w = value("--without=")) {
      std::istringstream names(w);
      for (std::string name; std::getline(names, name, ',');) limits.without.insert(name);
    } else if (std::strcmp(argv[i], "--verbose") == 0) {
      verbose = true;
    } else if (std::strcmp(argv[i], "--shrink") == 0) {
      shrink = true;
    } else if (std::strcmp(argv[i], "--all") == 0) {
      all = true;
    } else if (std::strcmp(argv[i], "--first-failure") == 0) {
      all = rmpi::sim::only_first = true;
    } else {
      std::fprintf(stderr, "sim_test: unknown option %s\n", argv[i]);
      return 2;
    }
  }
  if (all) return rmpi::sim::RunAll();
  return seed == 0 ? RUN_ALL_TESTS() : rmpi::sim::RunOne(seed, limits, shrink, verbose);
}
