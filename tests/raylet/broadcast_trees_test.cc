// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/broadcast_trees.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/objstore/store_fixture.h"
#include "tests/sim/rng.h"

namespace rmpi {
namespace {

constexpr uint64_t kChunk = 4 << 20;
constexpr uint64_t kSize = 64 * kChunk;

class BroadcastTreesTest : public testing::Test {
 protected:
  uint32_t Join(uint32_t node, uint32_t avoid = 0, bool direct = false) {
    return trees_.Join(version_, kSize, node, avoid, direct);
  }
  BroadcastTrees trees_{kChunk};
  objstore::Version version_{objstore::MakeId(1), 0};
};

TEST_F(BroadcastTreesTest, FewAreAChainAndManyATree) {
  EXPECT_EQ(Join(2), 0U);
  for (uint32_t n = 3; n <= 17; ++n) EXPECT_EQ(Join(n), n - 1) << "each link carries it once";
  EXPECT_EQ(Join(18), 0U) << "a longer chain would take longer than two ways";
  std::map<uint32_t, int> children;
  for (uint32_t n = 19; n < 1000; ++n) ++children[Join(n)];
  for (const auto& [node, count] : children) EXPECT_LE(count, 2) << node;
}

TEST_F(BroadcastTreesTest, WhoHasItAllIsAsGoodAsTheHolder) {
  Join(2);
  Join(3);
  trees_.Leave(version_, 2, true);
  EXPECT_EQ(Join(4), 0U);
  trees_.Leave(version_, 3, true);
  EXPECT_EQ(Join(5), 2U);
  trees_.Leave(version_, 4, true);
  trees_.Leave(version_, 5, false);
  EXPECT_EQ(trees_.size(), 0U) << "nobody receives it any more";
  EXPECT_EQ(Join(6), 0U);
}

TEST_F(BroadcastTreesTest, NobodyIsSentToWhomHeServesOrWhoFailedHim) {
  Join(2);
  EXPECT_EQ(Join(3), 2U);
  EXPECT_EQ(Join(4), 3U);
  EXPECT_EQ(Join(3, 2), 0U) << "not to 4, which waits for it";
  trees_.NodeDead(2);
  EXPECT_EQ(Join(5), 4U);
  EXPECT_EQ(Join(6, 0, true), 0U) << "as it asked";
}

// Whatever happens in whatever order: no circle, and nobody is counted that is gone.
TEST_F(BroadcastTreesTest, NoCirclesEver) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    sim::Rng rng(seed);
    BroadcastTrees trees(kChunk);
    std::map<uint32_t, uint32_t> asked;  // who receives it, and from whom
    const uint32_t nodes = 3 + static_cast<uint32_t>(rng.Below(20));
    for (int step = 0; step < 400; ++step) {
      const uint32_t node = 2 + static_cast<uint32_t>(rng.Below(nodes));
      const bool in = asked.count(node) != 0;
      if (!in || rng.Percent(30)) {
        const uint32_t avoid = in && rng.Percent(80) ? asked[node] : 0;
        const uint32_t parent = trees.Join(version_, kSize, node, avoid, rng.Percent(5));
        ASSERT_NE(parent, node);
        ASSERT_TRUE(parent == 0 || parent != avoid);
        asked[node] = parent;
      } else if (rng.Percent(60)) {
        trees.Leave(version_, node, rng.Percent(60));
        asked.erase(node);
      } else {
        trees.NodeDead(node);
        asked.erase(node);
      }
      for (const auto& [from, parent] : asked) {
        size_t steps = 0;
        for (uint32_t at = parent; asked.count(at) != 0; at = asked[at])
          ASSERT_LE(++steps, asked.size()) << "seed " << seed;
      }
    }
    for (const auto& [node, parent] : asked) trees.Leave(version_, node, false);
    ASSERT_EQ(trees.size(), 0U) << "seed " << seed;
  }
}

}  // namespace
}  // namespace rmpi
