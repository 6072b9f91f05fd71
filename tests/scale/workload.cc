// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/workload.h"

#include <algorithm>
#include <array>
#include <limits>
#include <queue>
#include <random>
#include <set>
#include <tuple>

namespace rmpi::scale {
namespace {

constexpr double kMeanRunS = 0.4 * 0.01 + 0.4 * 1 + 0.2 * 60;
constexpr double kMeanCpus = 0.6 * 1 + 0.3 * 4 + 0.1 * 64;
constexpr uint32_t kGangs = 10;

// ---- the list scheduler -----------------------------------------------------------------------------------

using Priority = std::tuple<double, double, size_t>;  // smaller ones come first
enum class Order { kSubmitted, kLongest, kBiggest };

Priority PriorityOf(Order order, const MixedTask& t, size_t number) {
  const auto run = -static_cast<double>(t.run);
  switch (order) {
    case Order::kSubmitted:
      return {0, 0, number};
    case Order::kLongest:
      return {run, -static_cast<double>(t.cpus), number};
    case Order::kBiggest:
      return {-static_cast<double>(t.cpus), run, number};
  }
  return {};
}

class ListScheduler {
 public:
  ListScheduler(const Size& size, Order order, bool gpus_first) : order_(order), gpus_first_(gpus_first) {
    for (uint32_t id = 1; id <= size.nodes; ++id)
      nodes_.push_back({size.cpus, size.GpusOf(id), size.GpusOf(id) != 0});
  }

  void Add(const MixedTask& t) { Waiting(t).emplace(PriorityOf(order_, t, number_++), t.run); }
  void AddLater(TimeNs at, const MixedTask& t) { events_.push({at, kNoNode, t}); }

  TimeNs Run() {
    FillAll();
    while (!events_.empty()) {
      const Event e = events_.top();
      events_.pop();
      now_ = e.at;
      if (e.node == kNoNode) {
        Add(e.task);
        FillAll();
      } else {
        nodes_[e.node].cpus += e.task.cpus;
        nodes_[e.node].gpus += e.task.gpus;
        Fill(e.node);
      }
    }
    return now_;
  }

 private:
  static constexpr size_t kNoNode = SIZE_MAX;
  struct Node {
    uint32_t cpus, gpus;
    bool has_gpus;
  };
  struct Event {
    TimeNs at;
    size_t node;  // where it ends; kNoNode: it comes
    MixedTask task;
    bool operator<(const Event& o) const { return at > o.at; }
  };
  using Line = std::set<std::pair<Priority, TimeNs>>;
  struct Kind {
    uint32_t cpus = 0, gpus = 0;
    Line line;
  };

  Line& Waiting(const MixedTask& t) {
    for (Kind& k : kinds_) {
      if (k.cpus == t.cpus && k.gpus == t.gpus) return k.line;
    }
    kinds_.push_back({t.cpus, t.gpus, {}});
    return kinds_.back().line;
  }

  void FillAll() {
    for (size_t i = 0; i < nodes_.size(); ++i) Fill(i);
  }

  void Fill(size_t at) {
    Node& node = nodes_[at];
    while (true) {
      Kind* next = nullptr;
      for (Kind& k : kinds_) {
        if (k.line.empty() || k.cpus > node.cpus || k.gpus > node.gpus) continue;
        const bool rather =
            gpus_first_ && node.has_gpus && next != nullptr && (k.gpus != 0) != (next->gpus != 0)
                ? k.gpus != 0
                : next == nullptr || k.line.begin()->first < next->line.begin()->first;
        if (rather) next = &k;
      }
      if (next == nullptr) return;
      const TimeNs run = next->line.begin()->second;
      next->line.erase(next->line.begin());
      node.cpus -= next->cpus;
      node.gpus -= next->gpus;
      events_.push({now_ + run, at, {run, next->cpus, next->gpus, 0}});
    }
  }

  Order order_;
  bool gpus_first_;
  TimeNs now_ = 0;
  size_t number_ = 0;
  std::vector<Node> nodes_;
  std::vector<Kind> kinds_;
  std::priority_queue<Event> events_;
};

}  // namespace

Workload Mixed(const Size& size, TimeNs span, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto percent = [&] { return random() % 100; };
  const double capacity = static_cast<double>(size.nodes) * size.cpus * static_cast<double>(span) / 1e9;
  Workload out;
  out.tasks.resize(static_cast<size_t>(capacity / (kMeanRunS * kMeanCpus)));
  for (MixedTask& t : out.tasks) {
    const uint64_t length = percent(), width = percent();
    t.run = length < 40 ? 10 * kMillisecond : length < 80 ? kSecond : 60 * kSecond;
    t.cpus = width < 60 ? 1 : width < 90 ? 4 : 64;
    t.gpus = percent() < 10 ? 1 : 0;
    if (percent() < 20) t.data = 1 + static_cast<uint32_t>(random() % size.nodes);
  }
  for (uint32_t i = 1; i <= kGangs; ++i) {
    out.gangs.push_back({span * i / (kGangs + 4), std::max(size.nodes / 8, 1U), 64, 60 * kSecond});
  }
  return out;
}

Bound ListSchedule(const Size& size, const Workload& work) {
  double cpu_ns = 0, gpu_ns = 0;
  Bound bound;
  bound.makespan = std::numeric_limits<TimeNs>::max();
  for (const MixedTask& t : work.tasks) {
    cpu_ns += static_cast<double>(t.run) * t.cpus;
    gpu_ns += static_cast<double>(t.run) * t.gpus;
    bound.longest = std::max(bound.longest, t.run);
  }
  for (const Gang& g : work.gangs) cpu_ns += static_cast<double>(g.run) * g.cpus * g.bundles;
  uint64_t gpus = 0;
  for (uint32_t id = 1; id <= size.nodes; ++id) gpus += size.GpusOf(id);
  bound.by_cpus = static_cast<TimeNs>(cpu_ns / size.nodes / size.cpus);
  if (gpus != 0) bound.by_gpus = static_cast<TimeNs>(gpu_ns / static_cast<double>(gpus));
  for (const Order order : {Order::kSubmitted, Order::kLongest, Order::kBiggest}) {
    for (const bool gpus_first : {false, true}) {
      ListScheduler s(size, order, gpus_first);
      for (const MixedTask& t : work.tasks) s.Add(t);
      for (const Gang& g : work.gangs) {
        for (uint32_t i = 0; i < g.bundles; ++i) s.AddLater(g.at, {g.run, g.cpus, 0, 0});
      }
      bound.makespan = std::min(bound.makespan, s.Run());
    }
  }
  return bound;
}

}  // namespace rmpi::scale
