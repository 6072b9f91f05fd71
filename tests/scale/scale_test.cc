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

TEST(Scale, WhatDiesIsDoneElsewhere) {
  const Outcome o = Deaths(kThousand, 10, 100);
  EXPECT_TRUE(o.finished);
  EXPECT_GT(o.started, o.tasks);
  EXPECT_LT(o.makespan, 20 * kSecond);
}

}  // namespace
}  // namespace rmpi::scale
