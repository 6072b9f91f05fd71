// SPDX-License-Identifier: Apache-2.0
// GlobalScheduler: what starves. A task of many CPUs would wait for ever beside a stream of small ones, since
// no node ever has so many free at once; and any task beside an owner whose leases never fall idle. So a
// class that waits, and of which nothing was placed between two looks, has one node drained for one of its
// tasks: the task is assigned there with an earmark (local_earmark.cc). What is earmarked lies idle; hence
// one node per class and look, and few in all.
// What wants devices gets one even if some of its class has been placed, where such devices lie idle because
// others' tasks have the CPUs beside them.
#include <algorithm>
#include <utility>
#include <vector>

#include "sched/global_scheduler.h"

namespace rmpi::sched {
namespace {

// An earmark stands for so long at most; when that was in vain, so long there is none for the class, and the
// next one may stand twice as long: tasks of any length that is bounded come to an end in one of them.
constexpr uint32_t kFirstPatienceMs = 10'000, kLastPatienceMs = 640'000;
constexpr uint32_t kLookMs = 1000;       // from one look to the next
constexpr uint32_t kRest = 5;            // looks, where nobody had anything to give
constexpr size_t kNodesPerEarmark = 16;  // at least so many nodes for each that is drained
constexpr size_t kMostLooks = 64;        // at nodes, for one task

// How much of what it needs most is there, 0 to 1.
double Free(const Amounts& available, const Amounts& want) {
  double least = 1;
  for (const auto& [name, amount] : want) {
    if (amount > 0)
      least = std::min(least, static_cast<double>(AmountOf(available, name)) / static_cast<double>(amount));
  }
  return least;
}

}  // namespace

// Of some nodes that could run it if others' tasks there ended the one that is nearest to it. For a class
// that fares: where the devices that it wants are free.
uint32_t GlobalScheduler::NodeToDrain(const Shape& shape, bool fares) {
  const Amounts units = UnitsOf(shape.resources);
  uint32_t best = 0;
  double most = 0;
  auto it = nodes_.upper_bound(drain_cursor_);
  for (size_t i = 0; i < std::min(kMostLooks, nodes_.size()); ++i, ++it) {
    if (it == nodes_.end()) it = nodes_.begin();
    const auto& [id, n] = *it;
    drain_cursor_ = id;
    if (n.earmarked || !n.Feasible(shape)) continue;
    if (fares && !ReportFits(n.available, units)) continue;
    Amounts freeable = n.total;
    Subtract(&freeable, n.kept);
    Subtract(&freeable, n.in_bundles);
    if (!Fits(freeable, shape.resources)) continue;
    // Those with GPUs come second for work that needs none.
    const double gpus = HasGpus(n.total) && !HasGpus(shape.resources) ? -2 : 0;
    const double free = std::max(0.0, 1 + Free(n.available, shape.resources)) + gpus;
    if (best == 0 || free > most) {
      best = id;
      most = free;
    }
  }
  return best;
}

void GlobalScheduler::Starves(Class* c, bool fares) {
  Waiting& w = c->lines.at(c->next.begin()->second).front();
  const OwnerKey key{w.demand.owner, w.demand.shape_key, w.rejected};
  const uint32_t node = NodeToDrain(w.demand.shape, fares);
  if (node == 0) return;
  c->patience_ms = std::max(c->patience_ms, kFirstPatienceMs);
  SetEarmarked(&nodes_.at(node), true);
  HandOff(w, 1);
  assigned_.emplace_back(node, w.demand);
  assigned_.back().second.count = 1;
  assigned_.back().second.earmark_ms = c->patience_ms;
  SetCount(&by_owner_.at(key), w.demand.count - 1);
  if (w.demand.count == 0) {
    Erase(key);
  } else {
    Turn(&by_owner_.at(key));
  }
}

void GlobalScheduler::ServeStarved() {
  std::vector<std::pair<Class*, bool>> starving;
  for (const auto& [turn, c] : exhausted_) {
    const Shape& shape = c->lines.begin()->second.front().demand.shape;
    if (shape.group != 0 || shape.strategy == Strategy::kNodeAffinity) continue;
    if (c->rests > 0) {
      --c->rests;
    } else if (const bool fares = std::exchange(c->fares, false);
               !fares || !UnitsOf(shape.resources).empty()) {
      starving.emplace_back(c, fares);
    }
  }
  for (const auto& [c, fares] : starving) {
    if (earmarks_ >= std::max<size_t>(1, nodes_.size() / kNodesPerEarmark)) break;
    Starves(c, fares);
    if (c->owners != 0) File(c, false);  // the others are first next time
  }
  Flush();
}

void GlobalScheduler::SetEarmarked(Node* n, bool earmarked) {
  if (earmarked != n->earmarked) earmarked ? ++earmarks_ : --earmarks_;
  n->earmarked = earmarked;
}

// `stood_ms`: it was not long enough; 0: there was nobody there to take from.
void GlobalScheduler::EarmarkFailed(uint32_t node, const Shape& shape, uint32_t stood_ms) {
  const auto n = nodes_.find(node);
  if (n != nodes_.end()) SetEarmarked(&n->second, false);
  const auto c = classes_.find(ClassOf(shape));
  if (c == classes_.end()) return;
  c->second.rests = std::max(kRest, stood_ms / kLookMs);
  if (stood_ms != 0) c->second.patience_ms = std::min(2 * stood_ms, kLastPatienceMs);
}

}  // namespace rmpi::sched
