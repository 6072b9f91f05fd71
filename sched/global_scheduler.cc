// SPDX-License-Identifier: Apache-2.0
#include "sched/global_scheduler.h"

#include <algorithm>

#include "runtime/worker/core_worker.h"

namespace rmpi::sched {
namespace {

constexpr auto kAffinityStrategy = static_cast<uint8_t>(Strategy::kNodeAffinity);
const std::vector<LabelRules> kAnyNode(1);
constexpr size_t kMostWarnings = 1000;
constexpr uint64_t kMostAtOnce = 1024;
// What the network does at least. An estimate is enough: it decides who waits a little, never who runs.
constexpr double kBytesPerUs = 1000;
constexpr double kLongestWaitUs = 50'000;  // well below what a raylet keeps an assignment for

const std::vector<LabelRules>& Alternatives(const Shape& shape) {
  return shape.labels.empty() ? kAnyNode : shape.labels;
}

// How far a node is from ever running this: what it lacks, as text, and how many things.
size_t Lacks(const Amounts& total, const Labels& labels, const Shape& shape, std::string* text) {
  size_t count = 0;
  for (const auto& [name, amount] : shape.resources) {
    if (ReportFits(total, {{name, amount}})) continue;
    *text += (count++ == 0 ? "" : ", ") + ToString({{name, AmountOf(total, name)}}) + " instead of " +
             ToString({{name, amount}});
  }
  if (!MatchesAny(labels, shape.labels)) *text += (count++ == 0 ? "" : ", ") + std::string("other labels");
  return count;
}

}  // namespace

bool GlobalScheduler::Node::Feasible(const Shape& shape) const {
  return ReportFits(total, shape.resources) && MatchesAny(labels, shape.labels);
}

void GlobalScheduler::AddNode(uint32_t node, const Amounts& total, const Labels& labels) {
  Node& n = nodes_[node];
  n.total = n.available = total;
  n.labels = labels;
  index_.Add(node, &n.total, &n.available, &n.labels);
  ++nodes_version_;
  Schedule();
}

void GlobalScheduler::RemoveNode(uint32_t node) {
  index_.Remove(node);
  nodes_.erase(node);
  ++nodes_version_;
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
  it->second.queued = 0;
  if (index_.HasMore(node) || waits_for_a_node_) Schedule();
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
  if (it == demands_.end()) it = demands_.insert(demands_.end(), Waiting{origin, m, 0, false});
  it->demand.count = left;
  it->demand.epoch = m.epoch;
  it->demand.run_us = m.run_us;
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
  demands_.push_back({m.owner.node, m, 0, true});
  Schedule();
}

void GlobalScheduler::OnOwnerGone(const Address& owner) {
  demands_.remove_if([&](const Waiting& w) { return w.demand.owner == owner; });
  EraseOwner(&ledgers_, owner);
}

bool GlobalScheduler::Feasible(const Shape& shape) const {
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& n) { return n.second.Feasible(shape); });
}

std::string GlobalScheduler::Infeasible(const Shape& shape) const {
  std::string nearest;
  size_t least = SIZE_MAX;
  for (const auto& [id, n] : nodes_) {
    std::string lacks;
    const size_t count = Lacks(n.total, n.labels, shape, &lacks);
    if (count >= least) continue;
    least = count;
    const std::string* host = LabelOf(n.labels, kHostLabel);
    nearest = "node " + std::to_string(id) + (host == nullptr ? "" : " on " + *host) + " has " + lacks;
  }
  return std::string("no node can ever run ") + (shape.actor ? "an actor" : "a task") + " that asks for " +
         ToString(shape.resources) +
         (shape.labels.empty() ? "" : " and the labels " + ToString(shape.labels)) +
         " (the nearest: " + (nearest.empty() ? "there is none" : nearest) +
         "); it waits for a node that can";
}

void GlobalScheduler::HandOff(const Waiting& w, uint64_t count) {
  if (w.rejected) return;  // it was handed off when it was assigned first
  const Demand& d = w.demand;
  ledgers_.at({d.owner, d.shape_key}).handed += count;
  host_->SendHandedOff(w.origin, HandedOff{d.owner, d.shape_key, d.epoch, count});
}

// At least one. Where the head has the choice, of more only what fits until others come first; else all of
// it, which is not counted to its end: the node will tell.
uint64_t GlobalScheduler::TakeMany(const Shape& shape, Node* n, uint64_t count) {
  const bool chosen = shape.strategy == 0;
  uint64_t taken = 0;
  do {
    TakeFromReport(&n->available, shape.resources);
  } while (++taken < std::min<uint64_t>(count, kMostAtOnce) &&
           (!chosen || (!Crowded(n->total, n->available) && ReportFits(n->available, shape.resources))));
  return chosen ? taken : count;
}

void GlobalScheduler::Assign(Waiting* w, uint32_t node, uint64_t count) {
  Demand d = w->demand;
  // What is for a group has its bundle already.
  if (d.shape.group == 0) count = TakeMany(d.shape, &nodes_.at(node), count);
  d.count = count;
  w->demand.count -= count;
  HandOff(*w, count);
  host_->SendAssign(node, d);
}

// It can never start: its owner is told, and does not count on it any more.
void GlobalScheduler::Refuse(Waiting* w, const std::string& reason, bool group_removed) {
  HandOff(*w, w->demand.count);
  host_->SendUnschedulable(w->demand.owner, {w->demand.shape_key, reason, group_removed});
  w->demand.count = 0;
}

