// SPDX-License-Identifier: Apache-2.0
#include "sched/node_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "sched/pool.h"

namespace rmpi::sched {
namespace {

constexpr int64_t kOne = kResourceUnit;
const Amounts kCpu = {{"CPU", kOne}};

struct Machine {
  Amounts total, available;
  Labels labels;
};

class NodeIndexTest : public testing::Test {
 protected:
  void Add(uint32_t id, int64_t cpus, int64_t gpus = 0, const std::string& place = "") {
    Machine& m = machines_[id];
    m.total = {{"CPU", cpus * kOne}};
    if (gpus != 0) m.total.emplace_back("GPU", gpus * kOne);
    m.available = m.total;
    if (!place.empty()) m.labels = {{kSwitchLabel, place}};
    index_.Add(id, &m.total, &m.available, &m.labels);
  }
  void Use(uint32_t id, int64_t cpus) { TakeFromReport(&machines_[id].available, {{"CPU", cpus * kOne}}); }
  void Report(uint32_t id, int64_t cpus) {
    machines_[id].available[0].second = cpus * kOne;
    index_.HasMore(id);
  }
  // Places one after the other, as the head does.
  std::vector<uint32_t> Fill(int n, uint32_t near, const Amounts& want = kCpu) {
    std::vector<uint32_t> ids;
    for (; n > 0; --n) {
      const uint32_t id = index_.Pack(want, {}, near, 0);
      ids.push_back(id);
      if (id != 0) TakeFromReport(&machines_[id].available, want);
    }
    return ids;
  }

