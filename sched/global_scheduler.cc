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

constexpr uint64_t kLargestBatch = 1024;
constexpr size_t kOriginsTried = 16;
constexpr size_t kKeptClasses = 64;

// What is the same for all demand that any node serves alike.
Shape ClassOf(const Shape& shape) {
  Shape c = shape;
  c.depth = 0;
  c.job = {};
  c.language = 0;
  c.actor = false;
  if (c.strategy == 0) c.affinity_node = 0;  // a wish
  return c;
}

}  // namespace

void GlobalScheduler::AddNode(uint32_t node, const Amounts& total) {
  Node& n = nodes_[node];
  n.total = total;
  n.use = 1;
  by_use_.emplace(n.use, node);
  SetAvailable(node, &n, total);
  Offer(node);
}

void GlobalScheduler::RemoveNode(uint32_t node) {
  if (const auto it = nodes_.find(node); it != nodes_.end()) {
    by_use_.erase({it->second.use, node});
    with_room_ -= it->second.use < 1;
    nodes_.erase(it);
  }
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
  Reopen([](uint32_t) { return true; });
  Schedule();
}

void GlobalScheduler::OnReport(uint32_t node, const Amounts& available, const Amounts& kept,
                               const std::vector<BundleReport>& bundles) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end()) return;
  SetAvailable(node, &it->second, available);
  it->second.kept = kept;
  std::set<uint32_t> groups;
  for (const BundleReport& b : bundles) {
    const auto group = groups_.find(b.group);
    if (group == groups_.end() || b.index >= group->second.size() || group->second[b.index].node != node)
      continue;
    group->second[b.index].available = b.available;
    groups.insert(b.group);
  }
  if (!groups.empty()) Reopen([&](uint32_t group) { return groups.contains(group); });
  Offer(node);
}

const Amounts* GlobalScheduler::available(uint32_t node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second.available;
}

void GlobalScheduler::SetAvailable(uint32_t id, Node* n, Amounts available) {
  n->available = std::move(available);
  const double use = CriticalUse(n->total, n->available);
  if (use == n->use) return;
  auto entry = by_use_.extract({n->use, id});
  with_room_ -= n->use < 1;
  with_room_ += use < 1;
  n->use = use;
  entry.value().first = use;
  by_use_.insert(std::move(entry));
}

// ---- demand -----------------------------------------------------------------------------------------------

void GlobalScheduler::OnDemand(uint32_t origin, const Demand& m) {
  Ledger& ledger = ledgers_[{m.owner, m.shape_key}];
  if (ledger.epoch != m.epoch) ledger = {m.epoch, 0};
  const uint64_t left = m.count - std::min(m.count, ledger.handed);
  const OwnerKey key{m.owner, m.shape_key, false};
  if (left == 0) return Erase(key);
  const auto known = by_owner_.find(key);
  if (known == by_owner_.end()) {
    Insert({origin, m, 0, false});
    by_owner_.at(key).at->demand.count = left;
  } else {
    known->second.at->demand.count = left;
    known->second.at->demand.epoch = m.epoch;
  }
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
  const OwnerKey key{m.owner, m.shape_key, true};
  const auto known = by_owner_.find(key);
  if (known != by_owner_.end() && known->second.at->demand.epoch == m.epoch) {
    known->second.at->demand.count += m.count;
  } else {
    Erase(key);  // of a former epoch: nobody counts on it any more
    Insert({m.owner.node, m, 0, true});
  }
  File(by_owner_.at(key).of, false);  // its origin, which the class was not offered, may have room
  Schedule();
}

void GlobalScheduler::OnOwnerGone(const Address& owner) {
  std::vector<OwnerKey> gone;
  for (auto it = by_owner_.lower_bound({owner, 0, false}); it != by_owner_.end() && it->first.owner == owner;
       ++it)
    gone.push_back(it->first);
  for (const OwnerKey& key : gone) Erase(key);
  EraseOwner(&ledgers_, owner);
}

