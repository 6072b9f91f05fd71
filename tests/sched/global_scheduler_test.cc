// SPDX-License-Identifier: Apache-2.0
#include "sched/global_scheduler.h"

#include <gtest/gtest.h>

namespace rmpi::sched {
namespace {

const Address kOwner{1, 1, 0, 1};

class GlobalSchedulerTest : public testing::Test, public GlobalScheduler::Host {
 protected:
  void AddNodes(int n, int64_t cpus) {
    for (int i = 0; i < n; ++i) scheduler_.AddNode(next_node_++, {{"CPU", cpus * kResourceUnit}});
  }
  // In all, since the beginning.
  // Asked for by node 1: what only node 2 has, which has one.
  Demand LampsOnNode2(uint32_t count) {
    AddNodes(1, 4);
    scheduler_.AddNode(next_node_++, {{"CPU", kResourceUnit}, {"lamp", kResourceUnit}});
    Demand d = Wants(count);
    d.shape.resources = {{"lamp", kResourceUnit}};
    scheduler_.OnDemand(1, d);
    return d;
  }
  Demand Wants(uint32_t count, Strategy strategy = Strategy::kDefault, uint32_t node = 0, bool soft = false) {
    Demand d;
    d.owner = kOwner;
    d.shape_key = 1;
    d.count = count;
    d.shape.resources = {{"CPU", kResourceUnit}};
    d.shape.strategy = strategy;
    d.shape.affinity_node = node;
    d.shape.affinity_soft = soft;
    return d;
  }
  uint32_t AssignedTo(uint32_t node) const {
    uint32_t n = 0;
    for (const auto& [to, d] : assigns_) n += to == node ? d.count : 0;
    return n;
  }

  void SendAssign(uint32_t node, const Demand& d) override { assigns_.emplace_back(node, d); }
  void SendHandedOff(uint32_t origin, const HandedOff& m) override { handed_.emplace_back(origin, m); }
  void SendUnschedulable(const Address&, const Unschedulable& m) override { unschedulable_.push_back(m); }
  void Warn(const std::string& text) override { warnings_.push_back(text); }

