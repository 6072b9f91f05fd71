// SPDX-License-Identifier: Apache-2.0
// Broadcasts and pulls among many simulated nodes: how long, and that nothing hangs, is wrong, or is left.
// `--seeds=N` runs more of them.
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/sim/pull_world.h"

namespace rmpi::sim {
namespace {

uint64_t g_seeds = 1000;
uint64_t g_first = 1;

// All of `nodes` - 1 receivers ask for one object within `spread`; the time from then on, in times of a
// chunk.
double Broadcast(uint32_t nodes, uint64_t chunks, TimeNs spread, uint32_t* source_served = nullptr) {
  PullWorld world({.seed = 1, .nodes = nodes, .store_bytes = 2 * chunks * kChunkBytes + (64 << 10)});
  Rng rng(7);
  const TimeNs begun = world.now();
  const ObjectId id = world.Make(1, chunks * kChunkBytes);
  for (uint32_t n = 2; n <= nodes; ++n)
    world.Want(n, {id}, PullPriority::kGet,
               static_cast<TimeNs>(rng.Below(static_cast<uint64_t>(spread) + 1)));
  EXPECT_TRUE(world.Run(600 * kSecond)) << world.problem();
  EXPECT_EQ(world.met().size(), nodes - 1);
  if (source_served != nullptr) *source_served = world.most_served(1);
  return static_cast<double>(world.met().back().at - begun) / kChunkTime;
}

TEST(Broadcast, AThousandNodesGetItInAboutTheTimeOfAPipelinedTree) {
  constexpr uint64_t kChunks = 64;
  uint32_t served = 0;
  const double time = Broadcast(1000, kChunks, kMillisecond, &served);
  // Each inner node of a binary tree sends every chunk twice.
  const double tree = 2.0 * (kChunks + std::bit_width(1000U));
  std::cout << "1,000 nodes: " << time << " times of a chunk, a pipelined binary tree " << tree
            << ", one node after the other " << 999 * kChunks << "\n";
  EXPECT_LT(time, 2 * tree);
  EXPECT_LE(served, 2U) << "receivers at once, by the source itself";
}

TEST(Broadcast, AFewNodesGetItAtNearlyTheRateOfOneLink) {
  for (const uint32_t receivers : {3U, 15U}) {
    const double time = Broadcast(receivers + 1, 64, kMillisecond);
    std::cout << receivers << " receivers: " << 64 / time << " of a link's rate each\n";
    EXPECT_GT(64 / time, 0.7);
  }
}

TEST(Broadcast, SmallObjectsGoToSeveralAtOnce) { EXPECT_LT(Broadcast(200, 1, 0), 3 * std::bit_width(200U)); }

// Receivers and the source die, stop for a while, and some give up; objects are freed.
void Chaos(uint64_t seed) {
  Rng rng(seed);
  const uint32_t nodes = 3 + static_cast<uint32_t>(rng.Below(30));
  const uint64_t chunks = 1 + rng.Below(24);
  PullWorld world({.seed = seed,
                   .nodes = nodes,
                   .store_bytes = 1 << 20,
                   .most_latency = static_cast<TimeNs>(100 * kMicrosecond + rng.Below(20 * kMillisecond))});
  std::vector<ObjectId> ids;
  for (uint64_t n = 1 + rng.Below(3); n > 0; --n)
    ids.push_back(world.Make(1 + static_cast<uint32_t>(rng.Below(3)), 1 + rng.Below(chunks * kChunkBytes)));
  const TimeNs span = static_cast<TimeNs>(chunks) * 4 * kChunkTime;
  const auto some_time = [&] { return static_cast<TimeNs>(rng.Below(static_cast<uint64_t>(span))); };
  for (uint32_t n = 1; n <= nodes; ++n) {
    for (const ObjectId& id : ids) {
      if (rng.Percent(80)) world.Want(n, {id}, PullPriority::kGet, some_time());
    }
  }
  for (uint64_t deaths = rng.Below(4); deaths > 0; --deaths)
    world.KillNode(1 + static_cast<uint32_t>(rng.Below(nodes)), some_time());
  for (uint64_t pauses = rng.Below(3); pauses > 0; --pauses)
    world.Pause(1 + static_cast<uint32_t>(rng.Below(nodes)), some_time(),
                static_cast<TimeNs>(rng.Below(20 * kSecond)));
  if (rng.Percent(20)) world.Free(ids[0], some_time());
  ASSERT_TRUE(world.Run(600 * kSecond)) << world.problem() << ", seed " << seed;
}

TEST(Broadcast, NothingHangsWhenNodesDieOrStop) {
  for (uint64_t seed = g_first; seed < g_first + g_seeds; ++seed) {
    Chaos(seed);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace rmpi::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--seeds=", 0) == 0) rmpi::sim::g_seeds = strtoull(argument.c_str() + 8, nullptr, 10);
    if (argument.rfind("--seed=", 0) == 0) {
      rmpi::sim::g_first = strtoull(argument.c_str() + 7, nullptr, 10);
      rmpi::sim::g_seeds = 1;
    }
  }
  return RUN_ALL_TESTS();
}
