// SPDX-License-Identifier: Apache-2.0
#include "tests/sched/local_fixture.h"

namespace rmpi::sched {
namespace {

TEST_F(LocalSchedulerTest, GrantsWhatItHasAndPassesOnTheRest) {
  Start(2);
  AddWorkers(4);
  scheduler_->OnLeaseRequest(kOwner, Wants(5), now_);
  EXPECT_EQ(grants_.size(), 2U);
  EXPECT_EQ(FreeCpu(), 0);
  ASSERT_FALSE(demands_.empty());
  EXPECT_EQ(demands_.back().count, 3U);
}

TEST_F(LocalSchedulerTest, ForksNoMoreThanFit) {
  Start(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(5), now_);
  EXPECT_EQ(starts_, 2);
  AddWorkers(1);
  EXPECT_EQ(grants_.size(), 1U);
  EXPECT_EQ(starts_, 2);
}

TEST_F(LocalSchedulerTest, WhoeverHoldsLeasesIsAskedForThemWhileOthersWait) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  EXPECT_EQ(reclaims_, std::vector<Address>{kOwner});
  Pass(kMillisecond);
  EXPECT_EQ(reclaims_.size(), 1U) << "not at every event";
  Pass(30 * kMillisecond);
  EXPECT_EQ(reclaims_.size(), 2U);
}

TEST_F(LocalSchedulerTest, AnAssignmentThatFindsNoRoomIsRejectedInTime) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnAssign(Assigned(2), now_);
  Pass(90 * kMillisecond);
  EXPECT_TRUE(rejects_.empty());
  Pass(20 * kMillisecond);
  ASSERT_EQ(rejects_.size(), 1U);
  EXPECT_EQ(rejects_[0].count, 2U);
  EXPECT_TRUE(scheduler_->ReportDue()) << "the head takes us for full until it hears from us";
  EXPECT_EQ(scheduler_->demand_count(), 0U);
}

TEST_F(LocalSchedulerTest, HardAffinityIsNeverRejectedNorPolledFor) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnAssign(Assigned(1, Strategy::kNodeAffinity), now_);
  Pass(kSecond);
  EXPECT_TRUE(rejects_.empty());
  EXPECT_GT(scheduler_->NextDeadline(), now_) << "no deadline in the past: the loop would spin";
}

TEST_F(LocalSchedulerTest, APromiseIsReportedEvenIfNothingSeemsToHaveChanged) {
  Start(1);
  AddWorkers(1);
  Heartbeat report;
  scheduler_->TakeReport(&report);
  EXPECT_EQ(report.available, (Amounts{{"CPU", kResourceUnit}}));
  EXPECT_FALSE(scheduler_->ReportDue());
  scheduler_->OnAssign(Assigned(1), now_);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);  // between two reports
  EXPECT_TRUE(scheduler_->ReportDue());
}

TEST_F(LocalSchedulerTest, ARequestAndAHandOffThatCrossAreBothCounted) {
  Start(1);
  LeaseRequest wish = Wants(1);
  wish.shape.strategy = Strategy::kSpread;  // the head's business
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  wish.wanted = 3;  // the first of them may be on its way already
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  ASSERT_EQ(demands_.size(), 2U);
  EXPECT_EQ(demands_[1].count, 3U) << "in all, since the head knows what it has handed off of it";
  scheduler_->OnHandedOff({kOwner, 1, 0, 1}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 1U);
  scheduler_->OnHandedOff({kOwner, 1, 0, 2}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 0U);
  wish.wanted = 4;
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  EXPECT_EQ(demands_.back().count, 4U);
}

TEST_F(LocalSchedulerTest, AHandOffOfAFormerEpochDoesNotCount) {
  Start(1);
  LeaseRequest wish = Wants(2);
  wish.shape.strategy = Strategy::kSpread;
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  wish.epoch = 1;
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  EXPECT_EQ(demands_.back().epoch, 1U);
  scheduler_->OnHandedOff({kOwner, 1, 0, 2}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 1U);
  scheduler_->OnHandedOff({kOwner, 1, 1, 2}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 0U);
}

