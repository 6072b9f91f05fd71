// SPDX-License-Identifier: Apache-2.0
#include "sched/global_scheduler.h"

#include <algorithm>

namespace rmpi::sched {
namespace {

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
  return !leaving && ReportFits(total, shape.resources) && MatchesAny(labels, shape.labels);
}

void GlobalScheduler::AddNode(uint32_t node, const Amounts& total, const Labels& labels) {
  Node& n = nodes_[node];
  n.total = n.available = total;
  n.labels = labels;
  index_.Add(node, &n.total, &n.available, &n.labels);
  ++nodes_version_;
  OpenAll([](const Shape&) { return true; });
  Schedule();
}

void GlobalScheduler::DrainNode(uint32_t node) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end() || it->second.leaving) return;
  index_.Remove(node);
  it->second.leaving = true;
  ++leaving_;
  SetEarmarked(&it->second, false);
  it->second.available.clear();
  ++nodes_version_;
  GiveBackInfeasible();
  OpenAll([](const Shape&) { return true; });
  Schedule();
}

bool GlobalScheduler::Leaving(uint32_t node) const {
  const auto it = nodes_.find(node);
  return it != nodes_.end() && it->second.leaving;
}

void GlobalScheduler::RemoveNode(uint32_t node) {
  Leaving(node) ? static_cast<void>(--leaving_) : index_.Remove(node);
  if (const auto it = nodes_.find(node); it != nodes_.end()) SetEarmarked(&it->second, false);
  nodes_.erase(node);
  ++nodes_version_;
  for (auto& [group, bundles] : groups_) {
    for (Bundle& b : bundles) b.node = b.node == node ? 0 : b.node;
  }
  // Owners ask anew for all they still want when a node dies: what it had been assigned is lost with it. So
  // what was rejected is not kept either.
  std::vector<OwnerKey> gone;
  for (const auto& [key, filed] : by_owner_) {
    if (key.rejected || key.owner.node == node || filed.at->origin == node) gone.push_back(key);
  }
  for (const OwnerKey& key : gone) Erase(key);
  std::erase_if(ledgers_, [&](const auto& l) { return l.first.first.node == node; });
  OpenAll([](const Shape&) { return true; });
  Schedule();
}

void GlobalScheduler::OnReport(uint32_t node, const Amounts& available, const Amounts& kept,
                               const std::vector<BundleReport>& bundles, bool earmarked) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end() || it->second.leaving) return;
  Node& n = it->second;
  n.available = available;
  n.kept = kept;
  n.queued = 0;
  SetEarmarked(&n, earmarked);
  std::set<uint32_t> groups;
  for (const BundleReport& b : bundles) {
    const auto group = groups_.find(b.group);
    if (group == groups_.end() || b.index >= group->second.size() || group->second[b.index].node != node)
      continue;
    group->second[b.index].available = b.available;
    groups.insert(b.group);
  }
  index_.HasMore(node);
  OpenAll([&](const Shape& shape) {
    if (shape.group != 0) return groups.contains(shape.group);
    const bool waits_for_other = shape.strategy == Strategy::kNodeAffinity && shape.affinity_node != node &&
                                 nodes_.contains(shape.affinity_node) && !Leaving(shape.affinity_node);
    return !waits_for_other && ReportFits(n.available, shape.resources) && MatchesAny(n.labels, shape.labels);
  });
  Schedule();
}

const Amounts* GlobalScheduler::available(uint32_t node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second.available;
}

bool GlobalScheduler::Feasible(const Shape& shape) const {
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& n) { return n.second.Feasible(shape); });
}

