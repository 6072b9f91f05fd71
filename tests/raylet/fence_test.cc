// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/fence.h"

#include <gtest/gtest.h>

namespace rmpi {
namespace {

constexpr TimeNs kStart = 100 * kSecond;

// Turns each 100 ms until `end`, as the loop does.
void Idle(Fence* fence, TimeNs from, TimeNs end) {
  for (TimeNs t = from; t <= end; t += 100 * kMillisecond) EXPECT_EQ(fence->OnTurn(t), 0);
}

TEST(Fence, HoldsWhileHeartbeatsAreAnswered) {
  Fence fence;
  fence.Start(kStart);
  for (uint64_t i = 1; i <= 20; ++i) {
    const TimeNs now = kStart + static_cast<TimeNs>(i) * kHeartbeatPeriod;
    fence.OnHeartbeatSent(i, now);
    fence.OnTurn(now);
    EXPECT_FALSE(fence.Expired(now));
    fence.OnHeartbeatAck(i);
  }
}

TEST(Fence, CountsFromTheSendingOfTheLastAnsweredHeartbeat) {
  Fence fence;
  fence.Start(kStart);
  fence.OnHeartbeatSent(1, kStart + kSecond);
  Idle(&fence, kStart, kStart + 1900 * kMillisecond);
  fence.OnHeartbeatAck(1);  // late: the head heard us at kStart + 1 s, not now
  Idle(&fence, kStart + 2 * kSecond, kStart + 3 * kSecond);
  EXPECT_FALSE(fence.Expired(kStart + 3 * kSecond));
  EXPECT_TRUE(fence.Expired(kStart + 3 * kSecond + 1));
  EXPECT_EQ(fence.Deadline(), kStart + 3 * kSecond + 1);
}

TEST(Fence, SuspensionIsNobodysSilence) {
  Fence fence;
  fence.Start(kStart);
  fence.OnHeartbeatSent(1, kStart);
  Idle(&fence, kStart, kStart + kSecond);
  const TimeNs woken = kStart + 200 * kSecond;
  EXPECT_EQ(fence.OnTurn(woken), 199 * kSecond);
  EXPECT_FALSE(fence.Expired(woken));
  Idle(&fence, woken, woken + kSecond);
  EXPECT_TRUE(fence.Expired(woken + kSecond + 1));  // a second before, and one after
}

// The keeper's: it is told, and counts only while it runs itself.
TEST(Fence, TheKeepersPatienceIsItsOwn) {
  Fence silence(kHungAfter);
  silence.Start(kStart);
  Idle(&silence, kStart, kStart + kSecond);
  silence.OnKnown(kStart + kSecond / 2);
  silence.OnKnown(kStart);  // nothing new
  const TimeNs woken = kStart + 100 * kSecond;
  EXPECT_EQ(silence.OnTurn(woken), 99 * kSecond);
  Idle(&silence, woken, woken + 2500 * kMillisecond);
  EXPECT_FALSE(silence.Expired(woken + 2500 * kMillisecond))
      << "half a second before, and two and a half after";
  EXPECT_TRUE(silence.Expired(woken + 2500 * kMillisecond + 1));
}

}  // namespace
}  // namespace rmpi
