// SPDX-License-Identifier: Apache-2.0
// The lives of placement groups, as the head leads them: all bundles or none, again after a failure, anew
// after a node's death, one earmark at a time.
#include "runtime/gcs/placement_groups.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "tests/gcs/recorder.h"

namespace rmpi {
namespace {

using sched::Amounts;
using sched::kResourceUnit;

// What was sent, by who gets it.
class Mail : public Recorder {
 public:
  template <class M>
  std::vector<std::pair<Address, M>> All(MsgType type) const {
    std::vector<std::pair<Address, M>> out;
    for (const Sent& s : sent) {
      if (s.type != type) continue;
      Reader reader(s.body.bytes());
      reader(out.emplace_back(s.to, M{}).second);
    }
    return out;
  }
  template <class M>
  M LastTo(const Address& to, MsgType type) const {
    M found;
    for (const auto& [address, m] : All<M>(type)) {
      if (address == to) found = m;
    }
    return found;
  }
};

class NoHost : public sched::GlobalScheduler::Host {
 public:
  void SendAssign(uint32_t node, const Demand& demand) override { assigned_.emplace_back(node, demand); }
  void SendHandedOff(uint32_t, const HandedOff&) override {}
  void SendUnschedulable(const Address&, const Unschedulable& m) override { refused_.push_back(m); }
  void Warn(const std::string&) override {}

  std::vector<std::pair<uint32_t, Demand>> assigned_;
  std::vector<Unschedulable> refused_;
};

class PlacementGroupsTest : public testing::Test {
 protected:
  PlacementGroupsTest() {
    for (uint32_t node = 1; node <= 2; ++node) scheduler_.AddNode(node, Cpu(4));
  }

  static Amounts Cpu(int64_t n) { return {{"CPU", n * kResourceUnit}}; }

  uint32_t Create(const std::vector<Amounts>& bundles, GroupStrategy strategy, const std::string& name = "") {
    GroupRequest m;
    m.nonce = 1;
    m.op = GroupOp::kCreate;
    m.group.job = JobId{1};
    m.group.strategy = strategy;
    m.group.name = name;
    for (const Amounts& b : bundles) m.group.bundles.push_back({b, 0, {}});
    groups_.OnRequest(kDriver, m, true, now_);
    const auto reply = out_.Last<GroupReply>(MsgType::kGroupReply);
    return reply.groups.empty() ? 0 : reply.groups[0].group;
  }
  void Ask(GroupOp op, uint32_t group) {
    GroupRequest m;
    m.op = op;
    m.group.group = group;
    groups_.OnRequest(kDriver, m, true, now_);
  }
  // The answer to the last RESERVE that went to that node.
  void Answer(uint32_t node, bool ok) {
    const auto m = out_.LastTo<Reserve>(RayletOf(node), MsgType::kGroupReserve);
    groups_.OnReserved(node, {m.group, m.epoch, ok}, now_);
  }
  void Later(TimeNs by) {
    now_ += by;
    groups_.OnTimer(now_);
  }
  GroupState StateOf(uint32_t group) { return groups_.Find(group)->state; }