TEST_F(LocalSchedulerTest, WhatIsGrantedHereIsNotTheHeadsBusiness) {
  Start(2);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(3), now_);
  EXPECT_EQ(grants_.size(), 2U);
  EXPECT_EQ(demands_.back().count, 1U);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(grants_.size(), 3U);
  EXPECT_EQ(demands_.back().count, 0U) << "withdrawn";
  scheduler_->OnHandedOff({kOwner, 1, 0, 1}, now_);  // but it was on its way: a surplus
  scheduler_->OnLeaseRequest(kOwner, Wants(4), now_);
  EXPECT_EQ(scheduler_->demand_count(), 0U) << "which serves what is asked for next";
}

TEST_F(LocalSchedulerTest, AnOwnersEndFreesItsLeasesButNotItsWorkers) {
  Start(2);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(2), now_);
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  EXPECT_EQ(scheduler_->OnOwnerGone(kOwner, now_).size(), 2U);
  EXPECT_EQ(FreeCpu(), 2);
  EXPECT_EQ(grants_.size(), 2U) << "its workers still run what it asked for";
  AddWorkers(1);
  EXPECT_EQ(grants_.size(), 3U);
}

// ---- the hybrid policy
// -------------------------------------------------------------------------------------

TEST_F(LocalSchedulerTest, HalfIsPackedHereAndTheRestIsTheHeads) {
  Start(4);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}});
  scheduler_->OnLeaseRequest(kOwner, Wants(4), now_);
  EXPECT_EQ(grants_.size(), 2U);
  ASSERT_EQ(demands_.size(), 1U);
  EXPECT_EQ(demands_[0].count, 2U);
  EXPECT_TRUE(reclaims_.empty()) << "nobody is starved: there is room";
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(grants_.size(), 3U) << "less than half again";
  EXPECT_EQ(demands_.back().count, 1U);
}

TEST_F(LocalSchedulerTest, AloneEverythingIsServed) {
  Start(4);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}});
  scheduler_->OnLeaseRequest(kOwner, Wants(4), now_);
  EXPECT_EQ(grants_.size(), 2U);
  scheduler_->RemoveOther(2, now_);
  EXPECT_EQ(grants_.size(), 4U);
  EXPECT_EQ(demands_.back().count, 0U);
}

TEST_F(LocalSchedulerTest, ArgumentsThatLieHereKeepTheirTaskHere) {
  Start(4);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}});
  LeaseRequest m = Wants(4);
  m.shape.affinity_node = 1;
  scheduler_->OnLeaseRequest(kOwner, m, now_);
  EXPECT_EQ(grants_.size(), 4U);
}

TEST_F(LocalSchedulerTest, WorkForCpusLeavesGpusToOthers) {
  Start(4, 2);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}, {"GPU", kResourceUnit}});
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  EXPECT_EQ(grants_.size(), 1U) << "the other node has GPUs, too";
  scheduler_->AddOther(3, {{"CPU", kResourceUnit}});
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  EXPECT_EQ(grants_.size(), 1U);
  EXPECT_EQ(demands_.back().owner, kOther);
  scheduler_->OnLeaseRequest(kOther, WantsGpu(1, 1), now_);
  EXPECT_EQ(grants_.size(), 2U);
}

TEST_F(LocalSchedulerTest, OnlyTheFirstAlternativeIsServedUnasked) {
  Start(2);
  AddWorkers(2);
  scheduler_->SetNode(1, {{"zone", "a"}});
  LeaseRequest m = Wants(1);
  m.shape.labels = {{{"zone", LabelOp::kIn, {"b"}}}, {{"zone", LabelOp::kIn, {"a"}}}};
  scheduler_->OnLeaseRequest(kOwner, m, now_);
  EXPECT_TRUE(grants_.empty());
  EXPECT_EQ(demands_.size(), 1U);
  std::swap(m.shape.labels[0], m.shape.labels[1]);
  m.shape_key = 2;
  scheduler_->OnLeaseRequest(kOwner, m, now_);
  EXPECT_EQ(grants_.size(), 1U);
}

}  // namespace
}  // namespace rmpi::sched
