// SPDX-License-Identifier: Apache-2.0
// The head gives what starves a node's earmark.
#include <gtest/gtest.h>

#include "sched/global_scheduler.h"

namespace rmpi::sched {
namespace {

constexpr uint32_t kFirstMs = 10'000;

class GlobalStarvedTest : public testing::Test, public GlobalScheduler::Host {
 protected:
  void AddFullNodes(uint32_t n, int64_t cpus, int64_t gpus = 0) {
    for (uint32_t i = 0; i < n; ++i) {
      Amounts total = {{"CPU", cpus * kResourceUnit}};
      if (gpus != 0) total.emplace_back("GPU", gpus * kResourceUnit);
      scheduler_.AddNode(next_node_, total);
      Amounts none = total;
      none[0].second = 0;  // the GPUs are free
      scheduler_.OnReport(next_node_++, none);
    }
  }
  void Want(uint32_t key, int64_t cpus, uint64_t count, int64_t gpus = 0) {
    Demand d;
    d.owner = {1, 1, 0, 1};
    d.shape_key = key;
    d.count = count;
    d.shape.resources = {{"CPU", cpus * kResourceUnit}};
    if (gpus != 0) d.shape.resources.emplace_back("GPU", gpus * kResourceUnit);
    scheduler_.OnDemand(1, d);
  }
  void Look(int times = 1) {
    for (; times > 0; --times) scheduler_.ServeStarved();
  }
  size_t Earmarks() const {
    size_t n = 0;
    for (const auto& [node, d] : assigns_) n += d.earmark_ms != 0 ? 1 : 0;
    return n;
  }
  void Reject(size_t n, bool stood) {
    auto [node, d] = assigns_[n];
    d.earmark_ms = stood ? d.earmark_ms + 1 : 1;
    scheduler_.OnReject(node, d);
  }

  void SendAssign(uint32_t node, const Demand& d) override { assigns_.emplace_back(node, d); }
  void SendHandedOff(uint32_t, const HandedOff& m) override { handed_ += m.count; }
  void SendUnschedulable(const Address&, const Unschedulable&) override {}
  void Warn(const std::string&) override {}

  GlobalScheduler scheduler_{this};
  uint32_t next_node_ = 1;
  std::vector<std::pair<uint32_t, Demand>> assigns_;
  uint64_t handed_ = 0;
};

TEST_F(GlobalStarvedTest, WhatWaitsFromOneLookToTheNextGetsANode) {
  AddFullNodes(2, 4);
  Want(1, 3, 5);
  Look();
  EXPECT_TRUE(assigns_.empty()) << "it may have come just now";
  Look();
  ASSERT_EQ(assigns_.size(), 1U);
  EXPECT_EQ(assigns_[0].second.count, 1U);
  EXPECT_EQ(assigns_[0].second.earmark_ms, kFirstMs);
  EXPECT_EQ(handed_, 1U) << "its origin does not count on it any more";
}

TEST_F(GlobalStarvedTest, WhatFaresDoesNot) {
  AddFullNodes(2, 4);
  Want(1, 3, 500);
  for (int i = 0; i < 5; ++i) {
    scheduler_.OnReport(2, {{"CPU", 4 * kResourceUnit}});  // one of it fits, again and again
    Look();
  }
  EXPECT_EQ(Earmarks(), 0U);
}

TEST_F(GlobalStarvedTest, TheNodeWithMostOfItIsDrained) {
  AddFullNodes(4, 4);
  scheduler_.OnReport(3, {{"CPU", 2 * kResourceUnit}});
  Want(1, 3, 1);
  Look(2);
  ASSERT_EQ(assigns_.size(), 1U);
  EXPECT_EQ(assigns_[0].first, 3U);
}

TEST_F(GlobalStarvedTest, ActorsAndGroupsAreNotWaitedFor) {
  AddFullNodes(1, 4);
  scheduler_.OnReport(1, {{"CPU", 0}}, {{"CPU", 2 * kResourceUnit}});
  Want(1, 3, 1);
  Look(5);
  EXPECT_TRUE(assigns_.empty());
  Want(2, 2, 1);
  Look(2);
  EXPECT_EQ(Earmarks(), 1U);
}

TEST_F(GlobalStarvedTest, FewNodesAreDrainedAtOnce) {
  AddFullNodes(32, 4);
  for (uint32_t key = 1; key <= 4; ++key) Want(key, key, 10);
  Look(4);
  ASSERT_EQ(Earmarks(), 2U);
  scheduler_.OnReport(assigns_[0].first, {{"CPU", 0}}, {}, {}, false);  // it has been served
  Look();
  ASSERT_EQ(Earmarks(), 3U);
  EXPECT_NE(assigns_[2].second.shape_key, assigns_[1].second.shape_key);
  EXPECT_NE(assigns_[2].second.shape_key, assigns_[0].second.shape_key) << "in turn";
}

TEST_F(GlobalStarvedTest, AfterOneInVainTheNextStandsLonger) {
  AddFullNodes(2, 4);
  Want(1, 3, 1);
  Look(2);
  Reject(0, true);
  Look(10);
  EXPECT_EQ(Earmarks(), 1U) << "it rests";
  Look(2);
  ASSERT_EQ(Earmarks(), 2U);
  EXPECT_EQ(assigns_[1].second.earmark_ms, 2 * kFirstMs);
  Reject(1, false);  // nobody had anything to give
  Look(8);
  ASSERT_EQ(Earmarks(), 3U);
  EXPECT_EQ(assigns_[2].second.earmark_ms, 2 * kFirstMs);
}

TEST_F(GlobalStarvedTest, IdleDevicesAreWantedEvenIfItFares) {
  AddFullNodes(2, 4, 2);
  Want(1, 3, 500, 1);
  scheduler_.OnReport(2, {{"CPU", 4 * kResourceUnit}, {"GPU", 2 * kResourceUnit}});
  Look();
  EXPECT_EQ(Earmarks(), 1U);
  scheduler_.OnReport(1, {{"CPU", 0}, {"GPU", 0}});
  scheduler_.OnReport(2, {{"CPU", 4 * kResourceUnit}, {"GPU", 1 * kResourceUnit}});
  scheduler_.OnReport(2, {{"CPU", 0}, {"GPU", 0}});
  Look();
  EXPECT_EQ(Earmarks(), 1U) << "all devices are in use";
}

}  // namespace
}  // namespace rmpi::sched