  const Address kDriver{1, 3, 0, 1};
  Mail out_;
  NoHost host_;
  sched::GlobalScheduler scheduler_{&host_};
  std::vector<std::string> warnings_;
  PlacementGroups groups_{7, &out_, &scheduler_,
                          [this](const std::string& text) { warnings_.push_back(text); }};
  TimeNs now_ = kSecond;
};

TEST_F(PlacementGroupsTest, IsCreatedWhenAllNodesHaveSaidYes) {
  const uint32_t g = Create({Cpu(1), Cpu(1)}, GroupStrategy::kStrictSpread);
  Ask(GroupOp::kWait, g);
  Answer(1, true);
  EXPECT_EQ(StateOf(g), GroupState::kPending);
  EXPECT_EQ(out_.Count(MsgType::kGroupReady), 0U);
  Answer(2, true);
  EXPECT_EQ(StateOf(g), GroupState::kCreated);
  EXPECT_EQ(out_.Last<GroupReady>(MsgType::kGroupReady).state, GroupState::kCreated);
}

TEST_F(PlacementGroupsTest, OneRefusalReleasesAllAndTriesAgain) {
  const uint32_t g = Create({Cpu(1), Cpu(1)}, GroupStrategy::kStrictSpread);
  Answer(1, true);
  Answer(2, false);
  EXPECT_EQ(out_.LastTo<Release>(RayletOf(1), MsgType::kGroupRelease).bundles.size(), 1U);
  EXPECT_EQ(out_.LastTo<Release>(RayletOf(2), MsgType::kGroupRelease).bundles.size(), 1U);
  const size_t before = out_.Count(MsgType::kGroupReserve);
  scheduler_.OnReport(2, Cpu(4));
  scheduler_.OnReport(1, Cpu(4));
  Later(kSecond);
  EXPECT_EQ(out_.Count(MsgType::kGroupReserve), before + 2);
  Answer(1, true);
  Answer(2, true);
  EXPECT_EQ(StateOf(g), GroupState::kCreated);
  EXPECT_EQ(groups_.Find(g)->attempts, 2U);
}

TEST_F(PlacementGroupsTest, AnAnswerToAFormerAttemptCountsForNothing) {
  const uint32_t g = Create({Cpu(1), Cpu(1)}, GroupStrategy::kStrictSpread);
  const auto old = out_.LastTo<Reserve>(RayletOf(1), MsgType::kGroupReserve);
  Answer(2, false);
  groups_.OnReserved(1, {g, old.epoch, true}, now_);
  EXPECT_EQ(StateOf(g), GroupState::kPending);
}

TEST_F(PlacementGroupsTest, LostBundlesAreReservedAnewAndTheOthersStay) {
  scheduler_.AddNode(3, Cpu(4));
  const uint32_t g = Create({Cpu(1), Cpu(1)}, GroupStrategy::kStrictSpread);
  const auto reserves = out_.All<Reserve>(MsgType::kGroupReserve);
  ASSERT_EQ(reserves.size(), 2U);
  const uint32_t first = reserves[0].first.node, second = reserves[1].first.node;
  Answer(first, true);
  Answer(second, true);
  ASSERT_EQ(StateOf(g), GroupState::kCreated);
  scheduler_.RemoveNode(second);
  groups_.OnNodeDead(second, now_);
  EXPECT_EQ(StateOf(g), GroupState::kRescheduling);
  const uint32_t third = 6 - first - second;
  const auto again = out_.LastTo<Reserve>(RayletOf(third), MsgType::kGroupReserve);
  EXPECT_EQ(again.bundles.size(), 1U);
  Answer(third, true);
  EXPECT_EQ(StateOf(g), GroupState::kCreated);
  EXPECT_EQ(out_.Count(MsgType::kGroupRelease), 0U);
}

TEST_F(PlacementGroupsTest, TheBundlesOfADrainedNodeMoveAndItIsToldSo) {
  const uint32_t group = Create({Cpu(2), Cpu(2)}, GroupStrategy::kStrictSpread);
  Answer(1, true);
  Answer(2, true);
  scheduler_.AddNode(3, Cpu(4));
  groups_.OnNodeAdded(now_);
  scheduler_.DrainNode(2);
  groups_.OnNodeDrained(2, now_);
  EXPECT_EQ(groups_.Find(group)->state, GroupState::kRescheduling);
  EXPECT_EQ(out_.LastTo<Release>(RayletOf(2), MsgType::kGroupRelease).bundles.size(), 1U);
  EXPECT_EQ(out_.All<Release>(MsgType::kGroupRelease).size(), 1U);
  Answer(3, true);
  EXPECT_EQ(groups_.Find(group)->state, GroupState::kCreated);
  std::set<uint32_t> nodes;
  for (const GroupBundle& b : groups_.Find(group)->bundles) nodes.insert(b.node);
  EXPECT_EQ(nodes, (std::set<uint32_t>{1, 3}));
}

TEST_F(PlacementGroupsTest, WhatADrainedNodeHasTakenForAGroupThatWaitsIsGivenUp) {
  const uint32_t group = Create({Cpu(2), Cpu(2)}, GroupStrategy::kStrictSpread);
  Answer(2, true);  // node 1 has not answered yet
  scheduler_.AddNode(3, Cpu(4));
  scheduler_.DrainNode(2);
  groups_.OnNodeDrained(2, now_);
  EXPECT_EQ(out_.LastTo<Release>(RayletOf(2), MsgType::kGroupRelease).bundles.size(), 1U);
  Answer(1, true);
  Answer(3, true);
  EXPECT_EQ(groups_.Find(group)->state, GroupState::kCreated);
  for (const GroupBundle& b : groups_.Find(group)->bundles) EXPECT_NE(b.node, 2U);
}

TEST_F(PlacementGroupsTest, WhatIsLostWhileAnotherBundleIsReservedIsPlacedNext) {
  scheduler_.AddNode(3, Cpu(4));
  const uint32_t group = Create({Cpu(2), Cpu(2)}, GroupStrategy::kStrictSpread);
  std::vector<uint32_t> asked;
  for (const auto& [to, m] : out_.All<Reserve>(MsgType::kGroupReserve)) asked.push_back(to.node);
  ASSERT_EQ(asked.size(), 2U);
  for (const uint32_t node : asked) Answer(node, true);
  scheduler_.RemoveNode(asked[0]);
  groups_.OnNodeDead(asked[0], now_);  // the third node is asked
  const uint32_t third = 6 - asked[0] - asked[1];
  scheduler_.AddNode(4, Cpu(4));
  scheduler_.RemoveNode(asked[1]);
  groups_.OnNodeDead(asked[1], now_);
  Answer(third, true);
  EXPECT_EQ(groups_.Find(group)->state, GroupState::kRescheduling);
  Later(kSecond);
  Answer(4, true);
  EXPECT_EQ(groups_.Find(group)->state, GroupState::kCreated);
  for (const GroupBundle& b : groups_.Find(group)->bundles) EXPECT_TRUE(b.node == third || b.node == 4);
}

TEST_F(PlacementGroupsTest, WhatNoClusterHoldsIsReportedOnceAndBlocksNobody) {
  Create({Cpu(100)}, GroupStrategy::kPack);
  for (int i = 0; i < 5; ++i) {
    groups_.OnReport(now_);
    Later(100 * kMillisecond);
  }
  EXPECT_EQ(warnings_.size(), 1U);
  const uint32_t small = Create({Cpu(1)}, GroupStrategy::kPack);
  Later(100 * kMillisecond);
  EXPECT_EQ(out_.Last<Reserve>(MsgType::kGroupReserve).group, small);
}

TEST_F(PlacementGroupsTest, OnlyTheOldestEarmarksAndNotForEver) {
  scheduler_.OnReport(1, Cpu(0));
  scheduler_.OnReport(2, Cpu(0));
  const uint32_t oldest = Create({Cpu(4)}, GroupStrategy::kPack);
  EXPECT_TRUE(out_.Last<Reserve>(MsgType::kGroupReserve).earmark);
  Create({Cpu(4)}, GroupStrategy::kPack);
  Later(kSecond);
  EXPECT_EQ(out_.Count(MsgType::kGroupReserve), 1U);
  EXPECT_EQ(out_.Last<Reserve>(MsgType::kGroupReserve).group, oldest);
  Later(10 * kSecond);
  EXPECT_EQ(out_.Last<Release>(MsgType::kGroupRelease).group, oldest);
  Later(kSecond);
  EXPECT_EQ(out_.Count(MsgType::kGroupReserve), 1U) << "a pause in which tasks may run";
}

TEST_F(PlacementGroupsTest, ActorsAreNotWaitedFor) {
  scheduler_.OnReport(1, Cpu(0), Cpu(4));
  scheduler_.OnReport(2, Cpu(0), Cpu(4));
  Create({Cpu(1)}, GroupStrategy::kPack);
  EXPECT_EQ(out_.Count(MsgType::kGroupReserve), 0U);
}

TEST_F(PlacementGroupsTest, RemovalReleasesAndFailsWhatWaits) {
  const uint32_t g = Create({Cpu(2)}, GroupStrategy::kPack, "mine");
  EXPECT_EQ(Create({Cpu(1)}, GroupStrategy::kPack, "mine"), 0U);
  EXPECT_TRUE(out_.Last<GroupReply>(MsgType::kGroupReply).taken);
  Demand d;
  d.owner = kDriver;
  d.shape_key = 5;
  d.epoch = 1;
  d.count = 3;
  d.shape.group = g;
  d.shape.resources = Cpu(1);
  scheduler_.OnDemand(1, d);
  EXPECT_TRUE(host_.assigned_.empty()) << "it is not created";
  Ask(GroupOp::kWait, g);
  Ask(GroupOp::kRemove, g);
  EXPECT_EQ(out_.Last<GroupReady>(MsgType::kGroupReady).state, GroupState::kRemoved);
  ASSERT_EQ(host_.refused_.size(), 1U);
  EXPECT_TRUE(host_.refused_[0].group_removed);
  EXPECT_EQ(StateOf(g), GroupState::kRemoved);
  EXPECT_EQ(groups_.count(), 0U);
  EXPECT_NE(Create({Cpu(1)}, GroupStrategy::kPack, "mine"), 0U);
}

TEST_F(PlacementGroupsTest, GroupsEndWithTheirJob) {
  Create({Cpu(1)}, GroupStrategy::kPack);
  groups_.OnJobEnd(JobId{2}, now_);
  EXPECT_EQ(groups_.count(), 1U);
  groups_.OnJobEnd(JobId{1}, now_);
  EXPECT_EQ(groups_.count(), 0U);
}

// 1,000 groups of 64 bundles on 1,000 nodes of 128 CPUs: the head's part of it.
TEST(PlacementGroupsAtSize, AThousandGroupsOfSixtyFourBundles) {
  Mail out;
  NoHost host;
  sched::GlobalScheduler scheduler(&host);
  for (uint32_t node = 1; node <= 1000; ++node) scheduler.AddNode(node, {{"CPU", 128 * kResourceUnit}});
  PlacementGroups groups(7, &out, &scheduler, [](const std::string& text) { FAIL() << text; });
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) {
    GroupRequest m;
    m.op = GroupOp::kCreate;
    m.group.strategy = static_cast<GroupStrategy>(i % 4);
    m.group.bundles.resize(64);
    for (GroupBundle& b : m.group.bundles) b.resources = {{"CPU", kResourceUnit}};
    groups.OnRequest({}, m, true, kSecond);
  }
  size_t created = 0;
  for (const auto& [to, m] : out.All<Reserve>(MsgType::kGroupReserve)) {
    groups.OnReserved(to.node, {m.group, m.epoch, true}, kSecond);
  }
  groups.ForEach([&](const GroupRecord& g) { created += g.state == GroupState::kCreated ? 1 : 0; });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%zu groups created in %.2f s\n", created, took.count());
  EXPECT_EQ(created, 1000U);
}

}  // namespace
}  // namespace rmpi
