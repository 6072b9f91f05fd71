// SPDX-License-Identifier: Apache-2.0
// Nodes of 128 CPUs. Bounds are on what does not depend on the machine: messages and virtual time.
#include <gtest/gtest.h>

#include "tests/scale/scenarios.h"

namespace rmpi::scale {
namespace {

constexpr Size kThousand{1000, 128};

TEST(Scale, WarmOwnersSeldomNeedTheHead) {
  const Outcome o = WarmBurst({100, 128}, 10, 400'000, 10 * kMillisecond);
  EXPECT_TRUE(o.finished);
  EXPECT_EQ(o.started, o.tasks);
  EXPECT_LT(o.head_messages_per_task(), 0.01);
}

// Each task crosses the line between what its node packs and what the head spreads.
TEST(Scale, AHalfBusyStreamSeldomNeedsTheHead) {
  const Outcome o = Steady({64, 128}, 64, 100 * kMillisecond, kSecond);
  EXPECT_TRUE(o.finished);
  EXPECT_LT(o.head_messages_per_task(), 0.05);
}

// 1,000 nodes say twice a second that they live.
TEST(Scale, TheHeadHearsOfIdleNodesThroughAFew) {
  const Outcome flat = Idle({1000, 128, 0, true}, 2 * kSecond);
  EXPECT_NEAR(flat.heartbeats_per_s(), 2000, 100);
  const Outcome tree = Idle(kThousand, 2 * kSecond);
  EXPECT_LT(tree.heartbeats_per_s(), 250);
  EXPECT_GT(tree.heartbeats_per_s(), 60);
}

TEST(Scale, AllCpusAreBusySoon) {
  const Outcome o = RampUp(kThousand, 1);
  EXPECT_TRUE(o.finished);
  EXPECT_LT(o.to_last_start, 10 * kSecond);
}

TEST(Scale, TenThousandActorsStartTogether) {
  const Outcome o = Actors(kThousand, 1, 10'000);
  EXPECT_TRUE(o.finished);
  EXPECT_LT(o.to_last_start, kSecond);
  EXPECT_LT(o.head_messages_per_task(), 1);
}

TEST(Scale, AThousandGroupsOfManyBundles) {
  for (const GroupStrategy strategy : {GroupStrategy::kPack, GroupStrategy::kSpread}) {
    const Outcome o = Groups(kThousand, 1000, strategy, 64, 1);
    EXPECT_TRUE(o.finished);
    EXPECT_EQ(o.started, 1000U);
    EXPECT_EQ(o.head.assigned, 64'000U) << "each bundle is placed once";
    EXPECT_LT(o.worst, kSecond);
  }
}

TEST(Scale, AGangOnAllNodes) {
  const Outcome o = Groups(kThousand, 1, GroupStrategy::kStrictSpread, 1000, 128);
  EXPECT_TRUE(o.finished);
  EXPECT_LT(o.worst, 100 * kMillisecond);
}

// What keeps the nodes busy never ends, so there are never 64 CPUs of one free at once unless somebody sees
// to it.
TEST(Scale, BigTasksDoNotStarve) {
  for (const uint32_t nodes : {1U, 4U}) {
    const Outcome o = BigAmongSmall({nodes, 128}, 3, 2, 300 * kMillisecond);
    EXPECT_TRUE(o.finished);
    EXPECT_LT(o.makespan, 5 * kSecond);
  }
}

// A list schedule of a workload ten times as long as its longest task; see docs/scale.md for what is in it.
TEST(Scale, MixedWorkIsNotMuchLongerThanAListSchedule) {
  Size size{100, 128};
  size.gpus = 8;
  const MixedOutcome o = MixedWork(size, 1, 600 * kSecond, 1);
  EXPECT_TRUE(o.outcome.finished);
  EXPECT_LT(o.over_bound(), 1.18);
  EXPECT_GT(o.utilisation, 0.82);
}

TEST(Scale, WhatDiesIsDoneElsewhere) {
  const Outcome o = Deaths(kThousand, 10, 100);
  EXPECT_TRUE(o.finished);
  EXPECT_GT(o.started, o.tasks);
  EXPECT_LT(o.makespan, 20 * kSecond);
}

}  // namespace
}  // namespace rmpi::scale
