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

TEST(Scale, WhatDiesIsDoneElsewhere) {
  const Outcome o = Deaths(kThousand, 10, 100);
  EXPECT_TRUE(o.finished);
  EXPECT_GT(o.started, o.tasks);
  EXPECT_LT(o.makespan, 20 * kSecond);
}

}  // namespace
}  // namespace rmpi::scale
