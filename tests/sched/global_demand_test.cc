// SPDX-License-Identifier: Apache-2.0
// What the head does with much demand of many owners, against a model that looks at everything.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "sched/global_scheduler.h"

namespace rmpi::sched {
namespace {

struct Machine {
  Amounts total, available;
  Labels labels;
};

// All that has been said and done.
class Model : public GlobalScheduler::Host {
 public:
  struct Wanted {
    uint32_t origin = 0;
    Demand demand;  // its count: since the beginning
    uint64_t assigned = 0, handed = 0, rejected = 0;

    uint64_t own() const { return demand.count - std::min(demand.count, handed); }
  };

  void AddNode(uint32_t id, const Amounts& total, const Labels& labels) {
    machines[id] = {total, total, labels};
    scheduler.AddNode(id, total, labels);
  }
  void Report(uint32_t id, const Amounts& available) {
    machines[id].available = available;
    scheduler.OnReport(id, available);
  }
  void Want(const Address& owner, uint32_t key, const Shape& shape, uint64_t more) {
    Wanted& w = wanted[{owner, key}];
    w.origin = owner.node;
    w.demand.owner = owner;
    w.demand.shape_key = key;
    w.demand.shape = shape;
    w.demand.count += more;
    scheduler.OnDemand(owner.node, w.demand);
  }
  void Reject(uint32_t node, Demand d) {
    Wanted& w = wanted.at({d.owner, d.shape_key});
    w.assigned -= d.count;
    w.rejected += d.count;
    for (auto& [name, amount] : machines[node].available) amount = std::min<int64_t>(amount, 0);
    scheduler.OnReject(node, d);
  }

  // Nobody waits for what is there. Who was promised something reports, as raylets do: a node that others'
  // tasks have crowded does not serve its own any more.
  void Check() {
    for (size_t before = SIZE_MAX; before != assigns.size();) {
      before = assigns.size();
      for (auto& [id, m] : machines) Report(id, Amounts(m.available));
    }
    size_t waiting = 0;
    for (const auto& [key, w] : wanted) {
      EXPECT_EQ(w.assigned + w.own() + w.rejected, w.demand.count) << "lost, or made up";
      waiting += (w.own() != 0 ? 1 : 0) + (w.rejected != 0 ? 1 : 0);
      if (w.own() + w.rejected == 0) continue;
      for (const auto& [id, m] : machines) {
        const bool keeps = id == w.origin && w.rejected == 0 &&
                           w.demand.shape.strategy == Strategy::kDefault && !Crowded(m.total, m.available);
        const bool suits =
            ReportFits(m.available, w.demand.shape.resources) && MatchesAny(m.labels, w.demand.shape.labels);
        EXPECT_TRUE(keeps || !suits) << "node " << id << " has " << ToString(m.available) << " of "
                                     << ToString(m.total) << ", and " << ToString(w.demand.shape.resources)
                                     << " waits: " << w.own() << " of node " << w.origin << "'s own, "
                                     << w.rejected << " rejected";
      }
    }
    EXPECT_EQ(scheduler.pending(), waiting);
    EXPECT_EQ(overfull, 0);
  }

  void SendAssign(uint32_t node, const Demand& d) override {
    Machine& m = machines.at(node);
    Wanted& w = wanted.at({d.owner, d.shape_key});
    for (uint64_t i = 0; i < d.count; ++i) {
      overfull += ReportFits(m.available, d.shape.resources) && MatchesAny(m.labels, d.shape.labels) ? 0 : 1;
      TakeFromReport(&m.available, d.shape.resources);
    }
    // What is not of its own was rejected before.
    const uint64_t own = std::exchange(fresh_[{d.owner, d.shape_key}], 0);
    const uint64_t again = d.count - std::min(d.count, own);
    if (own > d.count) fresh_[{d.owner, d.shape_key}] = own - d.count;
    w.rejected -= std::min(again, w.rejected);
    w.assigned += d.count;
    assigns.emplace_back(node, d);
  }
  void SendHandedOff(uint32_t origin, const HandedOff& m) override {
    EXPECT_EQ(origin, m.owner.node);
    wanted.at({m.owner, m.shape_key}).handed += m.count;
    fresh_[{m.owner, m.shape_key}] += m.count;
  }
  void SendUnschedulable(const Address&, const Unschedulable& m) override { ADD_FAILURE() << m.reason; }
  void Warn(const std::string&) override { ++warnings; }

  std::map<uint32_t, Machine> machines;
  std::map<std::pair<Address, uint32_t>, Wanted> wanted;
  std::vector<std::pair<uint32_t, Demand>> assigns;
  int overfull = 0, warnings = 0;
  GlobalScheduler scheduler{this};

