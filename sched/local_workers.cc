// SPDX-License-Identifier: Apache-2.0
// LocalScheduler: its workers. Which one a lease gets, which CPUs, when another one is started and when one
// ends, and what a task that waits lends (PROTOCOL T7).
#include <algorithm>

#include "sched/local_scheduler.h"

namespace rmpi::sched {
namespace {

constexpr TimeNs kFirstRetry = 100 * kMillisecond;
constexpr TimeNs kFirstPace = 1 * kSecond;
constexpr TimeNs kLastPace = 10 * kSecond;

}  // namespace

// ---- for a lease ------------------------------------------------------------------------------------------

// One that has run with just these devices, else one that has not run yet. The most recently used one.
LocalScheduler::Worker* LocalScheduler::IdleWorker(const Shape& shape, const Devices& devices) {
  Worker* found = nullptr;
  for (size_t i = idle_.size(); i-- > 0;) {
    Worker& w = workers_.at(idle_[i]);
    if (w.language != shape.language || (w.job != shape.job && w.job != JobId{})) continue;
    if (w.used && w.devices == devices) {
      found = &w;
      break;
    }
    if (!w.used && found == nullptr) found = &w;
  }
  if (found == nullptr) return nullptr;
  idle_.erase(std::find(idle_.begin(), idle_.end(), found->address));
  found->job = shape.job;
  found->used = true;
  found->devices = devices;
  return found;
}

// Processes that wait with some of these devices, and others, still have memory there: only their end frees
// it.
void LocalScheduler::StopIdleOn(const Devices& devices) {
  for (size_t i = idle_.size(); i-- > 0;) {
    const Devices& has = workers_.at(idle_[i]).devices;
    const bool shared =
        std::find_first_of(has.begin(), has.end(), devices.begin(), devices.end()) != has.end();
    if (shared && has != devices) StopIdle(i);
  }
}

void LocalScheduler::StopIdle(size_t index) {
  const Address worker = idle_[index];
  idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(index));
  workers_.erase(worker);
  host_->StopWorker(worker);
}

// Whole CPUs are bound, near the devices if there are any.
void LocalScheduler::BindWorker(const Shape& shape, LeaseRecord* lease, uint64_t number) {
  const int64_t cpu = AmountOf(shape.resources, "CPU");
  const auto whole = cpu % kResourceUnit == 0 ? static_cast<uint32_t>(cpu / kResourceUnit) : 0;
  const size_t device = lease->devices.empty() ? SIZE_MAX : lease->devices.front();
  const int near = device < options_.device_numa.size() ? options_.device_numa[device] : kAnyNuma;
  Worker& worker = workers_.at(lease->worker);
  lease->cpus = cpu_slots_.Take(whole, worker.cpus, near);
  if (lease->cpus.empty()) return;
  worker.cpus = lease->cpus;
  host_->AssignCpus(lease->worker, number, lease->cpus);
}

// ---- starts -----------------------------------------------------------------------------------------------

// A new process is free of limits for tasks deeper than every blocked one (they make progress for those);
// else the first above one per CPU come 1 s apart, then 2 s, up to 10 s.
bool LocalScheduler::MayStart(const Shape& shape, TimeNs now) {
  if (now < next_start_ && failed_starts_ != 0) {
    Arm(next_start_);
    return false;
  }
  const uint32_t starting = Starting();
  const size_t for_tasks = workers_.size() - actor_leases_;
  if (!shape.actor && for_tasks + starting >= options_.max_workers) {
    if (idle_.empty()) return false;
    StopIdle(0);  // of another job, or with other devices
  }
  const auto cpus =
      static_cast<uint32_t>(std::max<int64_t>(1, AmountOf(options_.total, "CPU") / kResourceUnit));
  if (starting >= std::max(cpus, 4U)) return false;
  if (shape.actor) return true;  // it stays: no pace brings it back
  const uint32_t deepest = blocked_depths_.empty() ? 0 : blocked_depths_.rbegin()->first;
  if (blocked_depths_.empty() || shape.depth > deepest) return true;
  if (now < last_paced_start_ + pace_) {
    Arm(last_paced_start_ + pace_);
    return false;
  }
  pace_ = pace_ == 0 ? kFirstPace : std::min(2 * pace_, kLastPace);
  last_paced_start_ = now;
  Arm(now + pace_);
  return true;
}

// No process: as many new ones as there is room for, beyond those already on their way.
void LocalScheduler::StartWorkersFor(const DemandClass& c, std::map<uint8_t, uint32_t>* wanted, TimeNs now) {
  std::vector<Pool> left =
      c.shape().group == 0 ? std::vector<Pool>{pool_} : bundles_.PoolsOf(c.shape().group, c.shape().bundle);
  for (uint64_t i = 0; i < c.count; ++i) {
    const auto room =
        std::find_if(left.begin(), left.end(), [&](const Pool& p) { return p.Fits(c.shape().resources); });
    if (room == left.end() || !Serves(c, room->available())) return;
    room->Take(c.shape().resources);
    if (++(*wanted)[c.shape().language] <= starting_[c.shape().language]) continue;
    if (!MayStart(c.shape(), now)) return;
    ++starting_[c.shape().language];
    host_->StartWorker(c.shape().job, c.shape().language);
  }
}

