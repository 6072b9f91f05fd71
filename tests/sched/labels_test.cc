// SPDX-License-Identifier: Apache-2.0
#include "sched/labels.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "sched/global_scheduler.h"

namespace rmpi::sched {
namespace {

const Labels kNode = {{"disk", "nvme"}, {"ray.io/accelerator-type", "H100"}, {"zone", "a"}};

TEST(LabelsTest, OneRule) {
  const struct {
    LabelRule rule;
    bool holds;
  } cases[] = {
      {{"zone", LabelOp::kIn, {"a", "b"}}, true},
      {{"zone", LabelOp::kIn, {"b"}}, false},
      {{"zone", LabelOp::kIn, {}}, false},
      {{"zone", LabelOp::kNotIn, {"a"}}, false},
      {{"zone", LabelOp::kNotIn, {"b"}}, true},
      {{"zone", LabelOp::kExists, {}}, true},
      {{"zone", LabelOp::kDoesNotExist, {}}, false},
      {{"rack", LabelOp::kIn, {"a"}}, false},
      {{"rack", LabelOp::kNotIn, {"a"}}, true},
      {{"rack", LabelOp::kExists, {}}, false},
      {{"rack", LabelOp::kDoesNotExist, {}}, true},
      {{"rack", LabelOp::kIn, {""}}, false},
      {{"zone", static_cast<LabelOp>(9), {}}, false},
  };
  for (const auto& c : cases) EXPECT_EQ(Holds(kNode, c.rule), c.holds) << ToString(LabelRules{c.rule});
}

TEST(LabelsTest, AllRulesOfOneAlternative) {
  const LabelRules both = {{"zone", LabelOp::kIn, {"a"}}, {"disk", LabelOp::kNotIn, {"hdd"}}};
  const LabelRules one = {{"zone", LabelOp::kIn, {"a"}}, {"disk", LabelOp::kIn, {"hdd"}}};
  EXPECT_TRUE(Matches(kNode, both));
  EXPECT_FALSE(Matches(kNode, one));
  EXPECT_TRUE(Matches(kNode, {}));
  EXPECT_TRUE(MatchesAny(kNode, {}));
  EXPECT_TRUE(MatchesAny(kNode, {one, both}));
  EXPECT_FALSE(MatchesAny(kNode, {one}));
}

TEST(LabelsTest, SettingKeepsTheOrder) {
  Labels labels;
  for (const char* key : {"m", "a", "z", "m"}) SetLabel(&labels, key, std::string(key) + "1");
  EXPECT_EQ(labels, (Labels{{"a", "a1"}, {"m", "m1"}, {"z", "z1"}}));
  ASSERT_NE(LabelOf(labels, "m"), nullptr);
  EXPECT_EQ(LabelOf(labels, "b"), nullptr);
}

TEST(LabelsTest, Syntax) {
  const std::string longest(63, 'x');
  for (const char* key : {"a", "a-b_c.d", "9", "ray.io/x", "a.b-c/Name"})
    EXPECT_TRUE(CheckLabel(key, "").ok()) << key;
  for (const char* key : {"", "-a", "a-", "a b", "a/b/c", "/a", "a/", "a./b", ".a/b", "a..b/c", "ä"})
    EXPECT_FALSE(CheckLabel(key, "").ok()) << key;
  EXPECT_TRUE(CheckLabel(longest, longest).ok());
  EXPECT_FALSE(CheckLabel(longest + "x", "").ok());
  EXPECT_FALSE(CheckLabel("a", longest + "x").ok());
  EXPECT_FALSE(CheckLabel("a", "b c").ok());
  EXPECT_FALSE(CheckLabel(std::string(254, 'p') + "/a", "").ok());
}

// ---- against a model
// ------------------------------------------------------------------------------------------

// The same question, asked of a map and a set.
bool Model(const std::map<std::string, std::string>& node, const LabelRules& rules) {
  for (const LabelRule& r : rules) {
    const bool there = node.contains(r.key);
    const bool listed =
        there && std::set<std::string>(r.values.begin(), r.values.end()).contains(node.at(r.key));
    const bool holds[] = {listed, !listed, there, !there};
    if (!holds[static_cast<size_t>(r.op)]) return false;
  }
  return true;
}

struct Chance {
  std::mt19937 engine;
  uint32_t Below(uint32_t n) { return std::uniform_int_distribution<uint32_t>(0, n - 1)(engine); }
  std::string Word(uint32_t n) { return std::string(1, static_cast<char>('a' + Below(n))); }
  LabelRules Rules() {
    LabelRules rules(Below(3));
    for (LabelRule& r : rules) {
      r.key = "k" + Word(3);
      r.op = static_cast<LabelOp>(Below(4));
      if (r.op == LabelOp::kIn || r.op == LabelOp::kNotIn) r.values = {Word(3), Word(3)};
    }
    return rules;
  }
};

class Placed : public GlobalScheduler::Host {
 public:
  void SendAssign(uint32_t to, const Demand&) override { node = to; }
  void SendHandedOff(uint32_t, const HandedOff&) override {}
  void SendUnschedulable(const Address&, const Unschedulable&) override {}
  void Warn(const std::string&) override { ++warnings; }

  uint32_t node = 0;
  int warnings = 0;
};

// Small clusters: a task goes to a node of the first alternative that has one with room, waits if none has,
// and is called infeasible exactly when no node can ever run it.
TEST(LabelsTest, PlacementsAreThoseOfAModel) {
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    Chance chance{std::mt19937(seed)};
    Placed host;
    GlobalScheduler scheduler(&host);
    struct Node {
      std::map<std::string, std::string> labels;
      uint32_t cpus = 0, free = 0;
    };
    std::map<uint32_t, Node> nodes;
    for (uint32_t id = 1 + chance.Below(2); id < 6; ++id) {
      Node& n = nodes[id];
      for (uint32_t i = chance.Below(4); i > 0; --i) n.labels["k" + chance.Word(3)] = chance.Word(3);
      n.cpus = 1 + chance.Below(3);
      n.free = chance.Below(n.cpus + 1);
      scheduler.AddNode(id, {{"CPU", n.cpus * kResourceUnit}}, {n.labels.begin(), n.labels.end()});
      scheduler.OnReport(id, {{"CPU", n.free * kResourceUnit}});
    }
    Demand d;
    d.owner = {9, 1, 0, 1};
    d.count = 1;
    const uint32_t cpus = 1 + chance.Below(2);
    d.shape.resources = {{"CPU", cpus * kResourceUnit}};
    d.shape.strategy = static_cast<Strategy>(chance.Below(2));
    for (uint32_t i = chance.Below(4); i > 0; --i) d.shape.labels.push_back(chance.Rules());
    scheduler.OnDemand(9, d);

    std::vector<LabelRules> alternatives = d.shape.labels;
    if (alternatives.empty()) alternatives.emplace_back();
    std::set<uint32_t> expected;
    bool feasible = false;
    for (const LabelRules& rules : alternatives) {
      for (const auto& [id, n] : nodes) {
        if (!Model(n.labels, rules)) continue;
        feasible |= n.cpus >= cpus;
        if (n.free >= cpus) expected.insert(id);
      }
      if (!expected.empty()) break;
    }
    if (expected.empty()) {
      EXPECT_EQ(host.node, 0U) << "seed " << seed;
    } else {
      EXPECT_TRUE(expected.contains(host.node)) << "seed " << seed << ": node " << host.node;
    }
    EXPECT_EQ(host.warnings, feasible ? 0 : 1) << "seed " << seed;
  }
}

}  // namespace
}  // namespace rmpi::sched
