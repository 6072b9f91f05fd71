// SPDX-License-Identifier: Apache-2.0
// Where bundles go: each strategy by example, against a brute-force model on small clusters, and at size.
#include "sched/bundle_placement.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <set>

namespace rmpi::sched {
namespace {

using Nodes = std::vector<uint32_t>;

Amounts Cpu(double n) { return {{"CPU", static_cast<int64_t>(n * kResourceUnit)}}; }
Amounts CpuGpu(int cpus, int gpus) {
  Amounts out = Cpu(cpus);
  if (gpus != 0) out.emplace_back("GPU", gpus * kResourceUnit);
  return out;
}

LabelRules Zone(LabelOp op, std::vector<std::string> values) { return {{"zone", op, std::move(values)}}; }

// Nodes 1, 2, .. with these totals, of which some is free.
struct Cluster {
  std::vector<Amounts> totals, free;
  std::vector<uint32_t> has;
  std::vector<Labels> labels;

  void Add(Amounts total, Amounts available, uint32_t bundles = 0) {
    totals.push_back(std::move(total));
    free.push_back(std::move(available));
    has.push_back(bundles);
    labels.emplace_back();
  }
  Nodes Place(const std::vector<Amounts>& bundles, GroupStrategy strategy, uint32_t soft_node = 0) const {
    std::vector<WantedBundle> wanted;
    for (const Amounts& b : bundles) wanted.push_back({b, {}});
    return PlaceWanted(wanted, strategy, soft_node);
  }
  Nodes PlaceWanted(const std::vector<WantedBundle>& bundles, GroupStrategy strategy,
                    uint32_t soft_node = 0) const {
    std::vector<PlacementNode> views;
    for (uint32_t i = 0; i < totals.size(); ++i)
      views.push_back({i + 1, &free[i], &totals[i], has[i], &labels[i]});
    return PlaceBundles(views, bundles, strategy, soft_node);
  }
};

Cluster Free(const std::vector<double>& cpus) {
  Cluster c;
  for (const double n : cpus) c.Add(Cpu(n), Cpu(n));
  return c;
}

TEST(BundlePlacement, PackUsesAsFewNodesAsItCan) {
  EXPECT_EQ(Free({4, 2, 4}).Place({Cpu(1), Cpu(1)}, GroupStrategy::kPack), (Nodes{1, 1}));
  const Nodes found = Free({2, 4, 3}).Place({Cpu(1), Cpu(2), Cpu(1), Cpu(2)}, GroupStrategy::kPack);
  EXPECT_EQ(std::set<uint32_t>(found.begin(), found.end()).size(), 2U);
}

TEST(BundlePlacement, PackPrefersTheFullerOfTwoNodesThatHoldAll) {
  Cluster c;
  c.Add(Cpu(8), Cpu(8));
  c.Add(Cpu(8), Cpu(3));
  EXPECT_EQ(c.Place({Cpu(1), Cpu(1)}, GroupStrategy::kPack), (Nodes{2, 2}));
}

TEST(BundlePlacement, PackGoesWhereTheGroupIsAlready) {
  Cluster c = Free({4, 4, 4});
  c.has = {0, 0, 2};
  EXPECT_EQ(c.Place({Cpu(1)}, GroupStrategy::kPack), (Nodes{3}));
}

TEST(BundlePlacement, SpreadTakesAllNodesInTurn) {
  const Nodes found =
      Free({4, 4, 4}).Place({Cpu(1), Cpu(1), Cpu(1), Cpu(1), Cpu(1), Cpu(1)}, GroupStrategy::kSpread);
  for (uint32_t node = 1; node <= 3; ++node) EXPECT_EQ(std::count(found.begin(), found.end(), node), 2);
  EXPECT_EQ(Free({4, 1}).Place({Cpu(2), Cpu(2)}, GroupStrategy::kSpread), (Nodes{1, 1}));
}

TEST(BundlePlacement, StrictPackIsOneNodeOrNone) {
  EXPECT_EQ(Free({1, 4, 8}).Place({Cpu(2), Cpu(2)}, GroupStrategy::kStrictPack).size(), 2U);
  EXPECT_EQ(Free({3, 3}).Place({Cpu(2), Cpu(2)}, GroupStrategy::kStrictPack), Nodes{});
  EXPECT_EQ(Free({4, 4, 4}).Place({Cpu(2)}, GroupStrategy::kStrictPack, 2), (Nodes{2}));
  EXPECT_EQ(Free({4, 1}).Place({Cpu(2)}, GroupStrategy::kStrictPack, 2), (Nodes{1})) << "soft";
}

TEST(BundlePlacement, StrictSpreadMovesWhatCanGoElsewhere) {
  // The small bundles must not take the only node that holds the large one, whichever comes first.
  EXPECT_EQ(Free({1, 4}).Place({Cpu(1), Cpu(3)}, GroupStrategy::kStrictSpread), (Nodes{1, 2}));
  Cluster c;
  c.Add(CpuGpu(4, 1), CpuGpu(4, 1));
  c.Add(CpuGpu(8, 0), CpuGpu(8, 0));
  EXPECT_EQ(c.Place({CpuGpu(3, 0), CpuGpu(1, 1)}, GroupStrategy::kStrictSpread), (Nodes{2, 1}));
  EXPECT_EQ(Free({4, 4}).Place({Cpu(1), Cpu(1), Cpu(1)}, GroupStrategy::kStrictSpread), Nodes{});
  c.has = {1, 0};
  EXPECT_EQ(c.Place({Cpu(1)}, GroupStrategy::kStrictSpread), (Nodes{2})) << "node 1 has one already";
}

TEST(BundlePlacement, HalvesOfTwoDevicesAreNoDevice) {
  Cluster c;
  c.Add(CpuGpu(4, 2), {{"CPU", 40000}, {"GPU", 10000}, {"part:GPU", 5000}, {"whole:GPU", 0}});
  EXPECT_EQ(c.Place({CpuGpu(1, 1)}, GroupStrategy::kPack), Nodes{});
  EXPECT_EQ(c.Place({{{"GPU", 5000}}}, GroupStrategy::kPack), (Nodes{1}));
}

TEST(BundlePlacement, ABundleGoesOnlyWhereItsLabelsAre) {
  Cluster c = Free({4, 4, 4});
  c.labels[1] = {{"zone", "b"}};
  c.labels[2] = {{"zone", "c"}};
  const WantedBundle in_b = {Cpu(1), Zone(LabelOp::kIn, {"b"})};
  const WantedBundle not_b = {Cpu(1), Zone(LabelOp::kNotIn, {"b", "c"})};
  for (const auto strategy : {GroupStrategy::kPack, GroupStrategy::kSpread, GroupStrategy::kStrictSpread})
    EXPECT_EQ(c.PlaceWanted({not_b, in_b}, strategy), (Nodes{1, 2}));
  EXPECT_EQ(c.PlaceWanted({in_b, in_b}, GroupStrategy::kStrictPack, 1), (Nodes{2, 2})) << "soft is not there";
  EXPECT_EQ(c.PlaceWanted({in_b, not_b}, GroupStrategy::kStrictPack), Nodes{});
  EXPECT_EQ(c.PlaceWanted({in_b, in_b}, GroupStrategy::kStrictSpread), Nodes{});
  const WantedBundle anywhere = {Cpu(4), {}};  // must leave node 2 to the one that can only be there
  EXPECT_EQ(c.PlaceWanted({anywhere, anywhere, in_b}, GroupStrategy::kPack).size(), 3U);
  EXPECT_EQ(c.PlaceWanted({anywhere, anywhere, in_b}, GroupStrategy::kStrictSpread).size(), 3U);
}

// ---- against a model --------------------------------------------------------------------------------------

bool Allowed(const Cluster& c, const std::vector<WantedBundle>& bundles, GroupStrategy strategy,
             const Nodes& at) {
  std::vector<Amounts> left = c.free;
  std::vector<uint32_t> count = c.has;
  for (size_t i = 0; i < bundles.size(); ++i) {
    if (!Fits(left[at[i] - 1], bundles[i].resources)) return false;
    if (!Matches(c.labels[at[i] - 1], bundles[i].labels)) return false;
    Subtract(&left[at[i] - 1], bundles[i].resources);
    if (++count[at[i] - 1] > 1 && strategy == GroupStrategy::kStrictSpread) return false;
    if (at[i] != at[0] && strategy == GroupStrategy::kStrictPack) return false;
  }
  return true;
}

bool Exists(const Cluster& c, const std::vector<WantedBundle>& bundles, GroupStrategy strategy, Nodes* at) {
  if (at->size() == bundles.size()) return Allowed(c, bundles, strategy, *at);
  for (uint32_t node = 1; node <= c.free.size(); ++node) {
    at->push_back(node);
    if (Exists(c, bundles, strategy, at)) return true;
    at->pop_back();
  }
  return false;
}

TEST(BundlePlacement, FindsAPlaceExactlyWhenThereIsOne) {
  std::mt19937 rng(7);
  const auto below = [&](int n) { return static_cast<int>(rng() % static_cast<unsigned>(n)); };
  int found = 0, none = 0;
  for (int round = 0; round < 6000; ++round) {
    Cluster c;
    for (int n = 1 + below(4); n-- > 0;) {
      const int cpus = 1 + below(6), gpus = below(3);
      c.Add(CpuGpu(cpus, gpus), CpuGpu(below(cpus + 1), gpus == 0 ? 0 : below(gpus + 1)),
            below(5) == 0 ? 1 : 0);
      if (const int zone = below(3); zone != 0) c.labels.back() = {{"zone", zone == 1 ? "a" : "b"}};
    }
    const bool labelled = below(2) == 0;
    std::vector<WantedBundle> bundles;
    for (int n = 1 + below(5); n-- > 0;) {
      WantedBundle& b = bundles.emplace_back();
      b.resources = CpuGpu(1 + below(3), below(4) == 0 ? 1 : 0);
      if (labelled && below(2) == 0)
        b.labels = Zone(static_cast<LabelOp>(below(2)), {below(2) == 0 ? "a" : "b"});
    }
    const auto strategy = static_cast<GroupStrategy>(below(4));
    const Nodes placed = c.PlaceWanted(bundles, strategy);
    Nodes model;
    const bool exists = Exists(c, bundles, strategy, &model);
    ASSERT_EQ(!placed.empty(), exists) << "round " << round;
    if (exists) {
      ASSERT_TRUE(Allowed(c, bundles, strategy, placed)) << "round " << round;
    }
    ++(exists ? found : none);
  }
  EXPECT_GT(found, 1000);
  EXPECT_GT(none, 1000);
}

// ---- at size ----------------------------------------------------------------------------------------------

double MillisecondsOf(const std::function<void()>& fn) {
  const auto start = std::chrono::steady_clock::now();
  fn();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

TEST(BundlePlacement, AThousandNodesAreNoTrouble) {
  Cluster c = Free(std::vector<double>(1000, 128));
  const std::vector<Amounts> gang(1000, Cpu(64)), mixed = [] {
    std::vector<Amounts> out;
    for (int i = 0; i < 64; ++i) out.push_back(Cpu(1 + i % 8));
    return out;
  }();
  double slowest = 0;
  for (const auto strategy : {GroupStrategy::kPack, GroupStrategy::kSpread, GroupStrategy::kStrictSpread}) {
    slowest = std::max(slowest, MillisecondsOf([&] { EXPECT_EQ(c.Place(gang, strategy).size(), 1000U); }));
    slowest = std::max(slowest, MillisecondsOf([&] { EXPECT_EQ(c.Place(mixed, strategy).size(), 64U); }));
  }
  std::printf("the slowest took %.1f ms\n", slowest);
  EXPECT_LT(slowest, 2000) << "linear in the nodes, even unoptimised and on a busy machine";
}

}  // namespace
}  // namespace rmpi::sched
