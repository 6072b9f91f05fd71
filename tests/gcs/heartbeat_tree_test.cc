// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/heartbeat_tree.h"

#include <gtest/gtest.h>

namespace rmpi {
namespace {

using Changes = HeartbeatTree::Changes;

class HeartbeatTreeTest : public testing::Test {
 protected:
  // Rank r is node r + 1. Sections of three: nodes 2 to 4, 5 to 7, 8.
  void Start(uint32_t above) {
    tree_ = std::make_unique<HeartbeatTree>(HeartbeatTreeOptions{above, 3}, 8);
    for (int rank = 0; rank < 8; ++rank) {
      const Changes c = tree_->OnJoin(static_cast<uint32_t>(rank + 1), rank);
      told_.insert(told_.end(), c.begin(), c.end());
    }
  }
  std::unique_ptr<HeartbeatTree> tree_;
  Changes told_;
};

TEST_F(HeartbeatTreeTest, ASmallLaunchHasNone) {
  Start(8);
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(tree_->OnDead(2).empty());
}

TEST_F(HeartbeatTreeTest, EachSectionReportsToItsFirst) {
  Start(7);
  EXPECT_EQ(told_, (Changes{{3, 2}, {4, 2}, {6, 5}, {7, 5}}));
  EXPECT_TRUE(tree_->OnJoin(9, -8).empty()) << "one that joined later has no way to it";
}

TEST_F(HeartbeatTreeTest, WhenAnAggregatorDiesTheNextTakesItsPlace) {
  Start(1);
  EXPECT_TRUE(tree_->OnDead(4).empty());
  EXPECT_EQ(tree_->OnDead(5), (Changes{{6, kHeadNode}, {7, 6}}));
  EXPECT_EQ(tree_->OnDead(6), (Changes{{7, kHeadNode}}));
  EXPECT_TRUE(tree_->OnDead(7).empty());
  EXPECT_EQ(tree_->OnDead(2), (Changes{{3, kHeadNode}}));
}

TEST_F(HeartbeatTreeTest, WhoWentStraightIsSentBackAfterAWhile) {
  Start(1);
  tree_->OnStraight(2, kSecond);  // that is its way
  tree_->OnStraight(3, kSecond);
  tree_->OnStraight(3, 9 * kSecond);
  EXPECT_TRUE(tree_->OnTimer(10 * kSecond).empty());
  EXPECT_EQ(tree_->OnTimer(11 * kSecond), (Changes{{3, 2}}));
  EXPECT_TRUE(tree_->OnTimer(30 * kSecond).empty());
  tree_->OnStraight(3, 30 * kSecond);
  EXPECT_EQ(tree_->OnDead(2).size(), 2U);
  EXPECT_TRUE(tree_->OnTimer(60 * kSecond).empty()) << "it has been told where to";
}

}  // namespace
}  // namespace rmpi