std::string GlobalScheduler::Infeasible(const Shape& shape) const {
  std::string nearest;
  size_t least = SIZE_MAX;
  for (const auto& [id, n] : nodes_) {
    if (n.leaving) continue;
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

std::string GlobalScheduler::WhyNever(const Shape& shape) const {
  if (shape.group != 0 || Feasible(shape)) return "";
  return Infeasible(shape);
}

void GlobalScheduler::HandOff(const Waiting& w, uint64_t count) {
  if (w.rejected) return;  // it was handed off when it was assigned first
  const Demand& d = w.demand;
  ledgers_.at({d.owner, d.shape_key}).handed += count;
  HandedOff& m = handed_[{w.origin, {d.owner, d.shape_key, false}}];
  m = {d.owner, d.shape_key, d.epoch, (m.epoch == d.epoch ? m.count : 0) + count};
}

void GlobalScheduler::Assign(Waiting* w, uint32_t node, uint64_t count) {
  const Demand& d = w->demand;
  // What is for a group has its bundle already. What waits there need not be counted to its end: the node
  // will tell.
  if (d.shape.group == 0)
    TakeManyFromReport(&nodes_.at(node).available, d.shape.resources, std::min(count, kMostAtOnce));
  HandOff(*w, count);
  by_owner_.at({d.owner, d.shape_key, w->rejected}).of->fares = true;
  assigned_.emplace_back(node, d);
  assigned_.back().second.count = count;
  SetCount(&by_owner_.at({d.owner, d.shape_key, w->rejected}), d.count - count);
}

// It can never start: its owner is told, and does not count on it any more.
void GlobalScheduler::Refuse(Waiting* w, const std::string& reason, bool group_removed) {
  const Demand& d = w->demand;
  HandOff(*w, d.count);
  refused_.emplace_back(d.owner, Unschedulable{d.shape_key, reason, group_removed});
  SetCount(&by_owner_.at({d.owner, d.shape_key, w->rejected}), 0);
}

// Origins first: one that is chosen itself must not count what it is assigned as its own demand, too.
void GlobalScheduler::Flush() {
  const auto handed = std::exchange(handed_, {});
  const auto assigned = std::exchange(assigned_, {});
  const auto refused = std::exchange(refused_, {});
  for (const auto& [key, m] : handed) host_->SendHandedOff(key.first, m);
  for (const auto& [node, d] : assigned) host_->SendAssign(node, d);
  for (const auto& [owner, m] : refused) host_->SendUnschedulable(owner, m);
}

// ---- nodes ------------------------------------------------------------------------------------------------

// How much of it goes to a node that has room. At least one.
uint64_t GlobalScheduler::BatchFor(Class* c, const Waiting& w, const LabelRules& rules, uint32_t node) {
  const Node& n = nodes_.at(node);
  const Shape& shape = w.demand.shape;
  const uint64_t fits = CountFits(n.available, shape.resources, kMostAtOnce);
  const uint64_t nodes = std::max<size_t>(index_.CountWithRoom(shape.resources, rules), 1);
  uint64_t batch = w.demand.count;
  if (shape.strategy == Strategy::kDefault && node != shape.affinity_node) {
    batch =
        std::max(CountUntilCrowded(n.total, n.available, shape.resources), (c->wanted + nodes - 1) / nodes);
  } else if (shape.strategy != Strategy::kDefault) {
    if (c->round == 0) {
      c->each = std::max<uint64_t>(c->wanted / nodes, 1);
      c->round = nodes;
    }
    --c->round;
    batch = c->each;
  }
  const uint64_t part = nodes_.size() * CountFits(n.total, shape.resources, kMostAtOnce) / c->owners;
  return std::max<uint64_t>(std::min({batch, fits, part, w.demand.count}), 1);
}

// The origin serves its own default demand without us, as long as its raylet thinks that it should
// (LocalScheduler::Serves).
bool GlobalScheduler::ServesItself(const Waiting& w) const {
  const Shape& shape = w.demand.shape;
  const auto it = nodes_.find(w.origin);
  if (it == nodes_.end() || it->second.leaving || Hidden(w.origin, shape, w.rejected) == 0) return false;
  if (!Matches(it->second.labels, Alternatives(shape).front())) return false;
  if (shape.affinity_node != 0) return true;
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
  if (shape.strategy != Strategy::kDefault) {
    const uint32_t node = index_.Next(shape.resources, rules, spread_cursor_);
    if (node != 0) spread_cursor_ = node;
    return node;
  }
  const auto wish = nodes_.find(shape.affinity_node);
  if (wish != nodes_.end() && !wish->second.leaving && Matches(wish->second.labels, rules)) {
    if (ReportFits(wish->second.available, shape.resources)) return wish->first;
    if (ReportFits(wish->second.total, shape.resources) && WorthWaiting(w, wish->second)) {
      ++wish->second.queued;
      return wish->first;
    }
  }
  const uint32_t near = wish != nodes_.end() ? wish->first : w.origin;
  return index_.Pack(shape.resources, rules, near, ServesItself(w) ? w.origin : 0);
}

void GlobalScheduler::WarnIfInfeasible(Class* c, const Shape& shape) {
  if (c->looked_at == nodes_version_) return;
  c->looked_at = nodes_version_;
  if (Feasible(shape) || warned_.size() >= kMostWarnings) return;
  if (warned_.insert(ToString(shape.resources) + ToString(shape.labels)).second)
    host_->Warn(Infeasible(shape));
}

bool GlobalScheduler::Place(Class* c, Waiting* w) {
  const Shape& shape = w->demand.shape;
  if (shape.group != 0) return PlaceInGroup(w);
  if (shape.strategy == Strategy::kNodeAffinity) {
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
             it == nodes_.end()   ? what + " does not exist or is dead, and soft=False"
             : it->second.leaving ? what + " is being drained, and soft=False"
             : possible           ? what + " has no room now, and _fail_on_unavailable=True"
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
    Assign(w, node, BatchFor(c, *w, rules, node));
    return true;
  }
  WarnIfInfeasible(c, shape);
  return false;
}

// The next of a class for which there is room. False: there is none for any of them.
bool GlobalScheduler::PlaceOneOf(Class* c) {
  // There may be room just where the first came from, who is served there: that is for others. And where the
  // second came from; if neither finds any, there is none.
  auto next = c->next.begin();
  for (int tries = 0; tries < 2 && next != c->next.end(); ++tries, ++next) {
    Waiting& w = c->lines.at(next->second).front();
    const OwnerKey key{w.demand.owner, w.demand.shape_key, w.rejected};
    const bool hidden = ServesItself(w);
    const bool placed = Place(c, &w);
    if (w.demand.count == 0) {
      Erase(key);
      return true;
    }
    if (placed) {
      Turn(&by_owner_.at(key));
      return true;
    }
    if (!hidden) return false;
  }
  return false;
}

void GlobalScheduler::Schedule() {
  if (scheduling_) return;  // a warning came back
  scheduling_ = true;
  while (!open_.empty()) {
    Class* c = open_.begin()->second;
    const bool placed = PlaceOneOf(c);
    if (c->owners != 0) File(c, placed);
  }
  Prune();
  scheduling_ = false;
  Flush();
}

}  // namespace rmpi::sched
