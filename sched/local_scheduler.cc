// SPDX-License-Identifier: Apache-2.0
#include "sched/local_scheduler.h"

#include <algorithm>

namespace rmpi::sched {
namespace {

constexpr TimeNs kAssignPatience = 100 * kMillisecond;
constexpr TimeNs kReclaimPeriod = 20 * kMillisecond;
constexpr TimeNs kIdleWorker = 2 * kSecond;  // workers beyond one per CPU end after this
// A process that stays for its objects keeps devices no longer than this.
constexpr TimeNs kLeaving = 1 * kSecond;
constexpr uint64_t kStale = UINT64_MAX;  // no count: differs from every true one
constexpr uint8_t kDefaultStrategy = 0;
constexpr uint8_t kAffinityStrategy = 2;

}  // namespace

Amounts LocalScheduler::CpuOf(const Amounts& a) const {
  const int64_t cpu = AmountOf(a, "CPU");
  return cpu == 0 ? Amounts{} : Amounts{{"CPU", cpu}};
}

// Whether we may serve the shape without asking the head.
bool LocalScheduler::Local(const Shape& shape) const {
  return shape.group == 0 && shape.strategy == kDefaultStrategy &&
         (shape.affinity_node == 0 || shape.affinity_node == options_.node) &&
         (shape.labels.empty() || Matches(options_.labels, shape.labels.front()));
}

// Whether we serve it now. Ours is packed here until half of the node is used; from there on the head spreads
// it, unless its arguments lie here. What needs no GPU leaves those that have some to others.
bool LocalScheduler::Serves(const LocalDemand& d, const Amounts& available) const {
  if (d.assigned()) return true;
  if (!Local(d.shape)) return false;
  if (others_.empty() || d.shape.affinity_node != 0) return true;
  const bool leave = HasGpus(options_.total) && !HasGpus(d.shape.resources) &&
                     std::any_of(others_.begin(), others_.end(), [](const auto& o) { return !o.second; });
  return !leave && !Crowded(options_.total, available);
}

void LocalScheduler::RemoveOther(uint32_t node, TimeNs now) {
  others_.erase(node);
  Dispatch(now);
}

// ---- demand -----------------------------------------------------------------------------------------------

void LocalScheduler::OnLeaseRequest(const Address& owner, const LeaseRequest& m, TimeNs now) {
  if (ended_jobs_.count(m.shape.job) != 0) return;
  Ledger& ledger = ledgers_[{owner, m.shape_key}];
  if (ledger.epoch != m.epoch) {
    const bool told = ledger.reported != 0;
    ledger = Ledger{};
    ledger.epoch = m.epoch;
    if (told) ledger.reported = kStale;
  }
  ledger.wanted = m.wanted;
  auto it = std::find_if(demands_.begin(), demands_.end(),
                         [&](const LocalDemand& d) { return d.ledger == &ledger; });
  if (it == demands_.end()) {
    LocalDemand d;
    d.owner = owner;
    d.shape_key = m.shape_key;
    d.shape = m.shape;
    d.ledger = &ledger;
    it = Insert(std::move(d));
  }
  it->epoch = m.epoch;
  it->count = ledger.left();
  it->run_us = m.run_us;
  it->since = now;
  Dispatch(now);
}

std::list<LocalScheduler::LocalDemand>::iterator LocalScheduler::Insert(LocalDemand d) {
  const auto where = std::find_if(demands_.begin(), demands_.end(),
                                  [&](const LocalDemand& o) { return o.shape.depth < d.shape.depth; });
  return demands_.insert(where, std::move(d));
}

// Nobody wants any of it any more.
void LocalScheduler::Withdraw(LocalDemand* d) {
  d->count = 0;
  if (d->assigned()) return;
  d->ledger->wanted = 0;
  Report(d);
}

void LocalScheduler::OnJobEnd(JobId job) {
  ended_jobs_.insert(job);
  for (LocalDemand& d : demands_) {
    if (d.shape.job == job) Withdraw(&d);
  }
  demands_.remove_if([&](const LocalDemand& d) { return d.shape.job == job; });
}

void LocalScheduler::OnAssign(const Demand& m, TimeNs now) {
  promised_ = true;
  if (ended_jobs_.count(m.shape.job) != 0) return;
  Insert({m.owner, m.shape_key, m.shape, m.epoch, m.count, /*ledger=*/nullptr, now, m.stays, m.run_us});
  for (const BundleKey& key : bundles_.Of(m.shape.group)) bundles_.Changed(key);
  Dispatch(now);
}

void LocalScheduler::OnHandedOff(const HandedOff& m, TimeNs now) {
  const auto ledger = ledgers_.find({m.owner, m.shape_key});
  if (ledger == ledgers_.end() || ledger->second.epoch != m.epoch) return;
  ledger->second.handed += m.count;
  for (LocalDemand& d : demands_) {
    if (d.ledger == &ledger->second) d.count = d.ledger->left();
  }
  Dispatch(now);
}

void LocalScheduler::Report(LocalDemand* d) {
  if (d->assigned()) return;
  Ledger& ledger = *d->ledger;
  const uint64_t elsewhere = ledger.wanted - std::min(ledger.wanted, ledger.here);
  if (elsewhere == ledger.reported) return;
  ledger.reported = elsewhere;
  host_->SendDemand({d->owner, d->shape_key, d->epoch, elsewhere, d->run_us, d->shape, false});
}

Amounts LocalScheduler::Promisable() const {
  Pool left = pool_;
  for (const LocalDemand& d : demands_) {
    if (!d.assigned() || d.shape.group != 0) continue;
    for (uint64_t i = 0; i < d.count && left.Fits(d.shape.resources); ++i) left.Take(d.shape.resources);
  }
  return left.Report();
}

void LocalScheduler::TakeReport(Heartbeat* out) {
  promised_ = false;
  out->changed = true;
  out->available = reported_ = Promisable();
  out->kept = reported_kept_ = kept_;
  std::vector<std::pair<const Shape*, uint64_t>> waits;
  for (const LocalDemand& d : demands_) {
    if (d.assigned() && d.shape.group != 0) waits.emplace_back(&d.shape, d.count);
  }
  out->bundles = bundles_.TakeReport(waits);
}

// ---- leases -----------------------------------------------------------------------------------------------

bool LocalScheduler::GrantOne(LocalDemand* d, const BundleKey& from) {
  Pool& pool = PoolOf(from);
  Devices devices = pool.Take(d->shape.resources);
  Worker* w = IdleWorker(d->shape, devices);
  if (w == nullptr) {
    pool.Give(d->shape.resources, devices);
    return false;
  }
  Use(from);
  const uint64_t lease = next_lease_++;
  w->lease = lease;
  if (!devices.empty()) {
    StopIdleOn(devices);
    host_->AssignDevices(w->address, lease, devices);
  }
  LeaseRecord record{d->owner, w->address, d->shape.resources, std::move(devices), {}, d->shape.actor, from};
  BindWorker(d->shape, &record, lease);
  leases_.emplace(lease, std::move(record));
  if (d->shape.actor) ++actor_leases_;
  if (d->shape.actor && from.first == 0) Add(&kept_, d->shape.resources);
  --d->count;
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
  const Demand back{d->owner, d->shape_key, d->epoch, d->count, d->run_us, d->shape, false};
  d->count = 0;
  promised_ = true;  // the head takes us for full until we say otherwise
  for (const BundleKey& key : bundles_.Of(d->shape.group)) bundles_.Changed(key);
  host_->SendReject(back);
}

void LocalScheduler::Dispatch(TimeNs now) {
  if (dispatching_) return;
  dispatching_ = true;
  ServeEarmark();
  bool starved = earmark_.has_value();
  std::map<uint8_t, uint32_t> starts_wanted;  // by language
  for (auto it = demands_.begin(); it != demands_.end();) {
    LocalDemand& d = *it;
    std::optional<BundleKey> room;
    bool serves = false;
    const auto look = [&] {
      room = RoomFor(d.shape);
      serves = room && Serves(d, pool_.available());
    };
    look();
    if (d.assigned() || Local(d.shape)) {
      while (d.count > 0 && room && serves) {
        if (!GrantOne(&d, *room)) {
          StartWorkersFor(d, &starts_wanted, now);
          break;
        }
        look();
      }
      starved |= d.count > 0 && !room;
      if (d.assigned() && d.count > 0) {
        // A process that is on its way will serve it; hard affinity has nowhere else to go.
        const bool coming = room && starting_[d.shape.language] > 0;
        const bool stays = d.stays || (d.shape.strategy == kAffinityStrategy && d.shape.group == 0);
        if (now - d.since <= kAssignPatience) {
          Arm(d.since + kAssignPatience + 1);
        } else if (!stays && !coming) {
          Reject(&d);
        }
      }
    }
    // What fits here but waits for a process of ours to start is not the head's business.
    if (!d.assigned() && (d.count == 0 || !serves)) Report(&d);
    it = d.count == 0 ? demands_.erase(it) : std::next(it);
  }
  if (starved) {
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
  demands_.remove_if([&](LocalDemand& d) {
    if (d.owner != owner) return false;
    Withdraw(&d);
    return true;
  });
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
  for (const LocalDemand& d : demands_) {
    if (d.owner.node == node) owners.push_back(d.owner);
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
