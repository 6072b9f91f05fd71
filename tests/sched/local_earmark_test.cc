// SPDX-License-Identifier: Apache-2.0
// A task that starves has what becomes free on a node before anybody else.
#include <algorithm>

#include "tests/sched/local_fixture.h"

namespace rmpi::sched {
namespace {

class LocalEarmarkTest : public LocalSchedulerTest {
 protected:
  // One of that many CPUs, of an owner elsewhere.
  Demand Starving(int64_t cpus, uint32_t ms = 1000) {
    Demand d = Assigned(1);
    d.shape.resources = {{"CPU", cpus * kResourceUnit}};
    d.earmark_ms = ms;
    return d;
  }
  void FillWithSmallTasks(int cpus) {
    Start(cpus);
    AddWorkers(cpus + 1);
    scheduler_->OnLeaseRequest(kOwner, Wants(1000), now_);
    ASSERT_EQ(grants_.size(), static_cast<size_t>(cpus));
  }
  // Of the small tasks' leases the n-th comes back; its owner wants ever more.
  void Return(size_t n) { scheduler_->OnLeaseReturn(grants_[n].second.lease, WorkerAfter::kIdle, now_); }
};

TEST_F(LocalEarmarkTest, WhatBecomesFreeIsForTheBigTask) {
  FillWithSmallTasks(4);
  scheduler_->OnAssign(Starving(3), now_);
  EXPECT_EQ(recalled_.size(), 4U) << "nobody knows which ends first";
  Return(0);
  Return(1);
  EXPECT_EQ(grants_.size(), 4U);
  Return(2);
  ASSERT_EQ(grants_.size(), 5U);
  EXPECT_EQ(grants_.back().first, Starving(3).owner);
  Return(3);  // the rest is for the others again
  ASSERT_EQ(grants_.size(), 6U);
  EXPECT_EQ(grants_.back().first, kOwner);
}

TEST_F(LocalEarmarkTest, WhatItDoesNotNeedIsGranted) {
  Start(4);
  AddWorkers(5);
  scheduler_->OnLeaseRequest(kOwner, Wants(3), now_);  // one CPU is free
  scheduler_->OnAssign(Starving(2), now_);
  scheduler_->OnLeaseRequest(kOther, Wants(1000), now_);
  ASSERT_EQ(grants_.size(), 3U);
  Return(0);
  ASSERT_EQ(grants_.size(), 4U) << "two are free: it starts";
  Return(1);
  EXPECT_EQ(grants_.size(), 5U);
}

TEST_F(LocalEarmarkTest, ItEndsWithItsPatience) {
  FillWithSmallTasks(4);
  scheduler_->OnAssign(Starving(4), now_);
  Return(0);
  EXPECT_EQ(grants_.size(), 4U);
  Pass(1100 * kMillisecond);
  ASSERT_EQ(rejects_.size(), 1U);
  EXPECT_EQ(rejects_[0].earmark_ms, 1001U) << "the head learns how long it stood";
  EXPECT_EQ(grants_.size(), 5U) << "and nothing is kept any more";
}

TEST_F(LocalEarmarkTest, ThereMustBeSomebodyToTakeFrom) {
  FillWithSmallTasks(4);
  Demand own = Starving(1);  // it has all the leases already
  own.owner = kOwner;
  scheduler_->OnAssign(own, now_);
  ASSERT_EQ(rejects_.size(), 1U);
  EXPECT_EQ(rejects_[0].earmark_ms, 1U);
  scheduler_->OnAssign(Starving(5), now_);
  EXPECT_EQ(rejects_.size(), 2U) << "so much it never has";
  EXPECT_TRUE(recalled_.empty());
}

TEST_F(LocalEarmarkTest, OneAtATime) {
  FillWithSmallTasks(4);
  scheduler_->OnAssign(Starving(3), now_);
  scheduler_->OnAssign(Starving(2), now_);
  ASSERT_EQ(rejects_.size(), 1U);
  EXPECT_EQ(AmountOf(rejects_[0].shape.resources, "CPU"), 2 * kResourceUnit);
}

TEST_F(LocalEarmarkTest, AGroupGoesFirst) {
  FillWithSmallTasks(4);
  scheduler_->OnAssign(Starving(3), now_);
  Reserve m;
  m.group = 1;
  m.earmark = true;
  m.bundles = {{0, {{"CPU", 2 * kResourceUnit}}}};
  scheduler_->OnReserve(m, now_);
  EXPECT_EQ(rejects_.size(), 1U);
  Return(0);
  Return(1);
  ASSERT_EQ(reserved_.size(), 1U);
  EXPECT_TRUE(reserved_[0].ok);
  Return(2);
  EXPECT_EQ(grants_.size(), 5U);
}

TEST_F(LocalEarmarkTest, ItEndsWithItsJobOrItsOwner) {
  for (const bool job : {false, true}) {
    grants_.clear();
    FillWithSmallTasks(4);
    Demand d = Starving(4);
    d.shape.job = JobId{2};
    scheduler_->OnAssign(d, now_);
    Heartbeat report;
    scheduler_->TakeReport(&report);
    EXPECT_TRUE(report.earmarked);
    if (job) {
      scheduler_->OnJobEnd(JobId{2});
    } else {
      scheduler_->OnOwnerGone(d.owner, now_);
    }
    scheduler_->TakeReport(&report);
    EXPECT_FALSE(report.earmarked);
    Return(0);
    EXPECT_EQ(grants_.size(), 5U);
  }
}

}  // namespace
}  // namespace rmpi::sched
