// SPDX-License-Identifier: Apache-2.0
#include "sched/global_scheduler.h"

#include <algorithm>

#include "runtime/worker/core_worker.h"

namespace rmpi::sched {
namespace {

constexpr auto kAffinityStrategy = static_cast<uint8_t>(Strategy::kNodeAffinity);

}  // namespace

void GlobalScheduler::AddNode(uint32_t node, const Amounts& total) {
  nodes_[node] = Node{total, total, {}, {}};
  Schedule();
}

void GlobalScheduler::RemoveNode(uint32_t node) {
  nodes_.erase(node);
  for (auto& [group, bundles] : groups_) {
    for (Bundle& b : bundles) b.node = b.node == node ? 0 : b.node;
  }
  // Owners ask anew for all they still want when a node dies: what it had been assigned is lost with it. So
  // what was rejected is not kept either.
  demands_.remove_if(
      [&](const Waiting& w) { return w.origin == node || w.demand.owner.node == node || w.rejected; });
  std::erase_if(ledgers_, [&](const auto& l) { return l.first.first.node == node; });
  Schedule();
}

void GlobalScheduler::OnReport(uint32_t node, const Amounts& available, const Amounts& kept,
                               const std::vector<BundleReport>& bundles) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end()) return;
  it->second.available = available;
  it->second.kept = kept;
  for (const BundleReport& b : bundles) {
    const auto group = groups_.find(b.group);
    if (group != groups_.end() && b.index < group->second.size() && group->second[b.index].node == node)
      group->second[b.index].available = b.available;
  }
  if (!demands_.empty()) Schedule();
}

const Amounts* GlobalScheduler::available(uint32_t node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second.available;
}

void GlobalScheduler::OnDemand(uint32_t origin, const Demand& m) {
  auto it = std::find_if(demands_.begin(), demands_.end(), [&](const Waiting& w) {
    return !w.rejected && w.origin == origin && w.demand.owner == m.owner &&
           w.demand.shape_key == m.shape_key;
  });
  Ledger& ledger = ledgers_[{m.owner, m.shape_key}];
  if (ledger.epoch != m.epoch) ledger = {m.epoch, 0};
  const uint64_t left = m.count - std::min(m.count, ledger.handed);
  if (left == 0) {
    if (it != demands_.end()) demands_.erase(it);
    return;
  }
  if (it == demands_.end()) it = demands_.insert(demands_.end(), Waiting{origin, m, false, false});
  it->demand.count = left;
  it->demand.epoch = m.epoch;
  Schedule();
}

void GlobalScheduler::OnReject(uint32_t node, const Demand& m) {
  // Its report comes with the rejection or soon after; until then it is full for us.
  if (m.shape.group == 0) {
    TakeForFull(node);
  } else if (const auto group = groups_.find(m.shape.group); group != groups_.end()) {
    for (Bundle& b : group->second) {
      if (b.node != node) continue;
      for (auto& [name, amount] : b.available) amount = std::min<int64_t>(amount, 0);
    }
  }
  for (Waiting& w : demands_) {
    if (w.rejected && w.demand.owner == m.owner && w.demand.shape_key == m.shape_key &&
        w.demand.epoch == m.epoch) {
      w.demand.count += m.count;
      Schedule();
      return;
    }
  }
  demands_.push_back({m.owner.node, m, false, true});
  Schedule();
}

void GlobalScheduler::OnOwnerGone(const Address& owner) {
  demands_.remove_if([&](const Waiting& w) { return w.demand.owner == owner; });
  EraseOwner(&ledgers_, owner);
}

bool GlobalScheduler::Feasible(const Shape& shape) const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [&](const auto& n) { return ReportFits(n.second.total, shape.resources); });
}

std::string GlobalScheduler::Infeasible(const Shape& shape) const {
  std::string have;
  for (const auto& [id, n] : nodes_) {
    if (have.size() > 400) {
      have += ", ...";
      break;
    }
    have += (have.empty() ? "" : ", ") + ("node " + std::to_string(id)) + " has " + ToString(n.total);
  }
  return std::string("no node can ever run ") + (shape.actor ? "an actor" : "a task") + " that asks for " +
         ToString(shape.resources) + " (" + have + "); it waits for a node that can";
}