  std::map<uint32_t, Machine> machines_;
  NodeIndex index_;
};

TEST_F(NodeIndexTest, PacksToTheHalfThenSpreads) {
  for (uint32_t id = 1; id <= 3; ++id) Add(id, 4);
  EXPECT_EQ(Fill(6, 2), (std::vector<uint32_t>{2, 2, 3, 3, 1, 1}));
  const std::vector<uint32_t> rest = Fill(7, 2);
  EXPECT_EQ(std::set<uint32_t>(rest.begin(), rest.begin() + 3), (std::set<uint32_t>{1, 2, 3}));
  EXPECT_EQ(std::set<uint32_t>(rest.begin() + 3, rest.begin() + 6), (std::set<uint32_t>{1, 2, 3}));
  EXPECT_EQ(rest[6], 0U) << "all are full";
}

TEST_F(NodeIndexTest, NodesOfOneSwitchAreFilledFirst) {
  Add(1, 2, 0, "core.left");
  Add(2, 2, 0, "core.right");
  Add(3, 2, 0, "core.left");
  Add(4, 2, 0, "other.left");
  Add(5, 2, 0, "core.right");
  EXPECT_EQ(Fill(5, 2), (std::vector<uint32_t>{2, 5, 3, 1, 4}));
  EXPECT_EQ(index_.Pack(kCpu, {}, 3, 3), 1U);
}

TEST_F(NodeIndexTest, WorkForCpusLeavesGpusToOthers) {
  Add(1, 4, 2);
  Add(2, 2);
  EXPECT_EQ(Fill(4, 1), (std::vector<uint32_t>{2, 2, 1, 1}));
  EXPECT_EQ(index_.Pack({{"CPU", kOne}, {"GPU", kOne}}, {}, 2, 0), 1U);
  EXPECT_TRUE(index_.has_plain_nodes());
  index_.Remove(2);
  EXPECT_FALSE(index_.has_plain_nodes());
}

TEST_F(NodeIndexTest, RoundAndRound) {
  for (uint32_t id = 1; id <= 4; ++id) Add(id, 2);
  Use(3, 2);
  uint32_t cursor = 0;
  std::vector<uint32_t> ids;
  for (int i = 0; i < 7; ++i) {
    cursor = index_.Next(kCpu, {}, cursor);
    ids.push_back(cursor);
    if (cursor != 0) Use(cursor, 1);
  }
  EXPECT_EQ(ids, (std::vector<uint32_t>{1, 2, 4, 1, 2, 4, 0}));
}

TEST_F(NodeIndexTest, AReportSaysWhetherAnybodyWaitsForIt) {
  Add(1, 2);
  Add(2, 2);
  EXPECT_NE(index_.Pack({{"CPU", 2 * kOne}}, {}, 1, 0), 0U);
  Report(1, 0);
  Report(2, 0);
  EXPECT_EQ(index_.Pack({{"CPU", 2 * kOne}}, {}, 1, 0), 0U);
  machines_[2].available = {{"CPU", kOne}};
  EXPECT_FALSE(index_.HasMore(2)) << "one CPU, and two are wanted";
  machines_[2].available = {{"CPU", 2 * kOne}};
  EXPECT_TRUE(index_.HasMore(2));
}

// Random clusters that fill, report, grow and shrink, against a look at all nodes.
TEST_F(NodeIndexTest, AgainstAModel) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 engine(seed);
    const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine); };
    machines_.clear();
    index_ = NodeIndex();
    uint32_t next = 1;
    for (int step = 0; step < 120; ++step) {
      const int what = below(10);
      if (machines_.size() < 2 || (what == 0 && machines_.size() < 8)) {
        Add(next++, 1 + below(40), below(3) == 0 ? 1 + below(2) : 0,
            below(2) == 0 ? "s" + std::to_string(below(3)) : "");
        continue;
      }
      const auto any = std::next(machines_.begin(), below(static_cast<int>(machines_.size())));
      if (what == 1) {
        index_.Remove(any->first);
        machines_.erase(any);
        continue;
      }
      if (what < 5) {
        any->second.available = any->second.total;
        any->second.available[0].second =
            below(static_cast<int>(any->second.total[0].second / kOne) + 1) * kOne;
        index_.HasMore(any->first);
        continue;
      }
      Amounts want = {{"CPU", (1 + below(3)) * kOne}};
      if (below(4) == 0) want.emplace_back("GPU", kOne / (1 + below(2)));
      LabelRules rules;
      if (below(4) == 0) rules = {{kSwitchLabel, LabelOp::kIn, {"s1", "s2"}}};
      const uint32_t except = below(3) == 0 ? any->first : 0;

      // What comes first: without GPUs where none are wanted, less than half used, then the use.
      const auto key = [&](const Machine& m) {
        const double use = 1 - static_cast<double>(AmountOf(m.available, "CPU")) /
                                   static_cast<double>(AmountOf(m.total, "CPU"));
        return std::pair(HasGpus(m.total) && !HasGpus(want), use < 0.5 ? 0.0 : use);
      };
      std::map<uint32_t, std::pair<bool, double>> room;
      for (const auto& [id, m] : machines_) {
        if (ReportFits(m.available, want) && Matches(m.labels, rules)) room[id] = key(m);
      }
      const uint32_t next_one = index_.Next(want, rules, any->first);
      EXPECT_EQ(next_one != 0, !room.empty()) << "seed " << seed;
      if (next_one != 0) {
        EXPECT_TRUE(room.contains(next_one)) << "seed " << seed;
      }
      const uint32_t got = index_.Pack(want, rules, any->first, except);
      room.erase(except);
      ASSERT_EQ(got != 0, !room.empty()) << "seed " << seed << " step " << step;
      if (got == 0) continue;
      ASSERT_TRUE(room.contains(got)) << "seed " << seed;
      const auto best =
          std::min_element(room.begin(), room.end(), [](auto& a, auto& b) { return a.second < b.second; });
      EXPECT_EQ(room[got].first, best->second.first) << "seed " << seed;
      EXPECT_LE(room[got].second, best->second.second + 1.0 / 16) << "seed " << seed;
      TakeFromReport(&machines_[got].available, want);
    }
  }
}

}  // namespace
}  // namespace rmpi::sched
