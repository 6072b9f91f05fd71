// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/heartbeat_link.h"

#include <gtest/gtest.h>

#include "tests/gcs/recorder.h"
#include "tests/sched/idle_host.h"

namespace rmpi {
namespace {

sched::LocalOptions Options() {
  sched::LocalOptions options;
  options.node = 3;
  options.total = {{"CPU", 2 * sched::kResourceUnit}};
  return options;
}

class HeartbeatLinkTest : public testing::Test {
 protected:
  HeartbeatLinkTest() {
    fence_.Start(now_);
    link_.Start(false, now_);
  }
  void Run(TimeNs span) {
    for (const TimeNs end = now_ + span; now_ < end; now_ += kMillisecond) {
      fence_.OnTurn(now_);
      link_.OnTimer(now_);
    }
  }
  static Heartbeat Beat(uint64_t sequence, int64_t cpus = -1) {
    Heartbeat m;
    m.sequence = sequence;
    m.changed = cpus >= 0;
    if (m.changed) m.available = {{"CPU", cpus}};
    return m;
  }

  sched::IdleHost host_;
  Recorder out_;
  Fence fence_;
  TimeNs now_ = kSecond;
  sched::LocalScheduler scheduler_{Options(), &host_};
  HeartbeatLink link_{&scheduler_, &out_, &fence_};
};

TEST_F(HeartbeatLinkTest, OneEachPeriodAndOnlyWhatChanged) {
  Run(1600 * kMillisecond);
  ASSERT_EQ(out_.sent.size(), 4U);
  EXPECT_EQ(out_.sent[0].to, GcsAddress());
  const auto last = out_.Last<Heartbeat>(MsgType::kHeartbeat);
  EXPECT_EQ(last.sequence, 4U);
  EXPECT_FALSE(last.changed);
}

TEST_F(HeartbeatLinkTest, WhomItReportsToIsToldAllAnew) {
  Run(100 * kMillisecond);
  link_.OnReportTo(9, now_);
  Run(10 * kMillisecond);
  Address to;
  EXPECT_TRUE(out_.Last<Heartbeat>(MsgType::kHeartbeat, &to).changed);
  EXPECT_EQ(to, RayletOf(9));
  const size_t sent = out_.sent.size();
  link_.OnReportTo(9, now_);
  Run(10 * kMillisecond);
  EXPECT_EQ(out_.sent.size(), sent) << "it does already";
}

TEST_F(HeartbeatLinkTest, WithoutAnAnswerItGoesStraightToTheHeadBeforeItsFence) {
  link_.OnReportTo(9, now_);
  Run(100 * kMillisecond);
  link_.OnAck(1);
  Run(800 * kMillisecond);
  Address to;
  out_.Last<Heartbeat>(MsgType::kHeartbeat, &to);
  EXPECT_EQ(to, RayletOf(9));
  Run(200 * kMillisecond);
  EXPECT_TRUE(out_.Last<Heartbeat>(MsgType::kHeartbeat, &to).changed);
  EXPECT_EQ(to, GcsAddress());
  EXPECT_FALSE(fence_.Expired(now_));
  EXPECT_EQ(link_.parent(), kHeadNode);
}

TEST_F(HeartbeatLinkTest, ItsAggregatorsDeathIsNotWaitedFor) {
  link_.OnReportTo(9, now_);
  Run(100 * kMillisecond);
  link_.OnNodeDead(8, now_);
  EXPECT_EQ(link_.parent(), 9U);
  link_.OnNodeDead(9, now_);
  Run(2 * kMillisecond);
  Address to;
  EXPECT_TRUE(out_.Last<Heartbeat>(MsgType::kHeartbeat, &to).changed);
  EXPECT_EQ(to, GcsAddress());
}

TEST_F(HeartbeatLinkTest, WhatOthersReportGoesOnInOneFrameAndIsAnsweredWhenTheHeadHas) {
  Run(100 * kMillisecond);
  const size_t before = out_.sent.size();
  Heartbeat first = Beat(5, 7);
  first.bundles = {{1, 0, {{"CPU", 1}}}, {1, 1, {{"CPU", 1}}}};
  Heartbeat second = Beat(6, 8);
  second.bundles = {{1, 1, {{"CPU", 2}}}};
  link_.OnHeartbeat(10, first, now_);
  link_.OnHeartbeat(10, second, now_);
  link_.OnHeartbeat(10, Beat(7), now_);
  link_.OnHeartbeat(11, Beat(3), now_);
  Run(9 * kMillisecond);
  EXPECT_EQ(out_.sent.size(), before);
  Run(2 * kMillisecond);
  ASSERT_EQ(out_.sent.size(), before + 1);
  const auto frame = out_.Last<Heartbeats>(MsgType::kHeartbeats);
  ASSERT_EQ(frame.others.size(), 2U);
  const Heartbeat& merged = frame.others[0].second;
  EXPECT_EQ(merged.sequence, 7U);
  EXPECT_TRUE(merged.changed);
  EXPECT_EQ(sched::AmountOf(merged.available, "CPU"), 8);
  ASSERT_EQ(merged.bundles.size(), 2U);
  EXPECT_EQ(sched::AmountOf(merged.bundles[0].available, "CPU"), 2);
  EXPECT_FALSE(frame.others[1].second.changed);
  EXPECT_EQ(out_.Count(MsgType::kHeartbeatAck), 0U);
  link_.OnAck(frame.own.sequence);
  EXPECT_EQ(out_.Count(MsgType::kHeartbeatAck), 2U);
  Address to;
  EXPECT_EQ(out_.Last<Nonce>(MsgType::kHeartbeatAck, &to).nonce, 3U);
  EXPECT_EQ(to, RayletOf(11));
}

TEST_F(HeartbeatLinkTest, WhoIsDeadForTheHeadGetsNoAnswer) {
  Run(100 * kMillisecond);
  link_.OnHeartbeat(10, Beat(5), now_);
  link_.OnHeartbeat(11, Beat(5), now_);
  Run(250 * kMillisecond);
  link_.OnNodeDead(10, now_);
  link_.OnAck(out_.Last<Heartbeats>(MsgType::kHeartbeats).own.sequence);
  EXPECT_EQ(out_.Count(MsgType::kHeartbeatAck), 1U);
  link_.OnHeartbeat(11, Beat(6), now_);
  link_.OnNodeDead(11, now_);
  Run(600 * kMillisecond);
  EXPECT_EQ(out_.Count(MsgType::kHeartbeats), 1U);
}

}  // namespace
}  // namespace rmpi
