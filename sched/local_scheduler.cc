// SPDX-License-Identifier: Apache-2.0
#include "sched/local_scheduler.h"

#include <algorithm>

namespace rmpi::sched {
namespace {

constexpr TimeNs kReclaimPeriod = 20 * kMillisecond;
constexpr TimeNs kIdleWorker = 2 * kSecond;  // workers beyond one per CPU end after this
// A process that stays for its objects keeps devices no longer than this.
constexpr TimeNs kLeaving = 1 * kSecond;

}  // namespace

Amounts LocalScheduler::CpuOf(const Amounts& a) const {
  const int64_t cpu = AmountOf(a, "CPU");
  return cpu == 0 ? Amounts{} : Amounts{{"CPU", cpu}};
}

// Whether we may serve the shape without asking the head.
bool LocalScheduler::Local(const Shape& shape) const {
  return shape.group == 0 && shape.strategy == Strategy::kDefault &&
         (shape.affinity_node == 0 || shape.affinity_node == options_.node) &&
         (shape.labels.empty() || Matches(options_.labels, shape.labels.front()));
}

// Whether we serve it now. Ours is packed here until half of the node is used; from there on the head spreads
// it, unless its arguments lie here. What needs no GPU leaves those that have some to others.
bool LocalScheduler::Serves(const DemandClass& c, const Amounts& available) const {
  if (draining_) return false;
  if (c.assigned()) return true;
  if (others_.empty() || c.shape().affinity_node != 0) return true;
  const bool leave = HasGpus(options_.total) && !HasGpus(c.shape().resources) && plain_others_ != 0;
  return !leave && !Crowded(options_.total, available);
}

void LocalScheduler::AddOther(uint32_t node, const Amounts& total) {
  const auto [it, fresh] = others_.try_emplace(node, true);
  plain_others_ -= it->second ? 0 : 1;
  it->second = HasGpus(total);
  plain_others_ += it->second ? 0 : 1;
}

void LocalScheduler::RemoveOther(uint32_t node, TimeNs now) {
  const auto it = others_.find(node);
  if (it != others_.end()) {
    plain_others_ -= it->second ? 0 : 1;
    others_.erase(it);
  }
  Dispatch(now);
}

void LocalScheduler::SetNode(uint32_t node, Labels labels) {
  options_.node = node;
  options_.labels = std::move(labels);
  for (auto& [key, c] : classes_) File(&c);  // what is local is another question now
}

// ---- leases -----------------------------------------------------------------------------------------------

bool LocalScheduler::GrantOne(LocalDemand* d, const BundleKey& from) {
  Pool& pool = PoolOf(from);
  Devices devices = pool.Take(d->shape().resources);
  Worker* w = IdleWorker(d->shape(), devices);
  if (w == nullptr) {
    pool.Give(d->shape().resources, devices);
    return false;
  }
  Use(from);
  const uint64_t lease = next_lease_++;
  w->lease = lease;
  if (!devices.empty()) {
    StopIdleOn(devices);
    host_->AssignDevices(w->address, lease, devices);
  }
  LeaseRecord record{d->owner,         w->address, d->shape().resources, std::move(devices), {},
                     d->shape().actor, from};
  BindWorker(d->shape(), &record, lease);
  leases_.emplace(lease, std::move(record));
  if (d->shape().actor) ++actor_leases_;
  if (d->shape().actor && from.first == 0) Add(&kept_, d->shape().resources);
  SetCount(d, d->count - 1);
  if (!d->assigned()) ++d->ledger->here;
  Grant g;
  g.shape_key = d->shape_key;
  g.epoch = d->epoch;
  g.lease = lease;
  g.worker = w->address;
  host_->SendGrant(d->owner, g);
  return true;
}

void LocalScheduler::Reject(LocalDemand* d) {
  Demand back{d->owner, d->shape_key, d->epoch, d->count, d->run_us, d->shape(), false, 0};
  if (d->of->key->earmark) back.earmark_ms = 1 + static_cast<uint32_t>(d->patience / kMillisecond);
  SetCount(d, 0);
  promised_ = true;  // the head takes us for full until we say otherwise
  for (const BundleKey& key : bundles_.Of(d->shape().group)) bundles_.Changed(key);
  host_->SendReject(back);
}

// What has been assigned and waits for long; all of it on a node that leaves. A process that is on its way
// will serve it.
void LocalScheduler::RejectLate(DemandClass* c, bool coming, TimeNs now) {
  if (c->key->stays && !draining_) return;
  while (!c->line.empty()) {
    LocalDemand& d = c->line.front();
    if (!draining_ && now - d.since <= d.patience) return Arm(d.since + d.patience + 1);
    if (!draining_ && coming) return;
    Reject(&d);
    Erase(c->line.begin());
  }
}

// One after the other, each to the next in turn, until there is no room or no process. Says how it ended.
void LocalScheduler::GrantTo(DemandClass* c, std::map<uint8_t, uint32_t>* starts_wanted,
                             std::optional<BundleKey>* room, bool* serves, TimeNs now) {
  bool granted = false;
  while (true) {
    *room = RoomFor(c->shape(), c->key->earmark);
    *serves = *room && Serves(*c, pool_.available());
    if (!*serves || c->line.empty()) break;
    const auto first = c->line.begin();
    if (!GrantOne(&*first, **room)) {
      StartWorkersFor(*c, starts_wanted, now);
      break;
    }
    granted = true;
    if (first->count == 0) {
      Erase(first);
    } else if (!c->assigned()) {
      Untold(&*first);
      c->line.splice(c->line.end(), c->line, first);
    }
  }
  if (granted) Turn(c);
}

void LocalScheduler::Serve(DemandClass* c, std::map<uint8_t, uint32_t>* starts_wanted, bool* starved,
                           TimeNs now) {
  std::optional<BundleKey> room;
  bool serves = false;
  GrantTo(c, starts_wanted, &room, &serves, now);
  *starved |= !c->line.empty() && !room;
  if (c->assigned()) {
    RejectLate(c, room && starting_[c->shape().language] > 0, now);
  } else if (!serves) {
    // What fits here but waits for a process of ours to start is not the head's business.
    TellHead(c);
  }
}

// Others wait: whoever holds leases gives back what is idle.
void LocalScheduler::AskForIdle(TimeNs now) {
  if (now >= next_reclaim_) {
    next_reclaim_ = now + kReclaimPeriod;
    std::vector<Address> owners;
    for (const auto& [id, lease] : leases_) owners.push_back(lease.owner);
    std::sort(owners.begin(), owners.end());
    owners.erase(std::unique(owners.begin(), owners.end()), owners.end());
    for (const Address& owner : owners) host_->SendReclaim(owner, {});
  }
  Arm(next_reclaim_);
}

void LocalScheduler::Dispatch(TimeNs now) {
  if (dispatching_) return;
  dispatching_ = true;
  ServeEarmark();
  bool starved = !earmarked_.empty();
  std::map<uint8_t, uint32_t> starts_wanted;  // by language
  bool again = false;
  do {
    const bool earmarked = !earmarked_.empty();
    round_.clear();
    for (const auto& [depth, turn, c] : order_) round_.push_back(c);
    for (DemandClass* c : round_) Serve(c, &starts_wanted, &starved, now);
    // What a task's earmark kept from those before it in the round is theirs now.
    again = earmarked && earmarked_.empty();
  } while (again);
  if (draining_) RecallAll(now);
  if (starved) AskForIdle(now);
  Prune();
  dispatching_ = false;
}

// `gone`: the worker has ended.
void LocalScheduler::EndLease(uint64_t lease, bool gone, TimeNs now) {
  const auto it = leases_.find(lease);
  if (it == leases_.end()) return;
  const LeaseRecord record = std::move(it->second);
  leases_.erase(it);
  if (record.actor) --actor_leases_;
  if (record.actor && record.from.first == 0) Subtract(&kept_, record.resources);
  cpu_slots_.Give(record.cpus);
  const auto w = workers_.find(record.worker);
  if (w != workers_.end() && w->second.blocked)
    PoolOf(record.from).TakeBack(CpuOf(record.resources));  // it was back already
  if (!record.devices.empty() && !gone && w != workers_.end() && w->second.retiring) {
    const Amounts units = UnitsOf(record.resources);
    Amounts rest = record.resources;
    std::erase_if(rest, [](const auto& r) { return IsUnitResource(r.first); });
    PoolOf(record.from).Give(rest, {});
    Changed(record.from);
    leaving_.push_back({record.worker, units, record.devices, now + kLeaving, record.from});
    Arm(now + kLeaving);
  } else {
    GiveTo(record.from, record.resources, record.devices);
  }
  if (w == workers_.end()) return;
  Worker& worker = w->second;
  if (worker.blocked) {
    worker.blocked = false;
    if (--blocked_depths_[worker.blocked_depth] == 0) blocked_depths_.erase(worker.blocked_depth);
    if (blocked_depths_.empty()) pace_ = 0;
  }
  worker.lease = 0;
  worker.idle_since = now;
  if (worker.retiring) {
    workers_.erase(w);
  } else {
    idle_.push_back(worker.address);
    Arm(now + kIdleWorker);
  }
}

void LocalScheduler::FreeLeaving(const std::function<bool(const Leaving&)>& which) {
  std::erase_if(leaving_, [&](const Leaving& l) {
    if (!which(l)) return false;
    GiveTo(l.from, l.units, l.devices);
    return true;
  });
}

void LocalScheduler::OnLeaseReturn(uint64_t lease, WorkerAfter after, TimeNs now) {
  const auto it = leases_.find(lease);
  const auto w = it == leases_.end() ? workers_.end() : workers_.find(it->second.worker);
  if (w != workers_.end()) {
    w->second.retiring |= after != WorkerAfter::kIdle;  // its own word of it may come later
    if (after == WorkerAfter::kLeaves) host_->StopWorker(w->first);
  }
  EndLease(lease, false, now);
  Dispatch(now);
}

std::vector<Address> LocalScheduler::OnOwnerGone(const Address& owner, TimeNs now) {
  std::vector<Address> ran;
  WithdrawAll([](const ClassKey&) { return true; }, [&](const LocalDemand& d) { return d.owner == owner; });
  EraseOwner(&ledgers_, owner);
  std::vector<uint64_t> ended;
  for (const auto& [id, lease] : leases_) {
    if (lease.owner == owner) {
      ended.push_back(id);
      ran.push_back(lease.worker);
      // Whatever it still runs, it runs for nobody: no second lease before it is ended.
      const auto w = workers_.find(lease.worker);
      if (w != workers_.end()) w->second.retiring = true;
    }
  }
  for (uint64_t id : ended) EndLease(id, false, now);
  Dispatch(now);
  return ran;
}

void LocalScheduler::OnOwnerNodeGone(uint32_t node, std::vector<Address>* workers, TimeNs now) {
  std::vector<Address> owners;
  for (const auto& [key, c] : classes_) {
    for (const LocalDemand& d : c.line) {
      if (d.owner.node == node) owners.push_back(d.owner);
    }
  }
  for (const auto& [id, lease] : leases_) {
    if (lease.owner.node == node) owners.push_back(lease.owner);
  }
  std::sort(owners.begin(), owners.end());
  owners.erase(std::unique(owners.begin(), owners.end()), owners.end());
  for (const Address& owner : owners) {
    for (const Address& w : OnOwnerGone(owner, now)) workers->push_back(w);
  }
}

void LocalScheduler::OnTimer(TimeNs now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  const auto keep =
      static_cast<size_t>(std::max<int64_t>(1, AmountOf(options_.total, "CPU") / kResourceUnit));
  while (idle_.size() > keep) {  // the front has been idle longest
    const TimeNs since = workers_.at(idle_.front()).idle_since;
    if (now - since < kIdleWorker) {
      Arm(since + kIdleWorker);
      break;
    }
    StopIdle(0);
  }
  FreeLeaving([&](const Leaving& l) { return now >= l.deadline; });
  for (const Leaving& l : leaving_) Arm(l.deadline);
  Dispatch(now);
}

}  // namespace rmpi::sched