// The origin serves its own default demand without us, as long as its raylet thinks that it should
// (LocalScheduler::Serves).
bool GlobalScheduler::ServesItself(const Waiting& w) const {
  const Shape& shape = w.demand.shape;
  const auto it = nodes_.find(w.origin);
  if (it == nodes_.end() || w.rejected || shape.strategy != 0) return false;
  if (!Matches(it->second.labels, Alternatives(shape).front())) return false;
  if (shape.affinity_node != 0) return shape.affinity_node == w.origin;
  if (nodes_.size() == 1) return true;
  if (HasGpus(it->second.total) && !HasGpus(shape.resources) && index_.has_plain_nodes()) return false;
  return !Crowded(it->second.total, it->second.available);
}

// Whether its arguments would take longer to another node than their own node will be full.
bool GlobalScheduler::WorthWaiting(const Waiting& w, const Node& wish) const {
  const Shape& shape = w.demand.shape;
  if (w.rejected || w.demand.run_us == 0 || shape.wish_log2_bytes == 0) return false;
  const double transfer_us = static_cast<double>(uint64_t{1} << shape.wish_log2_bytes) / kBytesPerUs;
  const int64_t each = AmountOf(shape.resources, "CPU");
  const double slots =
      each <= 0 ? 1
                : std::max(1.0, static_cast<double>(AmountOf(wish.total, "CPU")) / static_cast<double>(each));
  const double wait_us = w.demand.run_us * (1.0 + wish.queued) / slots;
  return wait_us < std::min(transfer_us, kLongestWaitUs);
}

uint32_t GlobalScheduler::Pick(const Waiting& w, const LabelRules& rules) {
  const Shape& shape = w.demand.shape;
  if (shape.strategy != 0) {
    const uint32_t node = index_.Next(shape.resources, rules, spread_cursor_);
    if (node != 0) spread_cursor_ = node;
    return node;
  }
  const auto wish = nodes_.find(shape.affinity_node);
  if (wish != nodes_.end() && Matches(wish->second.labels, rules)) {
    if (ReportFits(wish->second.available, shape.resources)) return wish->first;
    if (ReportFits(wish->second.total, shape.resources) && WorthWaiting(w, wish->second)) {
      ++wish->second.queued;
      return wish->first;
    }
  }
  const uint32_t near = wish != nodes_.end() ? wish->first : w.origin;
  return index_.Pack(shape.resources, rules, near, ServesItself(w) ? w.origin : 0);
}

void GlobalScheduler::WarnIfInfeasible(Waiting* w) {
  if (w->looked_at == nodes_version_) return;
  w->looked_at = nodes_version_;
  const Shape& shape = w->demand.shape;
  if (Feasible(shape) || warned_.size() >= kMostWarnings) return;
  if (warned_.insert(ToString(shape.resources) + ToString(shape.labels)).second)
    host_->Warn(Infeasible(shape));
}

bool GlobalScheduler::Place(Waiting* w) {
  const Shape& shape = w->demand.shape;
  if (shape.group != 0) return PlaceInGroup(w);
  if (shape.strategy == kAffinityStrategy) {
    const auto it = nodes_.find(shape.affinity_node);
    const bool possible = it != nodes_.end() && it->second.Feasible(shape);
    const bool now = possible && ReportFits(it->second.available, shape.resources);
    const bool one = shape.affinity_soft || shape.affinity_now;
    if (one ? now : possible) {
      Assign(w, it->first, one ? 1 : w->demand.count);
      return true;
    }
    if (!shape.affinity_soft && (!possible || shape.affinity_now)) {
      const std::string what =
          "the node of its NodeAffinitySchedulingStrategy (node " + std::to_string(shape.affinity_node) + ")";
      const std::string labels = possible || it == nodes_.end() || MatchesAny(it->second.labels, shape.labels)
                                     ? ""
                                     : " and the labels " + ToString(shape.labels);
      Refuse(w,
             it == nodes_.end() ? what + " does not exist or is dead, and soft=False"
             : possible         ? what + " has no room now, and _fail_on_unavailable=True"
                                : what + " has " + ToString(it->second.total) + ", the task asks for " +
                              ToString(shape.resources) + labels + ", and soft=False",
             false);
      return false;
    }
    // Soft, but its node only has to finish something first.
    if (possible && !shape.affinity_now) return false;
  }
  for (const LabelRules& rules : Alternatives(shape)) {
    const uint32_t node = Pick(*w, rules);
    if (node == 0) continue;
    Assign(w, node, shape.strategy == 0 && shape.affinity_node == 0 ? w->demand.count : 1);
    return true;
  }
  WarnIfInfeasible(w);
  return false;
}

void GlobalScheduler::Schedule() {
  if (scheduling_) return;  // a send to ourselves came back
  scheduling_ = true;
  waits_for_a_node_ = false;
  for (auto it = demands_.begin(); it != demands_.end();) {
    while (it->demand.count > 0 && Place(&*it)) {
    }
    const Shape& shape = it->demand.shape;
    waits_for_a_node_ |= it->demand.count > 0 && (shape.strategy == kAffinityStrategy || shape.group != 0);
    it = it->demand.count == 0 ? demands_.erase(it) : std::next(it);
  }
  scheduling_ = false;
}

}  // namespace rmpi::sched