void GlobalScheduler::Insert(Waiting w) {
  Class* c = &classes_[ClassOf(w.demand.shape)];
  w.order = ++next_order_;
  const OwnerKey key{w.demand.owner, w.demand.shape_key, w.rejected};
  c->waiting.push_back(std::move(w));
  by_owner_[key] = {c, std::prev(c->waiting.end())};
  File(c, c->exhausted && !c->but_origin);
}

void GlobalScheduler::Erase(const OwnerKey& key) {
  const auto it = by_owner_.find(key);
  if (it == by_owner_.end()) return;
  const Filed filed = it->second;
  by_owner_.erase(it);
  filed.of->waiting.erase(filed.at);
  File(filed.of, filed.of->exhausted);
}

// Where a class is looked for, after its oldest or its state has changed.
void GlobalScheduler::File(Class* c, bool exhausted) {
  (c->exhausted ? exhausted_ : open_).erase({c->filed, c});
  c->exhausted = exhausted && !c->waiting.empty();
  if (c->waiting.empty()) {
    c->warned = false;
    return;
  }
  c->filed = c->waiting.front().order;
  (exhausted ? exhausted_ : open_).emplace(c->filed, c);
}

// Classes that nothing waits in go when there are many.
void GlobalScheduler::Prune() {
  if (classes_.size() < 2 * (open_.size() + exhausted_.size()) + kKeptClasses) return;
  std::erase_if(classes_, [](const auto& c) { return c.second.waiting.empty(); });
}

