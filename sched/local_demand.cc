// SPDX-License-Identifier: Apache-2.0
// LocalScheduler: who waits for leases. Demand that is served alike is a class with a count, so that a step
// looks at each class and not at each owner; and what of it the head is told.
#include <algorithm>

#include "sched/local_scheduler.h"

namespace rmpi::sched {
namespace {

constexpr uint64_t kStale = UINT64_MAX;  // no count: differs from every true one
constexpr size_t kKeptClasses = 64;      // that nobody waits in
constexpr TimeNs kAssignPatience = 100 * kMillisecond;
// The head is told that less is wanted when it is so much less, or few or none are left. What it places in
// vain comes back at once.
constexpr uint64_t kMuchLess = 4;
constexpr uint64_t kFew = 4;

}  // namespace

void LocalScheduler::OnLeaseRequest(const Address& owner, const LeaseRequest& m, TimeNs now) {
  if (ended_jobs_.count(m.shape.job) != 0) return;
  Ledger& ledger = ledgers_[{owner, m.shape_key}];
  if (ledger.epoch != m.epoch) {
    const bool told = ledger.reported != 0;
    const auto at = ledger.at;
    ledger = Ledger{};
    ledger.at = at;
    ledger.epoch = m.epoch;
    if (told) ledger.reported = kStale;
  }
  ledger.wanted = m.wanted;
  if (!ledger.at) {
    LocalDemand d;
    d.owner = owner;
    d.shape_key = m.shape_key;
    d.ledger = &ledger;
    ledger.at = Insert(std::move(d), {m.shape, false, false, false});
  }
  LocalDemand& d = **ledger.at;
  d.epoch = m.epoch;
  d.run_us = m.run_us;
  d.since = now;
  SetCount(&d, ledger.left());
  Untold(&d);
  DemandClass* c = d.of;
  if (d.count == 0) Erase(*ledger.at);
  if (!Local(c->shape())) TellHead(c);
  Dispatch(now);
}

void LocalScheduler::OnAssign(const Demand& m, TimeNs now) {
  promised_ = true;
  if (ended_jobs_.count(m.shape.job) != 0) return;
  const bool stays = m.stays || (m.shape.strategy == Strategy::kNodeAffinity && m.shape.group == 0);
  const bool earmark = m.earmark_ms != 0;
  if (earmark && !MayEarmark(m)) {
    Demand back = m;
    back.earmark_ms = 1;
    return host_->SendReject(back);
  }
  LocalDemand d;
  d.owner = m.owner;
  d.shape_key = m.shape_key;
  d.epoch = m.epoch;
  d.count = m.count;
  d.since = now;
  d.run_us = m.run_us;
  d.patience = earmark ? m.earmark_ms * kMillisecond : kAssignPatience;
  Insert(std::move(d), {m.shape, true, stays, earmark});
  if (earmark) {
    earmarked_ = m.shape.resources;
    Recall(&m);
  }
  for (const BundleKey& key : bundles_.Of(m.shape.group)) bundles_.Changed(key);
  Dispatch(now);
}

void LocalScheduler::OnHandedOff(const HandedOff& m, TimeNs now) {
  const auto it = ledgers_.find({m.owner, m.shape_key});
  if (it == ledgers_.end() || it->second.epoch != m.epoch) return;
  Ledger& ledger = it->second;
  ledger.handed += m.count;
  if (ledger.at) {
    SetCount(&**ledger.at, ledger.left());
    if ((*ledger.at)->count == 0) Erase(*ledger.at);
  }
  Dispatch(now);
}

void LocalScheduler::OnJobEnd(JobId job) {
  ended_jobs_.insert(job);
  WithdrawAll([&](const ClassKey& key) { return key.shape.job == job; },
              [](const LocalDemand&) { return true; });
}

// ---- lines ------------------------------------------------------------------------------------------------

LocalScheduler::Line::iterator LocalScheduler::Insert(LocalDemand d, const ClassKey& key) {
  const auto it = classes_.try_emplace(key).first;
  DemandClass* c = &it->second;
  c->key = &it->first;
  d.of = c;
  c->count += d.count;
  c->line.push_back(std::move(d));
  ++demand_count_;
  if (c->line.size() == 1) Turn(c);
  return std::prev(c->line.end());
}

LocalScheduler::Line::iterator LocalScheduler::Erase(Line::iterator at) {
  DemandClass* c = at->of;
  SetCount(&*at, 0);
  if (!at->assigned()) {
    Report(&*at);
    at->ledger->at.reset();
  }
  if (c->key->earmark) earmarked_.clear();  // it has been served, or is over
  --demand_count_;
  const auto next = c->line.erase(at);
  if (c->line.empty()) File(c);
  return next;
}

void LocalScheduler::SetCount(LocalDemand* d, uint64_t count) {
  d->of->count += count - d->count;
  d->count = count;
}

// Behind the others of its depth.
void LocalScheduler::Turn(DemandClass* c) {
  order_.erase({~c->shape().depth, c->turn, c});
  c->turn = ++turns_;
  File(c);
}

// Whether it is looked at when something is free.
void LocalScheduler::File(DemandClass* c) {
  if (!c->line.empty() && (c->assigned() || Local(c->shape()))) {
    order_.insert({~c->shape().depth, c->turn, c});
  } else {
    order_.erase({~c->shape().depth, c->turn, c});
  }
}

void LocalScheduler::Prune() {
  if (classes_.size() < 2 * order_.size() + kKeptClasses) return;
  std::erase_if(classes_, [](const auto& c) { return c.second.line.empty(); });
}

// Nobody wants any of it any more.
void LocalScheduler::Withdraw(LocalDemand* d) {
  SetCount(d, 0);
  if (!d->assigned()) d->ledger->wanted = 0;
}

void LocalScheduler::WithdrawAll(const std::function<bool(const ClassKey&)>& which,
                                 const std::function<bool(const LocalDemand&)>& whose) {
  for (auto& [key, c] : classes_) {
    if (!which(key)) continue;
    for (auto it = c.line.begin(); it != c.line.end();) {
      if (whose(*it)) {
        Withdraw(&*it);
        it = Erase(it);
      } else {
        ++it;
      }
    }
  }
}

// ---- what the head knows ----------------------------------------------------------------------------------

void LocalScheduler::Untold(LocalDemand* d) {
  if (std::exchange(d->untold, true)) return;
  d->of->untold.emplace_back(d->owner, d->shape_key);
}

void LocalScheduler::TellHead(DemandClass* c) {
  for (const auto& [owner, shape_key] : std::exchange(c->untold, {})) {
    const auto it = ledgers_.find({owner, shape_key});
    if (it != ledgers_.end() && it->second.at) Report(&**it->second.at);
  }
}

void LocalScheduler::Report(LocalDemand* d) {
  d->untold = false;
  Ledger& ledger = *d->ledger;
  const uint64_t elsewhere = ledger.wanted - std::min(ledger.wanted, ledger.here);
  if (elsewhere == ledger.reported) return;
  const uint64_t believed = ledger.reported - std::min(ledger.reported, ledger.handed);
  const uint64_t left = ledger.left();
  if (ledger.reported != kStale && left >= kFew && left <= believed && believed < kMuchLess * left) return;
  ledger.reported = elsewhere;
  host_->SendDemand({d->owner, d->shape_key, d->epoch, elsewhere, d->run_us, d->shape(), false});
}

std::map<Shape, uint64_t> LocalScheduler::Waiting() const {
  std::map<Shape, uint64_t> waiting;
  for (const auto& [key, c] : classes_) {
    if (c.count != 0) waiting[c.shape()] += c.count;
  }
  return waiting;
}

Amounts LocalScheduler::Promisable() const {
  if (draining_) return {};
  Pool left = pool_;
  for (const auto& [depth, turn, c] : order_) {
    if (!c->assigned() || c->shape().group != 0 || c->key->earmark) continue;
    for (uint64_t i = 0; i < c->count && left.Fits(c->shape().resources); ++i)
      left.Take(c->shape().resources);
  }
  Amounts report = left.Report();
  Subtract(&report, earmarked_);  // nobody else gets that
  return report;
}

void LocalScheduler::ReportAll() {
  promised_ = true;
  bundles_.AllChanged();
}

void LocalScheduler::TakeReport(Heartbeat* out) {
  promised_ = false;
  out->changed = true;
  out->available = reported_ = Promisable();
  out->kept = reported_kept_ = kept_;
  out->earmarked = !earmarked_.empty() && !earmark_;
  std::vector<std::pair<const Shape*, uint64_t>> waits;
  for (const auto& [depth, turn, c] : order_) {
    if (c->assigned() && c->shape().group != 0) waits.emplace_back(&c->shape(), c->count);
  }
  out->bundles = bundles_.TakeReport(waits);
}

}  // namespace rmpi::sched