uint32_t LocalScheduler::Starting() const {
  uint32_t sum = 0;
  for (const auto& [language, count] : starting_) sum += count;
  return sum;
}

void LocalScheduler::EndStart(uint8_t language) {
  uint32_t& count = starting_[language];
  if (count > 0) --count;
}

void LocalScheduler::Prestart(JobId job, uint8_t language, uint32_t count) {
  for (; count > 0 && workers_.size() + Starting() < options_.max_workers; --count) {
    ++starting_[language];
    host_->StartWorker(job, language);
  }
}

void LocalScheduler::OnWorkerReady(const Address& worker, JobId job, uint8_t language, TimeNs now) {
  failed_starts_ = 0;
  EndStart(language);
  Worker w;
  w.address = worker;
  w.job = job;
  w.language = language;
  w.idle_since = now;
  workers_.emplace(worker, w);
  idle_.push_back(worker);
  Dispatch(now);
}

void LocalScheduler::OnCannotStart(JobId job, uint8_t language, const std::string& why, bool starting,
                                   TimeNs now) {
  if (starting) EndStart(language);
  std::vector<std::pair<Address, uint32_t>> told;
  WithdrawAll([&](const ClassKey& key) { return key.shape.job == job && key.shape.language == language; },
              [&](const LocalDemand& d) {
                told.emplace_back(d.owner, d.shape_key);
                return true;
              });
  for (const auto& [owner, shape_key] : told) host_->SendUnschedulable(owner, {shape_key, why});
  Dispatch(now);
}

void LocalScheduler::OnWorkerStartFailed(uint8_t language, TimeNs now) {
  EndStart(language);
  // What fails once may fail always (a broken environment, no memory): ever more slowly, up to 10 s apart.
  next_start_ = now + std::min(kFirstRetry << std::min(failed_starts_++, 7U), kLastPace);
  Arm(next_start_);
  Dispatch(now);
}

// ---- ends -------------------------------------------------------------------------------------------------

void LocalScheduler::OnWorkerGone(const Address& worker, TimeNs now) {
  FreeLeaving([&](const Leaving& l) { return l.worker == worker; });
  const auto it = workers_.find(worker);
  if (it != workers_.end() && it->second.lease != 0) {
    it->second.retiring = true;
    EndLease(it->second.lease, true, now);  // erases it
  } else if (it != workers_.end()) {
    std::erase(idle_, worker);
    workers_.erase(it);
  }
  Dispatch(now);
}

void LocalScheduler::OnRetire(const Address& worker, TimeNs now) {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return;
  it->second.retiring = true;
  if (it->second.lease == 0) {
    std::erase(idle_, worker);
    workers_.erase(it);
  }
  Dispatch(now);
}

// ---- waiting tasks ----------------------------------------------------------------------------------------

void LocalScheduler::OnBlocked(const Address& worker, uint64_t lease, uint32_t depth, TimeNs now) {
  const auto it = workers_.find(worker);
  if (it == workers_.end() || lease == 0 || it->second.lease != lease || it->second.blocked) return;
  it->second.blocked = true;
  it->second.blocked_depth = depth;
  ++blocked_depths_[depth];
  const LeaseRecord& record = leases_.at(it->second.lease);
  PoolOf(record.from).Lend(CpuOf(record.resources));
  Changed(record.from);
  Dispatch(now);
}

void LocalScheduler::OnUnblocked(const Address& worker, uint64_t lease, TimeNs now) {
  const auto it = workers_.find(worker);
  if (it == workers_.end() || !it->second.blocked || it->second.lease != lease) return;
  it->second.blocked = false;
  if (--blocked_depths_[it->second.blocked_depth] == 0) blocked_depths_.erase(it->second.blocked_depth);
  if (blocked_depths_.empty()) pace_ = 0;
  const LeaseRecord& record = leases_.at(it->second.lease);
  PoolOf(record.from).TakeBack(CpuOf(record.resources));  // may be a debt
  Changed(record.from);
  Dispatch(now);
}

JobId LocalScheduler::JobOf(const Address& worker) const {
  const auto it = workers_.find(worker);
  return it == workers_.end() ? JobId{} : it->second.job;
}

std::optional<LocalScheduler::WorkerView> LocalScheduler::ViewOf(const Address& worker) const {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return std::nullopt;
  WorkerView view;
  view.language = it->second.language;
  view.blocked = it->second.blocked;
  const auto lease = leases_.find(it->second.lease);
  if (lease == leases_.end()) return view;
  view.leased = true;
  view.actor = lease->second.actor;
  view.resources = lease->second.resources;
  view.cpus = lease->second.cpus;
  view.devices = lease->second.devices;
  return view;
}

bool LocalScheduler::Runs(const Address& worker, uint64_t lease) const {
  const auto it = workers_.find(worker);
  return it != workers_.end() && lease != 0 && it->second.lease == lease;
}

}  // namespace rmpi::sched