// All that wait for one of those groups, or for none (0), are looked at again.
void GlobalScheduler::Reopen(const std::function<bool(uint32_t group)>& which) {
  const Classes all = exhausted_;
  for (const auto& [order, c] : all) {
    if (which(c->waiting.front().demand.shape.group)) File(c, false);
  }
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

// At least one; of more only what fits until others come first.
uint64_t GlobalScheduler::TakeMany(const Waiting& w, Node* n, uint64_t most) const {
  uint64_t taken = 0;
  do {
    TakeFromReport(&n->available, w.demand.shape.resources);
  } while (++taken < std::min<uint64_t>(most, kMostAtOnce) && !Crowded(n->total, n->available) &&
           ReportFits(n->available, w.demand.shape.resources));
  return taken;
}

void GlobalScheduler::Assign(Waiting* w, uint32_t node, uint64_t count) {
  Demand d = w->demand;
  Node& n = nodes_.at(node);
  if (d.shape.group != 0) {
    // Its bundle has it already.
  } else if (d.shape.strategy == 0) {
    count = TakeMany(*w, &n, count);
  } else {
    for (uint64_t i = 0; i < count && i < 1024; ++i) TakeFromReport(&n.available, d.shape.resources);
  }
  d.count = count;
  w->demand.count -= count;
  if (d.shape.group == 0) {
    Node& n = nodes_.at(node);
    Amounts left = n.available;
    for (uint64_t i = 0; i < count && i < kLargestBatch; ++i) TakeFromReport(&left, d.shape.resources);
    SetAvailable(node, &n, std::move(left));
  }
  HandOff(*w, count);
  host_->SendAssign(node, d);
}

// It can never start: its owner is told, and does not count on it any more.
void GlobalScheduler::Refuse(Waiting* w, const std::string& reason, bool group_removed) {
  HandOff(*w, w->demand.count);
  host_->SendUnschedulable(w->demand.owner, {w->demand.shape_key, reason, group_removed});
  w->demand.count = 0;
}

// ---- nodes ------------------------------------------------------------------------------------------------

// How much of it goes there at once: its share of what is wanted, if all nodes with room got one, and no more
// than fits.
uint64_t GlobalScheduler::BatchFor(const Waiting& w, const Node& n) const {
  const uint64_t wanted = w.demand.count;
  const uint64_t share = only_ != 0 ? wanted : (wanted + with_room_ - 1) / std::max<size_t>(1, with_room_);
  const uint64_t most = std::clamp<uint64_t>(share, 1, std::min(wanted, kLargestBatch));
  Amounts left = n.available;
  uint64_t count = 0;
  for (; count < most && ReportFits(left, w.demand.shape.resources); ++count)
    TakeFromReport(&left, w.demand.shape.resources);
  return std::max<uint64_t>(1, count);
}

// The nodes that may be chosen now, the emptiest first, until one is taken.
bool GlobalScheduler::EachByUse(const std::function<bool(uint32_t, const Node&)>& take) const {
  if (only_ != 0) return take(only_, nodes_.at(only_));
  return std::any_of(by_use_.begin(), by_use_.end(),
                     [&](const auto& entry) { return take(entry.second, nodes_.at(entry.second)); });
}

uint32_t GlobalScheduler::PickDefault(const Waiting& w) {
  const Shape& shape = w.demand.shape;
  const auto wish = nodes_.find(shape.affinity_node);
  if (wish != nodes_.end() && ReportFits(wish->second.available, shape.resources)) return wish->first;
  // The origin serves its own default demand by itself; for a wish elsewhere it is as good as any.
  const bool origin_too = w.rejected || (shape.affinity_node != 0 && shape.affinity_node != w.origin);
  uint32_t best = 0;
  EachByUse([&](uint32_t id, const Node& n) {
    if (!ReportFits(n.available, shape.resources)) return false;
    only_origin_ = id == w.origin && !origin_too;
    best = only_origin_ ? 0 : id;
    return !only_origin_;
  });
  return best;
}

uint32_t GlobalScheduler::PickSpread(const Waiting& w) {
  const Amounts& want = w.demand.shape.resources;
  if (only_ != 0) return ReportFits(nodes_.at(only_).available, want) ? only_ : 0;
  for (int round = 0; round < 2; ++round) {  // from the cursor to the end, then from the start
    for (auto it = nodes_.upper_bound(round == 0 ? spread_cursor_ : 0); it != nodes_.end(); ++it) {
      if (!ReportFits(it->second.available, want)) continue;
      spread_cursor_ = it->first;
      return it->first;
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

bool GlobalScheduler::Place(Class* c, Waiting* w) {
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
  const uint32_t node = shape.strategy == 0 ? PickDefault(*w) : PickSpread(*w);
  if (node != 0) {
    Assign(w, node, BatchFor(*w, nodes_.at(node)));
    return true;
  }
  if (!c->warned && !Feasible(shape)) {
    c->warned = true;
    host_->Warn(Infeasible(shape));
  }
  return false;
}

// The oldest of a class for which there is room. False: there is none for any of them.
bool GlobalScheduler::PlaceOneOf(Class* c) {
  size_t looked = 0;
  for (Waiting& w : c->waiting) {
    only_origin_ = false;
    const bool placed = Place(c, &w);
    if (w.demand.count == 0) {
      Erase({w.demand.owner, w.demand.shape_key, w.rejected});
      return true;
    }
    if (placed) return true;
    // What has room only where this one came from may serve those that came from elsewhere.
    if (!only_origin_ || ++looked == kOriginsTried) break;
  }
  c->but_origin = only_origin_;
  return false;
}

void GlobalScheduler::Schedule() {
  if (scheduling_) return;  // a send to ourselves came back
  scheduling_ = true;
  while (!open_.empty()) {
    Class* c = open_.begin()->second;
    if (!PlaceOneOf(c)) File(c, true);
  }
  Prune();
  scheduling_ = false;
}

// A node has room, perhaps.
void GlobalScheduler::Offer(uint32_t node) {
  if (scheduling_) return;
  scheduling_ = true;
  only_ = node;
  const Classes waiting = exhausted_;
  for (const auto& [order, c] : waiting) {
    if (exhausted_.count({order, c}) == 0 || c->waiting.front().demand.shape.group != 0) continue;
    while (exhausted_.count({c->filed, c}) != 0 && PlaceOneOf(c)) {
    }
  }
  only_ = 0;
  scheduling_ = false;
  Schedule();
}

}  // namespace rmpi::sched