 private:
  std::map<std::pair<Address, uint32_t>, uint64_t> fresh_;  // handed off, and not seen assigned yet
};

Shape Of(int64_t cpus, Strategy strategy = Strategy::kDefault) {
  Shape s;
  s.resources = {{"CPU", cpus * kResourceUnit}};
  s.strategy = strategy;
  return s;
}

TEST(GlobalDemand, NothingWaitsForWhatIsThere) {
  constexpr uint32_t kNodes = 6;
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto any = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    Model model;
    std::vector<Shape> shapes = {Of(1), Of(3), Of(1, Strategy::kSpread), Of(2), Of(0), Of(100)};
    shapes[3].labels = {{{"zone", LabelOp::kIn, {"a"}}}};
    shapes[4].resources = {{"GPU", 5000}};
    for (uint32_t id = 1; id <= kNodes; ++id) {
      Amounts total = {{"CPU", (2 + any(7)) * kResourceUnit}};
      if (any(3) == 0) total.emplace_back("GPU", (1 + any(3)) * kResourceUnit);
      model.AddNode(id, total, {{"zone", any(2) == 0 ? "a" : "b"}});
    }
    for (int step = 0; step < 60; ++step) {
      const uint32_t node = 1 + any(kNodes);
      if (any(3) == 0) {
        Amounts free = model.machines[node].total;
        for (auto& [name, amount] : free) amount = any(amount / kResourceUnit + 1) * kResourceUnit;
        model.Report(node, free);
      } else if (any(4) == 0 && !model.assigns.empty()) {
        const auto [at, d] = model.assigns[any(static_cast<uint32_t>(model.assigns.size()))];
        model.assigns.clear();  // each is rejected once at most
        model.Reject(at, d);
      } else {
        const uint32_t key = any(static_cast<uint32_t>(shapes.size()));
        const Address owner{node, static_cast<uint16_t>(1 + any(2)), 0, 1};
        model.Want(owner, key, shapes[key], 1 + any(any(2) == 0 ? 3 : 40));
      }
      model.Check();
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(GlobalDemand, OwnersOfOneClassGetEqualParts) {
  constexpr uint32_t kNodes = 40, kOwners = 20;
  Model model;
  for (uint32_t id = 1; id <= kNodes; ++id) {
    model.AddNode(id, {{"CPU", 8 * kResourceUnit}}, {});
    model.Report(id, {{"CPU", 0}});
  }
  for (uint32_t i = 0; i < kOwners; ++i) model.Want({1 + i, 1, 0, 1}, 1, Of(1), 1000);
  for (int round = 0; round < 10; ++round) {
    for (uint32_t id = 1; id <= kNodes; ++id) model.Report(id, {{"CPU", 8 * kResourceUnit}});
  }
  model.Check();
  for (const auto& [key, w] : model.wanted) EXPECT_NEAR(static_cast<double>(w.assigned), 160, 16);
}

TEST(GlobalDemand, ClassesTakeTurns) {
  Model model;
  model.AddNode(1, {{"CPU", 4 * kResourceUnit}}, {});
  model.AddNode(2, {{"CPU", 4 * kResourceUnit}}, {});
  for (uint32_t id = 1; id <= 2; ++id) model.Report(id, {{"CPU", 0}});
  model.Want({1, 1, 0, 1}, 1, Of(100), 1);  // never
  model.Want({1, 1, 0, 1}, 2, Of(1), 10'000);
  model.Want({1, 2, 0, 1}, 1, Of(4), 10);
  for (int i = 0; i < 25; ++i) model.Report(2, {{"CPU", 4 * kResourceUnit}});
  EXPECT_EQ((model.wanted.at({Address{1, 2, 0, 1}, 1}).assigned), 10U) << "behind ten thousand small ones";
  EXPECT_GT((model.wanted.at({Address{1, 1, 0, 1}, 2}).assigned), 40U);
  EXPECT_EQ(model.warnings, 1);
}

TEST(GlobalDemand, ABurstGoesEvenlyOverTheNodes) {
  for (const uint32_t tasks : {7U, 40U, 123U}) {
    Model model;
    for (uint32_t id = 1; id <= 10; ++id) model.AddNode(id, {{"CPU", 16 * kResourceUnit}}, {});
    model.Want({1, 1, 0, 1}, 1, Of(1, Strategy::kSpread), tasks);
    std::map<uint32_t, uint64_t> on;
    for (const auto& [node, d] : model.assigns) on[node] += d.count;
    for (uint32_t id = 1; id <= 10; ++id)
      EXPECT_NEAR(static_cast<double>(on[id]), tasks / 10.0, 1.0) << tasks << " tasks, node " << id;
    EXPECT_LE(model.assigns.size(), 20U) << "not one by one";
  }
}

// A thousand owners on every node ask, and only one slot is free again and again: the work does not grow with
// them.
TEST(GlobalDemand, AReportCostsNoLookAtAllOwners) {
  const auto cost = [](uint32_t owners) {
    Model model;
    for (uint32_t id = 1; id <= 100; ++id) {
      model.AddNode(id, {{"CPU", 8 * kResourceUnit}}, {});
      model.Report(id, {{"CPU", 0}});
    }
    for (uint32_t i = 0; i < owners; ++i)
      model.Want({1 + i % 100, static_cast<uint16_t>(1 + i / 100), 0, 1}, 1, Of(1), 1'000'000);
    timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < 20'000; ++i) model.Report(1 + i % 100, {{"CPU", 1 * kResourceUnit}});
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    EXPECT_EQ(model.assigns.size(), 20'000U);
    return static_cast<double>(end.tv_sec - begin.tv_sec) +
           1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
  };
  EXPECT_LT(cost(10'000), 10 * cost(100)) << "colder memory; a look at all would be 100 times as much";
}

}  // namespace
}  // namespace rmpi::sched