void GlobalScheduler::HandOff(const Waiting& w, uint64_t count) {
  if (w.rejected) return;  // it was handed off when it was assigned first
  const Demand& d = w.demand;
  ledgers_.at({d.owner, d.shape_key}).handed += count;
  host_->SendHandedOff(w.origin, HandedOff{d.owner, d.shape_key, d.epoch, count});
}

void GlobalScheduler::Assign(Waiting* w, uint32_t node, uint64_t count) {
  Demand d = w->demand;
  d.count = count;
  w->demand.count -= count;
  Node& n = nodes_.at(node);
  for (uint64_t i = 0; i < count && i < 1024 && d.shape.group == 0; ++i)
    TakeFromReport(&n.available, d.shape.resources);
  HandOff(*w, count);
  host_->SendAssign(node, d);
}

// It can never start: its owner is told, and does not count on it any more.
void GlobalScheduler::Refuse(Waiting* w, const std::string& reason, bool group_removed) {
  HandOff(*w, w->demand.count);
  host_->SendUnschedulable(w->demand.owner, {w->demand.shape_key, reason, group_removed});
  w->demand.count = 0;
}

uint32_t GlobalScheduler::PickDefault(const Waiting& w) {
  const Shape& shape = w.demand.shape;
  const auto wish = nodes_.find(shape.affinity_node);
  if (wish != nodes_.end() && ReportFits(wish->second.available, shape.resources)) return wish->first;
  // The origin serves its own default demand by itself; for a wish elsewhere it is as good as any.
  const bool origin_too = w.rejected || (shape.affinity_node != 0 && shape.affinity_node != w.origin);
  uint32_t best = 0;
  double best_use = 2;
  for (const auto& [id, n] : nodes_) {
    if ((id == w.origin && !origin_too) || !ReportFits(n.available, shape.resources)) continue;
    const double use = CriticalUse(n.total, n.available);
    if (use < best_use) {
      best = id;
      best_use = use;
    }
  }
  return best;
}

uint32_t GlobalScheduler::PickSpread(const Waiting& w) {
  for (int round = 0; round < 2; ++round) {  // from the cursor to the end, then from the start
    for (auto it = nodes_.upper_bound(round == 0 ? spread_cursor_ : 0); it != nodes_.end(); ++it) {
      if (!ReportFits(it->second.available, w.demand.shape.resources)) continue;
      spread_cursor_ = it->first;
      return it->first;
    }
  }
  return 0;
}

bool GlobalScheduler::Place(Waiting* w) {
  const Shape& shape = w->demand.shape;
  if (shape.group != 0) return PlaceInGroup(w);
  if (shape.strategy == kAffinityStrategy) {
    const auto it = nodes_.find(shape.affinity_node);
    const bool possible = it != nodes_.end() && ReportFits(it->second.total, shape.resources);
    if (possible && (!shape.affinity_soft || ReportFits(it->second.available, shape.resources))) {
      Assign(w, it->first, shape.affinity_soft ? 1 : w->demand.count);
      return true;
    }
    if (!possible && !shape.affinity_soft) {
      const std::string what =
          "the node of its NodeAffinitySchedulingStrategy (node " + std::to_string(shape.affinity_node) + ")";
      Refuse(w,
             it == nodes_.end() ? what + " does not exist or is dead, and soft=False"
                                : what + " has " + ToString(it->second.total) + ", the task asks for " +
                                      ToString(shape.resources) + ", and soft=False",
             false);
      return false;
    }
    if (possible) return false;  // soft, but its node only has to finish something first
  }
  const uint32_t node = shape.strategy == 0 ? PickDefault(*w) : PickSpread(*w);
  if (node != 0) {
    Assign(w, node, 1);
    return true;
  }
  if (!w->warned && !Feasible(shape)) {
    w->warned = true;
    host_->Warn(Infeasible(shape));
  }
  return false;
}

void GlobalScheduler::Schedule() {
  if (scheduling_) return;  // a send to ourselves came back
  scheduling_ = true;
  for (auto it = demands_.begin(); it != demands_.end();) {
    while (it->demand.count > 0 && Place(&*it)) {
    }
    it = it->demand.count == 0 ? demands_.erase(it) : std::next(it);
  }
  scheduling_ = false;
}

}  // namespace rmpi::sched
