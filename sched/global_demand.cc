// SPDX-License-Identifier: Apache-2.0
// GlobalScheduler: who waits. Demand that any node serves alike is a class; in it, owners stand in lines by
// the node that is not for them, and take turns.
#include <algorithm>

#include "sched/global_scheduler.h"

namespace rmpi::sched {
namespace {

constexpr size_t kKeptClasses = 64;  // that nobody waits in

}  // namespace

Shape GlobalScheduler::ClassOf(const Shape& shape) {
  Shape c = shape;
  c.depth = 0;
  c.job = {};
  c.language = 0;
  c.actor = false;
  c.wish_log2_bytes = 0;
  if (c.strategy == Strategy::kDefault) c.affinity_node = 0;
  return c;
}

// The node that the head does not choose for it as long as that serves it unasked (ServesItself).
uint32_t GlobalScheduler::Hidden(uint32_t origin, const Shape& shape, bool rejected) {
  const bool there = shape.affinity_node == 0 || shape.affinity_node == origin;
  return !rejected && shape.strategy == Strategy::kDefault && shape.group == 0 && there ? origin : 0;
}

void GlobalScheduler::OnDemand(uint32_t origin, const Demand& m) {
  Ledger& ledger = ledgers_[{m.owner, m.shape_key}];
  if (ledger.epoch != m.epoch) ledger = {m.epoch, 0, 0};
  ledger.wanted = m.count;
  const uint64_t left = ledger.left();
  const OwnerKey key{m.owner, m.shape_key, false};
  if (left == 0) return Erase(key);
  const auto known = by_owner_.find(key);
  Filed* f = known != by_owner_.end() ? &known->second : Insert({origin, m, false, 0});
  SetCount(f, left);
  f->at->demand.epoch = m.epoch;
  f->at->demand.run_us = m.run_us;
  File(f->of, true);
  Schedule();
}

void GlobalScheduler::OnReject(uint32_t node, const Demand& m) {
  // Its report comes with the rejection or soon after; until then it is full for us.
  if (m.earmark_ms != 0) {
    EarmarkFailed(node, m.shape, m.earmark_ms - 1);
  } else if (m.shape.group == 0) {
    TakeForFull(node);
  } else if (const auto group = groups_.find(m.shape.group); group != groups_.end()) {
    for (Bundle& b : group->second) {
      if (b.node != node) continue;
      for (auto& [name, amount] : b.available) amount = std::min<int64_t>(amount, 0);
    }
  }
  const OwnerKey key{m.owner, m.shape_key, true};
  const auto known = by_owner_.find(key);
  const auto ledger = ledgers_.find({m.owner, m.shape_key});
  // Of a former epoch: nobody counts on it any more.
  if (ledger != ledgers_.end() && ledger->second.epoch > m.epoch) return;
  Filed* f = known != by_owner_.end() ? &known->second : nullptr;
  if (f != nullptr && f->at->demand.epoch == m.epoch) {
    SetCount(f, f->at->demand.count + m.count);
  } else {
    Erase(key);
    f = Insert({m.owner.node, m, true, 0});
    f->at->demand.earmark_ms = 0;
  }
  File(f->of, true);
  if (leaving_ != 0) GiveBackInfeasible();
  Schedule();
}

// What only nodes that leave could have run waits as if it had never been assigned: so its owner can still
// take it back.
void GlobalScheduler::GiveBackInfeasible() {
  std::vector<Waiting> back;
  for (const auto& [key, filed] : by_owner_) {
    const Waiting& w = *filed.at;
    if (w.rejected && w.demand.shape.group == 0 && !Feasible(w.demand.shape)) back.push_back(w);
  }
  for (Waiting& w : back) {
    const Demand& d = w.demand;
    Erase({d.owner, d.shape_key, true});
    const auto ledger = ledgers_.find({d.owner, d.shape_key});
    if (ledger == ledgers_.end() || ledger->second.epoch != d.epoch) continue;
    w.rejected = false;
    HandOff(w, 0 - d.count);
    const uint64_t left = ledger->second.left();  // the owner may want less by now
    if (left == 0) continue;
    const auto known = by_owner_.find({d.owner, d.shape_key, false});
    Filed* f = known != by_owner_.end() ? &known->second : Insert(w);
    SetCount(f, left);
    File(f->of, true);
  }
}

void GlobalScheduler::OnOwnerGone(const Address& owner) {
  std::vector<OwnerKey> gone;
  for (auto it = by_owner_.lower_bound({owner, 0, false}); it != by_owner_.end() && it->first.owner == owner;
       ++it)
    gone.push_back(it->first);
  for (const OwnerKey& key : gone) Erase(key);
  EraseOwner(&ledgers_, owner);
}

GlobalScheduler::Filed* GlobalScheduler::Insert(Waiting w) {
  Class* c = &classes_[ClassOf(w.demand.shape)];
  const uint32_t hidden = Hidden(w.origin, w.demand.shape, w.rejected);
  const OwnerKey key{w.demand.owner, w.demand.shape_key, w.rejected};
  Line& line = c->lines[hidden];
  w.turn = ++turns_;
  if (line.empty()) c->next.emplace(w.turn, hidden);
  if (c->owners == 0) c->fares = true;  // it has not waited yet
  c->wanted += w.demand.count;
  ++c->owners;
  line.push_back(std::move(w));
  return &(by_owner_[key] = {c, hidden, std::prev(line.end())});
}

void GlobalScheduler::Erase(const OwnerKey& key) {
  const auto it = by_owner_.find(key);
  if (it == by_owner_.end()) return;
  const Filed f = it->second;
  by_owner_.erase(it);
  Class* c = f.of;
  Line& line = c->lines.at(f.line);
  const bool first = f.at == line.begin();
  if (first) c->next.erase({f.at->turn, f.line});
  c->wanted -= f.at->demand.count;
  --c->owners;
  line.erase(f.at);
  if (line.empty()) {
    c->lines.erase(f.line);
  } else if (first) {
    c->next.emplace(line.front().turn, f.line);
  }
  if (c->owners == 0) File(c, false);
}

void GlobalScheduler::SetCount(Filed* f, uint64_t count) {
  f->of->wanted += count - f->at->demand.count;
  f->at->demand.count = count;
}

// It has had its turn.
void GlobalScheduler::Turn(Filed* f) {
  Class* c = f->of;
  Line& line = c->lines.at(f->line);
  c->next.erase({line.front().turn, f->line});
  f->at->turn = ++turns_;
  line.splice(line.end(), line, f->at);
  c->next.emplace(line.front().turn, f->line);
}

// Where a class stands; behind all others.
void GlobalScheduler::File(Class* c, bool open) {
  (c->open ? open_ : exhausted_).erase({c->turn, c});
  c->open = open && c->owners != 0;
  if (!open) c->each = c->round = 0;
  c->turn = ++turns_;
  if (c->owners != 0) (c->open ? open_ : exhausted_).emplace(c->turn, c);
}

// Those that are exhausted, in their order.
void GlobalScheduler::OpenAll(const std::function<bool(const Shape&)>& which) {
  std::vector<Class*> found;
  for (const auto& [turn, c] : exhausted_) {
    if (which(c->lines.begin()->second.front().demand.shape)) found.push_back(c);
  }
  for (Class* c : found) File(c, true);
}

void GlobalScheduler::Prune() {
  if (classes_.size() < 2 * exhausted_.size() + kKeptClasses) return;
  std::erase_if(classes_, [](const auto& c) { return c.second.owners == 0; });
}

}  // namespace rmpi::sched