  GlobalScheduler scheduler_{this};
  uint32_t next_node_ = 1;
  std::vector<std::pair<uint32_t, Demand>> assigns_;
  std::vector<std::pair<uint32_t, HandedOff>> handed_;
  std::vector<Unschedulable> unschedulable_;
  std::vector<std::string> warnings_;
};

TEST_F(GlobalSchedulerTest, SpreadsOverAllNodes) {
  AddNodes(4, 2);
  scheduler_.OnDemand(1, Wants(4, Strategy::kSpread));
  for (uint32_t node = 1; node <= 4; ++node) EXPECT_EQ(AssignedTo(node), 1U) << node;
  scheduler_.OnDemand(1, Wants(10, Strategy::kSpread));
  for (uint32_t node = 1; node <= 4; ++node) EXPECT_EQ(AssignedTo(node), 2U) << node;
  EXPECT_EQ(scheduler_.pending(), 1U);
}

TEST_F(GlobalSchedulerTest, ABurstThatGrowsIsSpreadEvenly) {
  AddNodes(4, 2);
  for (uint32_t asked : {1, 2, 4}) scheduler_.OnDemand(1, Wants(asked, Strategy::kSpread));
  for (uint32_t node = 1; node <= 4; ++node) EXPECT_EQ(AssignedTo(node), 1U) << node;
}

TEST_F(GlobalSchedulerTest, ANewEpochIsCountedFromItsBeginning) {
  AddNodes(4, 2);
  scheduler_.OnDemand(1, Wants(4, Strategy::kSpread));
  Demand anew = Wants(2, Strategy::kSpread);
  anew.epoch = 1;
  scheduler_.OnDemand(1, anew);
  EXPECT_EQ(assigns_.size(), 6U);
  EXPECT_EQ(handed_.back().second.epoch, 1U);
}

TEST_F(GlobalSchedulerTest, WhatOnlyADrainedNodeCouldRunCanStillBeTakenBack) {
  Demand d = LampsOnNode2(2);
  ASSERT_EQ(AssignedTo(2), 1U);
  Demand back = d;
  back.count = 1;
  scheduler_.OnReject(2, back);  // it had less room than it had said
  scheduler_.DrainNode(2);
  uint64_t handed = 0;
  for (const auto& [to, m] : handed_) handed += m.count;
  EXPECT_EQ(handed, 0U) << "what was handed off is its origin's again";
  EXPECT_EQ(scheduler_.pending(), 1U);
  EXPECT_EQ(warnings_.size(), 1U);
  d.count = 0;
  scheduler_.OnDemand(1, d);
  EXPECT_EQ(scheduler_.pending(), 0U);
  // And one that it refuses while it leaves.
  scheduler_.AddNode(next_node_++, {{"lamp", kResourceUnit}});
  d.epoch = 1;
  d.count = 1;
  scheduler_.OnDemand(1, d);
  ASSERT_EQ(AssignedTo(3), 1U);
  scheduler_.DrainNode(3);
  back.epoch = 1;
  scheduler_.OnReject(3, back);
  scheduler_.AddNode(next_node_++, {{"lamp", kResourceUnit}});
  EXPECT_EQ(AssignedTo(4), 1U);
  EXPECT_EQ(scheduler_.pending(), 0U);
}

TEST_F(GlobalSchedulerTest, WhatADrainedNodeRefusesIsNotWantedAgain) {
  Demand d = LampsOnNode2(1);
  ASSERT_EQ(AssignedTo(2), 1U);
  const Demand back = d;
  d.count = 0;  // its owner has taken it back meanwhile
  scheduler_.OnDemand(1, d);
  scheduler_.DrainNode(2);
  scheduler_.OnReject(2, back);
  EXPECT_EQ(scheduler_.pending(), 0U);
}

TEST_F(GlobalSchedulerTest, SoftAffinityToADrainedNodeWaitsForAnyOther) {
  AddNodes(2, 1);
  scheduler_.DrainNode(2);
  scheduler_.OnReport(1, {{"CPU", 0}});
  scheduler_.OnDemand(1, Wants(1, Strategy::kNodeAffinity, 2, true));
  EXPECT_TRUE(assigns_.empty());
  scheduler_.OnReport(1, {{"CPU", kResourceUnit}});
  EXPECT_EQ(AssignedTo(1), 1U);
}

TEST_F(GlobalSchedulerTest, DefaultDemandGoesElsewhereToTheEmptiestNode) {
  AddNodes(3, 4);
  scheduler_.OnReport(2, {{"CPU", 1 * kResourceUnit}});
  scheduler_.OnDemand(1, Wants(1));
  EXPECT_EQ(AssignedTo(3), 1U);
  ASSERT_EQ(handed_.size(), 1U);
  EXPECT_EQ(handed_[0].first, 1U);
  EXPECT_EQ(handed_[0].second.count, 1U);
}

TEST_F(GlobalSchedulerTest, HardAffinityWaitsForItsNode) {
  AddNodes(2, 1);
  scheduler_.OnDemand(1, Wants(3, Strategy::kNodeAffinity, 2));
  EXPECT_EQ(AssignedTo(2), 3U) << "all at once: they queue there";
  EXPECT_EQ(AssignedTo(1), 0U);
}

TEST_F(GlobalSchedulerTest, HardAffinityToNobodyIsAnError) {
  AddNodes(1, 1);
  scheduler_.OnDemand(1, Wants(2, Strategy::kNodeAffinity, 7));
  ASSERT_EQ(unschedulable_.size(), 1U);
  EXPECT_NE(unschedulable_[0].reason.find("node 7"), std::string::npos);
  EXPECT_EQ(scheduler_.pending(), 0U);
  ASSERT_EQ(handed_.size(), 1U);
  EXPECT_EQ(handed_[0].second.count, 2U);
}

TEST_F(GlobalSchedulerTest, SoftAffinityFallsBack) {
  AddNodes(2, 1);
  scheduler_.OnDemand(1, Wants(1, Strategy::kNodeAffinity, 7, true));
  EXPECT_EQ(assigns_.size(), 1U);
  EXPECT_TRUE(unschedulable_.empty());
}

TEST_F(GlobalSchedulerTest, WhatNoNodeCanRunIsSaidOnceAndWaits) {
  AddNodes(2, 1);
  Demand d = Wants(1);
  d.shape.resources = {{"CPU", 8 * kResourceUnit}};
  scheduler_.OnDemand(1, d);
  for (int i = 0; i < 5; ++i) scheduler_.OnReport(2, {{"CPU", kResourceUnit}});
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_NE(warnings_[0].find("a task that asks for {CPU: 8}"), std::string::npos) << warnings_[0];
  AddNodes(1, 8);
  EXPECT_EQ(AssignedTo(3), 1U);
}

TEST_F(GlobalSchedulerTest, WhatIsRejectedMayGoBackToItsOrigin) {
  AddNodes(2, 1);
  scheduler_.OnDemand(1, Wants(1));
  ASSERT_EQ(AssignedTo(2), 1U);
  scheduler_.OnReject(2, assigns_[0].second);
  EXPECT_EQ(AssignedTo(1), 1U);
  EXPECT_EQ(handed_.size(), 1U) << "its origin no longer counted it";
}

TEST_F(GlobalSchedulerTest, ARejectionSurvivesANewReportOfTheSameShape) {
  AddNodes(2, 1);
  scheduler_.OnDemand(1, Wants(1));
  scheduler_.OnReport(1, {{"CPU", 0}});
  scheduler_.OnReject(2, assigns_[0].second);
  scheduler_.OnDemand(1, Wants(1));
  scheduler_.OnDemand(1, Wants(0));
  EXPECT_EQ(scheduler_.pending(), 1U);
  scheduler_.OnReport(2, {{"CPU", kResourceUnit}});
  EXPECT_EQ(AssignedTo(2), 2U);
}

TEST_F(GlobalSchedulerTest, HalvesOfTwoDevicesAreNoDevice) {
  AddNodes(1, 4);
  scheduler_.AddNode(2, {{"CPU", 4 * kResourceUnit}, {"GPU", 2 * kResourceUnit}});
  Pool pool({{"CPU", 4 * kResourceUnit}, {"GPU", 2 * kResourceUnit}});
  pool.Take({{"GPU", 6000}});
  pool.Take({{"GPU", 5000}});
  scheduler_.OnReport(2, pool.Report());
  Demand d = Wants(1);
  d.shape.resources = {{"GPU", 5000}};
  scheduler_.OnDemand(1, d);
  EXPECT_EQ(AssignedTo(2), 1U);
  d.shape_key = 2;
  scheduler_.OnDemand(1, d);
  EXPECT_EQ(AssignedTo(2), 1U) << "0.4 are left";
  scheduler_.OnReport(2, {{"CPU", 4 * kResourceUnit}, {"GPU", 2 * kResourceUnit}});
  EXPECT_EQ(AssignedTo(2), 2U);
}

TEST_F(GlobalSchedulerTest, ADeadOwnerWantsNothing) {
  AddNodes(1, 0);
  scheduler_.OnDemand(1, Wants(5, Strategy::kSpread));
  scheduler_.OnOwnerGone(kOwner);
  EXPECT_EQ(scheduler_.pending(), 0U);
}

TEST_F(GlobalSchedulerTest, ManyGoToANodeAtOnceUntilHalfOfItIsUsed) {
  AddNodes(4, 8);
  scheduler_.OnReport(1, {{"CPU", 0}});
  scheduler_.OnDemand(1, Wants(10));
  ASSERT_EQ(assigns_.size(), 3U) << "4 and 4 and 2";
  EXPECT_EQ(AssignedTo(2), 4U);
  EXPECT_EQ(AssignedTo(3), 4U);
  EXPECT_EQ(AssignedTo(4), 2U);
  scheduler_.OnDemand(1, Wants(30));
  EXPECT_EQ(AssignedTo(2) + AssignedTo(3) + AssignedTo(4), 24U);
}

TEST_F(GlobalSchedulerTest, ACrowdedOriginIsAsGoodAsAny) {
  AddNodes(2, 4);
  scheduler_.OnReport(2, {{"CPU", 0}});
  scheduler_.OnDemand(1, Wants(1));
  EXPECT_EQ(AssignedTo(1), 0U) << "it serves that by itself";
  scheduler_.OnReport(1, {{"CPU", 2 * kResourceUnit}});
  EXPECT_EQ(AssignedTo(1), 1U);
}

TEST_F(GlobalSchedulerTest, WaitsForItsArgumentsNodeIfTheyWouldTakeLonger) {
  AddNodes(3, 1);
  scheduler_.OnReport(2, {{"CPU", 0}});
  Demand d = Wants(1, Strategy::kDefault, 2);
  d.shape.wish_log2_bytes = 24;  // 17 ms
  d.run_us = 5000;
  scheduler_.OnDemand(1, d);
  EXPECT_EQ(AssignedTo(2), 1U) << "5 ms there, then it is free";
  d.shape_key = 2;
  d.count = 5;
  scheduler_.OnDemand(1, d);
  EXPECT_EQ(AssignedTo(2), 3U) << "10 ms, 15 ms, and the next one would wait for 20";
  EXPECT_EQ(AssignedTo(1) + AssignedTo(3), 2U);
  scheduler_.OnReject(2, assigns_[0].second);
  EXPECT_EQ(AssignedTo(2), 3U) << "it has waited once";
}

TEST_F(GlobalSchedulerTest, TheNearestNodeIsNamed) {
  scheduler_.AddNode(1, {{"CPU", kResourceUnit}}, {{"zone", "a"}});
  scheduler_.AddNode(2, {{"CPU", 4 * kResourceUnit}}, {{kHostLabel, "n2"}, {"zone", "b"}});
  Demand d = Wants(1);
  d.shape.resources = {{"CPU", 2 * kResourceUnit}};
  d.shape.labels = {{{"zone", LabelOp::kIn, {"c"}}}};
  scheduler_.OnDemand(1, d);
  d.shape_key = 2;
  scheduler_.OnDemand(1, d);
  ASSERT_EQ(warnings_.size(), 1U) << "one request, said once";
  EXPECT_NE(warnings_[0].find("node 2 on n2 has other labels"), std::string::npos) << warnings_[0];
  scheduler_.AddNode(3, {{"CPU", 2 * kResourceUnit}}, {{"zone", "c"}});
  EXPECT_EQ(AssignedTo(3), 1U);
  scheduler_.OnReport(3, {{"CPU", 2 * kResourceUnit}});
  EXPECT_EQ(AssignedTo(3), 2U);
}

TEST_F(GlobalSchedulerTest, NothingFeasibleWaitsBehindWhatIsNot) {
  AddNodes(2, 1);
  Demand never = Wants(1);
  never.shape.resources = {{"CPU", 100 * kResourceUnit}};
  scheduler_.OnDemand(1, never);
  Demand d = Wants(1);
  d.shape_key = 2;
  scheduler_.OnDemand(1, d);
  EXPECT_EQ(AssignedTo(2), 1U);
  scheduler_.OnReport(2, {{"CPU", kResourceUnit}});
  d.count = 2;
  scheduler_.OnDemand(1, d);
  EXPECT_EQ(AssignedTo(2), 2U);
}

}  // namespace
}  // namespace rmpi::sched
