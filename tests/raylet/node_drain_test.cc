// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/node_drain.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>

namespace rmpi {
namespace {

constexpr uint32_t kNode = 3;

class NodeDrainTest : public testing::Test, public NodeDrain::Host {
 protected:
  bool WorkLeft() const override { return work_; }
  bool EndIdleActors() override {
    ++asked_actors_;
    return actors_;
  }
  uint32_t EndWorkers() override {
    ++ended_;
    return work_ ? 1 : 0;
  }
  uint32_t Workers() const override { return workers_ ? 1 : 0; }
  std::vector<ObjectAt> Primaries() const override { return here_; }
  std::vector<uint32_t> OtherNodes() const override { return others_; }
  void SendPull(uint32_t node, const Pull& m) override { pulls_.emplace_back(node, m); }
  void SendDrained(const Drained& m) override {
    said_ = m;
    ++news_;
    if (m.over) drained_ = m;
  }

  void Run(TimeNs how_long) {
    for (const TimeNs end = now_ + how_long; now_ < end; now_ += 10 * kMillisecond) drain_.OnTimer(now_);
  }
  void AddObject(uint32_t index) {
    ObjectAt o;
    o.id.index = index;
    o.size = 100;
    o.place = {kNode, 0, 4096};
    here_.push_back(o);
  }
  void Answer(bool full) {
    PullReply reply;
    reply.id = pulls_.back().second.id;
    reply.full = full;
    drain_.OnPullReply(reply, now_);
  }

  bool work_ = false, actors_ = false, workers_ = false;
  int asked_actors_ = 0, ended_ = 0;
  std::vector<ObjectAt> here_;
  std::vector<uint32_t> others_ = {1, 2};
  std::deque<std::pair<uint32_t, Pull>> pulls_;
  std::optional<Drained> drained_;
  Drained said_;
  size_t news_ = 0;
  TimeNs now_ = kSecond;
  NodeDrain drain_{this};
};

TEST_F(NodeDrainTest, WhoIsInAHurryShortensItAndNobodyMakesItLonger) {
  work_ = true;
  drain_.Start(kNode, 3600 * kSecond, now_);
  Run(kSecond);
  drain_.Start(kNode, kSecond, now_);
  drain_.Start(kNode, 3600 * kSecond, now_);
  Run(500 * kMillisecond);
  EXPECT_EQ(ended_, 0);
  Run(kSecond);
  EXPECT_EQ(ended_, 1);
}

TEST_F(NodeDrainTest, AnEmptyNodeGoesAtOnce) {
  drain_.Start(kNode, 10 * kSecond, now_);
  Run(200 * kMillisecond);
  ASSERT_TRUE(drained_);
  EXPECT_EQ(drained_->killed + drained_->moved + drained_->left, 0U);
  EXPECT_EQ(drain_.NextDeadline(), kNever);
}

TEST_F(NodeDrainTest, WorkEndsBeforeActorsAndActorsBeforeTheRest) {
  work_ = actors_ = workers_ = true;
  drain_.Start(kNode, 10 * kSecond, now_);
  Run(kSecond);
  EXPECT_EQ(asked_actors_, 0);
  work_ = false;
  Run(kSecond);
  EXPECT_GT(asked_actors_, 0);
  EXPECT_EQ(ended_, 0);
  actors_ = false;
  Run(kSecond);
  EXPECT_EQ(ended_, 1);
  EXPECT_FALSE(drained_);
  workers_ = false;
  Run(kSecond);
  EXPECT_TRUE(drained_);
}

TEST_F(NodeDrainTest, ItSaysHowFarItIs) {
  work_ = workers_ = true;
  others_.clear();
  drain_.Start(kNode, 10 * kSecond, now_);
  Run(kSecond);
  EXPECT_FALSE(said_.over);
  EXPECT_EQ(said_.workers, 1U);
  EXPECT_EQ(said_.left, 0U);
  AddObject(1);
  Run(kSecond);
  EXPECT_EQ(said_.left, 1U);
  EXPECT_EQ(said_.left_bytes, 100U);
  EXPECT_EQ(news_, 2U) << "only what is new";
  work_ = workers_ = false;
  Run(15 * kSecond);
  EXPECT_TRUE(said_.over);
  EXPECT_EQ(said_.workers, 0U);
}

TEST_F(NodeDrainTest, AfterItsTimeWorkIsEnded) {
  work_ = true;
  drain_.Start(kNode, 2 * kSecond, now_);
  Run(1900 * kMillisecond);
  EXPECT_EQ(ended_, 0);
  Run(500 * kMillisecond);
  ASSERT_TRUE(drained_);
  EXPECT_EQ(drained_->killed, 1U);
}

TEST_F(NodeDrainTest, AnObjectHasMovedWhenItsOwnerFreesItHere) {
  AddObject(1);
  drain_.Start(kNode, kSecond, now_);
  Run(100 * kMillisecond);
  ASSERT_EQ(pulls_.size(), 1U);
  EXPECT_EQ(pulls_[0].second.moves_from, kNode);
  EXPECT_EQ(pulls_[0].second.places[0].node, kNode);
  Answer(/*full=*/false);
  Run(200 * kMillisecond);
  EXPECT_FALSE(drained_);
  here_.clear();
  Run(100 * kMillisecond);
  ASSERT_TRUE(drained_);
  EXPECT_EQ(drained_->moved, 1U);
  EXPECT_EQ(drained_->moved_bytes, 100U);
}

TEST_F(NodeDrainTest, AnOwnerThatDidNotKnowItYetIsToldAgain) {
  AddObject(1);
  drain_.Start(kNode, kSecond, now_);
  Run(100 * kMillisecond);
  Answer(false);
  Run(kSecond);
  ASSERT_EQ(pulls_.size(), 2U);
  EXPECT_EQ(pulls_[0].first, pulls_[1].first);
}

TEST_F(NodeDrainTest, WhatNoNodeHasRoomForStaysBehind) {
  AddObject(1);
  drain_.Start(kNode, kSecond, now_);
  for (size_t i = 1; i <= 2; ++i) {
    Run(100 * kMillisecond);
    ASSERT_EQ(pulls_.size(), i);
    Answer(/*full=*/true);
  }
  EXPECT_NE(pulls_[0].first, pulls_[1].first);
  Run(kSecond);
  ASSERT_TRUE(drained_);
  EXPECT_EQ(drained_->left, 1U);
  EXPECT_EQ(drained_->left_bytes, 100U);
}

TEST_F(NodeDrainTest, ADeadNodesObjectsGoToAnother) {
  AddObject(1);
  drain_.Start(kNode, kSecond, now_);
  Run(50 * kMillisecond);
  const uint32_t first = pulls_[0].first;
  std::erase(others_, first);
  drain_.OnNodeDead(first, now_);
  Run(50 * kMillisecond);
  ASSERT_EQ(pulls_.size(), 2U);
  EXPECT_EQ(pulls_[1].first, others_[0]);
}

TEST_F(NodeDrainTest, ItEndsThoughNobodyAnswers) {
  AddObject(1);
  drain_.Start(kNode, kSecond, now_);
  Run(15 * kSecond);
  ASSERT_TRUE(drained_);
  EXPECT_EQ(drained_->left, 1U);
}

}  // namespace
}  // namespace rmpi
