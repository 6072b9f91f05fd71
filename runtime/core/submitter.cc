// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/submitter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace rmpi::core {
namespace {

// A worker may hold about this much work beyond the running task. It bounds how long a task can sit behind
// another one on the same worker before REVOKE moves it.
constexpr double kPipelineUs = 2000;
constexpr double kShortUs = 1000;  // only functions shorter than this are pipelined at all
constexpr size_t kPipelineTasks = 1024;
constexpr TimeNs kLongHead = 3 * kMillisecond;  // a head running longer gives up what waits behind it
constexpr TimeNs kLinger = 100 * kMillisecond;  // an idle lease is kept this long for the next call
constexpr TimeNs kTimerGrain = kMillisecond;    // a look at all idle leases at most this often
constexpr size_t kCandidates = 16;
constexpr size_t kLeasesPerReserve = 16;
constexpr uint64_t kLocalityBytes = kInlineLimit;  // smaller arguments draw no task to their node

}  // namespace

void Submitter::Start(Task* t, TimeNs now) {
  t->shape = QueueOf(t->tmpl.get(), t->depth);
  if (tasks_->Resolve(t)) OnReady(t, now);
}

void Submitter::OnReady(Task* t, TimeNs now) {
  if (ShapeQueue* q = Enqueue(t, false)) Pump(q, now);
}

void Submitter::Settle(TimeNs now) {
  if (!resting_.empty()) WakeRested(now);
  while (!touched_.empty()) {
    ShapeQueue* q = touched_.back();
    touched_.pop_back();
    Pump(q, now);
  }
}

ShapeQueue* Submitter::QueueOf(const Shape& shape) {
  auto [it, fresh] = by_shape_.try_emplace(shape, nullptr);
  if (fresh) {
    auto q = std::make_unique<ShapeQueue>();
    q->key = next_shape_++;
    q->shape = shape;
    it->second = q.get();
    shapes_.emplace(q->key, std::move(q));
  }
  return it->second;
}

ShapeQueue* Submitter::QueueOf(Template* tmpl, uint32_t depth) {
  if (tmpl->by_depth.size() <= depth) tmpl->by_depth.resize(depth + 1);
  ShapeQueue*& q = tmpl->by_depth[depth];
  if (q == nullptr) {
    Shape shape = tmpl->shape;
    shape.depth = depth;
    q = QueueOf(shape);
  }
  return q;
}

// Arguments are all known: a failed one fails the task, big ones pull the task towards their node.
ShapeQueue* Submitter::Enqueue(Task* t, bool front) {
  if (!tasks_->CheckArgs(t)) return nullptr;
  if (t->shape->shape.affinity_node == 0 && t->shape->shape.group == 0 &&
      t->shape->shape.strategy == Strategy::kDefault) {
    PullTowardsArgs(t);
  }
  ShapeQueue* q = t->shape;
  t->state = TaskState::kQueued;
  if (front) {
    q->queue.PushFront(t);
    Touch(q);  // its old lease's queue need not be this one
  } else {
    q->queue.PushBack(t);
  }
  return q;
}

// The node that holds most bytes of its large arguments, ours if that is as good.
void Submitter::PullTowardsArgs(Task* t) {
  const uint32_t self = objects_->self().node;
  std::vector<std::pair<uint32_t, uint64_t>> held;  // by node; few, so it is searched from the front
  for (uint32_t i = 0; i < t->top_level; ++i) {
    const Entry* e = (*t->refs)[i];
    if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) continue;
    const Details& d = *e->details;
    if (d.size < kLocalityBytes) continue;
    const auto holds = [&](uint32_t node) {
      const auto it = std::find_if(held.begin(), held.end(), [&](const auto& h) { return h.first == node; });
      (it == held.end() ? held.emplace_back(node, 0) : *it).second += d.size;
    };
    const bool here = d.fetch == Fetch::kLocal;
    if (here) holds(self);
    for (const Place& p : d.places) {
      if ((!here || p.node != self) && !objects_->Left(p)) holds(p.node);
    }
  }
  uint64_t here_bytes = 0;
  std::pair<uint32_t, uint64_t> best;
  for (const auto& [node, bytes] : held) {
    if (node == self) here_bytes = bytes;
    if (bytes > best.second) best = {node, bytes};
  }
  if (best.second <= here_bytes) return;
  Shape shape = t->shape->shape;
  shape.affinity_node = best.first;
  // What would travel if it ran here, coarsely: each size is a shape of its own.
  shape.wish_log2_bytes = static_cast<uint8_t>((std::bit_width(best.second - here_bytes) + 3) & ~3);
  t->shape = QueueOf(shape);
}

bool Submitter::CanPush(const Lease& lease, const Task& t) const {
  if (lease.blocked || lease.retiring || lease.revoking || lease.give_back) return false;
  if (lease.inflight.empty()) return true;
  if (lease.shape->shape.actor) return false;  // that worker is the actor's own
  const double mean = t.tmpl->mean_us;
  if (mean < 0 || mean > kShortUs) return false;
  if (lease.shape->shape.strategy == Strategy::kSpread) return false;
  return lease.load_us + mean <= kPipelineUs && lease.inflight.size() < kPipelineTasks;
}

Lease* Submitter::PickLease(ShapeQueue* q, const Task& t) {
  while (!q->idle.empty()) {
    Lease* lease = q->idle.back();
    if (CanPush(*lease, t)) return lease;
    q->idle.Remove(lease);
  }
  Lease* best = nullptr;
  const size_t n = std::min(kCandidates, q->leases.size());
  for (size_t i = 0; i < n; ++i) {
    Lease* lease = q->leases[(q->cursor + i) % q->leases.size()].get();
    if (CanPush(*lease, t) && (best == nullptr || lease->load_us < best->load_us)) best = lease;
  }
  if (!q->leases.empty()) q->cursor = (q->cursor + 1) % q->leases.size();
  return best;
}

void Submitter::Pump(ShapeQueue* q, TimeNs now) {
  while (Task* t = q->queue.head) {
    Lease* lease = PickLease(q, *t);
    if (lease == nullptr) break;
    q->queue.Remove(t);
    if (Pushable(t, now)) PushTask(lease, t, now);
  }
  UpdateDemand(q, now);
}

// While a task was queued, an argument of it may have been lost: then it waits for it again, or fails.
bool Submitter::Pushable(Task* t, TimeNs now) {
  if (!tasks_->LacksArgs(t)) return true;
  if (tasks_->Resolve(t)) OnReady(t, now);
  return false;
}

void Submitter::PushTask(Lease* lease, Task* t, TimeNs now) {
  lease->shape->idle.Remove(lease);
  Push p = tasks_->MakePush(t, &lease->templates_sent);
  p.lease = lease->id;
  t->state = TaskState::kPushed;
  t->lease = lease;
  if (lease->inflight.empty()) lease->head_since = now;
  lease->inflight.push_back(t);
  if (lease->inflight.size() == 2) lease->shape->pipelined.Add(lease);
  // Nothing may queue behind a task whose length is unknown or long.
  const double mean = t->tmpl->mean_us;
  t->cost_us = static_cast<float>(mean < 0 || mean > kShortUs ? kPipelineUs : std::max(0.5, mean));
  lease->load_us += t->cost_us;
  if (lease->inflight.size() > 1) Arm(lease->head_since + kLongHead);
  outbox_->Send(lease->worker, MsgType::kPush, p);
}

// Asks our raylet for as many workers as tasks are queued. Said again only when it has changed by a factor:
// a burst of n submissions costs log n messages.
void Submitter::UpdateDemand(ShapeQueue* q, TimeNs now) {
  const auto queued = std::min<uint64_t>(q->queue.size, 1'000'000);
  const uint64_t asked = q->outstanding();
  const bool more = queued > asked && (asked == 0 || queued >= 2 * asked);
  const bool less = asked != 0 && (queued == 0 || queued < asked / 2);
  if (!more && !less) return;
  if (more) {
    for (auto& [key, other] : shapes_) {
      if (other.get() != q) ReturnIdle(other.get(), now + 1);
    }
  }
  AskFor(q, queued);
}

// So many more than have come.
void Submitter::AskFor(ShapeQueue* q, uint64_t more) {
  q->wanted = q->received + more;
  LeaseRequest m;
  m.shape_key = q->key;
  m.epoch = q->epoch;
  m.wanted = q->wanted;
  m.run_us = static_cast<uint32_t>(std::min(q->run_us, 4e9));
  m.shape = q->shape;
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kLeaseRequest, m);
}

// Some of what was asked for may never come: it is counted anew from here, and grants of before do not count.
void Submitter::NewEpoch(ShapeQueue* q) {
  ++q->epoch;
  q->wanted = q->received = 0;
}

// Whether a lease that comes when nothing is queued any more is a reserve for the next task. A steady stream
// needs one lease more than it has tasks at a time, now and then; without it, each task would ask for one and
// give it back.
bool Submitter::WorthKeeping(const ShapeQueue& q) {
  return !q.shape.actor && q.shape.strategy != Strategy::kSpread &&
         kLeasesPerReserve * (q.idle.size() + 1) <= q.leases.size();
}

void Submitter::WentIdle(ShapeQueue* q, Lease* lease, TimeNs now) {
  if (lease->idle() || lease->retiring || lease->blocked || lease->revoking) return;
  lease->load_us = 0;
  lease->idle_since = now;
  q->idle.Add(lease);
  // A spread shape must meet the scheduler again; others keep the lease for the next call.
  if (q->shape.strategy == Strategy::kSpread && q->queue.size == 0) {
    ReturnLease(lease, WorkerAfter::kIdle);
    return;
  }
  Arm(now + kLinger);
}

void Submitter::ReturnIdle(ShapeQueue* q, TimeNs idle_before) {
  const std::vector<Lease*> idle(q->idle.begin(), q->idle.end());
  for (Lease* lease : idle) {
    if (lease->idle_since < idle_before) ReturnLease(lease, WorkerAfter::kIdle);
  }
}

void Submitter::ForgetLease(Lease* lease) {
  ShapeQueue* q = lease->shape;
  q->idle.Remove(lease);
  q->pipelined.Remove(lease);
  auto [first, last] = by_worker_.equal_range(lease->worker);
  for (auto it = first; it != last; ++it) {
    if (it->second == lease) {
      by_worker_.erase(it);
      break;
    }
  }
  const size_t at = lease->at;
  std::swap(q->leases[at], q->leases.back());
  q->leases[at]->at = at;
  q->leases.pop_back();
}

void Submitter::ReturnLease(Lease* lease, WorkerAfter after) {
  LeaseReturn m;
  m.lease = lease->id;
  m.worker = after;
  outbox_->Send(lease->granter, MsgType::kLeaseReturn, m);
  ForgetLease(lease);
}

// ---- events -----------------------------------------------------------------------------------------------

void Submitter::OnGrant(const Address& from, const Grant& m, TimeNs now) {
  const auto it = shapes_.find(m.shape_key);
  if (it == shapes_.end()) return;
  ShapeQueue* q = it->second.get();
  if (m.epoch == q->epoch) ++q->received;
  auto lease = std::make_unique<Lease>();
  lease->id = m.lease;
  lease->granter = from;
  lease->worker = m.worker;
  lease->shape = q;
  Lease* l = lease.get();
  l->at = q->leases.size();
  q->leases.push_back(std::move(lease));
  by_worker_.emplace(m.worker, l);
  if (tasks_->draining() || (q->queue.size == 0 && !WorthKeeping(*q))) {  // somebody else may need it
    ReturnLease(l, WorkerAfter::kIdle);
    return;
  }
  WentIdle(q, l, now);
  Pump(q, now);
}

void Submitter::OnReclaim(const Address& from, const Reclaim& m, TimeNs now) {
  for (auto& [key, q] : shapes_) {
    ReturnIdle(q.get(), now + 1);
    if (m.leases.empty()) continue;
    for (auto& lease : q->leases) {
      const bool recalled =
          lease->granter == from && std::find(m.leases.begin(), m.leases.end(), lease->id) != m.leases.end();
      if (!recalled || lease->inflight.empty()) continue;
      lease->give_back = true;
      if (lease->inflight.size() == 1 || lease->revoking || lease->blocked) continue;
      RevokeBehind(lease.get());
    }
  }
}

void Submitter::LeaveGroup(uint32_t group, TimeNs now) {
  for (auto& [key, q] : shapes_) {
    if (q->shape.group == group) ReturnIdle(q.get(), now + 1);
  }
}

void Submitter::OnUnschedulable(const Unschedulable& m) {
  const auto it = shapes_.find(m.shape_key);
  if (it == shapes_.end()) return;
  ShapeQueue* q = it->second.get();
  NewEpoch(q);
  const bool actor = q->shape.actor;
  const ErrorType type = m.group_removed
                             ? (actor ? ErrorType::kActorGroupRemoved : ErrorType::kTaskGroupRemoved)
                             : (actor ? ErrorType::kActorUnschedulable : ErrorType::kTaskUnschedulable);
  const std::string reason =
      m.group_removed && actor
          ? "Could not create the actor because its associated placement group was removed."
          : m.reason;
  while (!q->queue.empty()) tasks_->FailWith(q->queue.head, type, reason);
}

Task* Submitter::PushedTask(const TaskRef& ref, const Address& worker) const {
  Task* t = tasks_->Find(ref.task);
  const bool current = t != nullptr && t->lease != nullptr && t->state == TaskState::kPushed &&
                       t->attempt == ref.attempt && t->lease->worker == worker;
  return current ? t : nullptr;
}

void Submitter::TakeOff(Task* t, TimeNs now) {
  Lease* lease = t->lease;
  t->lease = nullptr;
  lease->load_us = std::max(0.0, lease->load_us - static_cast<double>(t->cost_us));
  if (lease->inflight.front() == t) {
    lease->inflight.pop_front();
    lease->head_since = now;
    lease->give_back |= lease->blocked;
    lease->blocked = false;
    if (lease->inflight.size() > 1) Arm(now + kLongHead);
  } else {
    lease->inflight.erase(std::find(lease->inflight.begin(), lease->inflight.end(), t));
  }
  if (lease->inflight.size() < 2) lease->shape->pipelined.Remove(lease);
}

// What waits behind its running task goes elsewhere.
void Submitter::RevokeBehind(Lease* lease) {
  lease->revoking = true;
  outbox_->Send(lease->worker, MsgType::kRevoke, Revoke{});
}

void Submitter::OnResult(const Address& from, Result& m, TimeNs now) {
  Task* t = PushedTask({m.task, m.attempt, false, false}, from);
  if (t == nullptr) {
    tasks_->DropResult(from, m);
    return;
  }
  Lease* lease = t->lease;
  ShapeQueue* q = lease->shape;
  if (t->creates_actor()) return OnCreationResult(t, lease, m, now);
  const double run_us = std::max<double>(0.3, m.run_us);
  TakeOff(t, now);
  t->tmpl->mean_us = t->tmpl->mean_us < 0 ? run_us : 0.8 * t->tmpl->mean_us + 0.2 * run_us;
  q->run_us = t->tmpl->mean_us;
  if (m.retryable_error && !t->cancelled && TaskTable::ChargeRetry(t)) {
    tasks_->DropResult(from, m);
    // Where its arguments lie may have changed since: the queue need not be this lease's.
    if (ShapeQueue* to = Enqueue(t, false)) Touch(to);
  } else {
    tasks_->Complete(t, from, m);
  }
  if (lease->inflight.empty() && (lease->retiring || lease->give_back)) {
    ReturnLease(lease, lease->retiring ? WorkerAfter::kRetires : WorkerAfter::kIdle);
  } else if (lease->inflight.empty()) {
    WentIdle(q, lease, now);
    if (q->queue.size == 0 && q->leases.size() > 1) {
      for (Lease* other : q->pipelined) {
        if (other->load_us > kShortUs && !other->revoking) RevokeBehind(other);
      }
    }
  }
  if (q->queue.size != 0) Pump(q, now);
}

void Submitter::OnReturned(const Address& from, const Returned& m, TimeNs now) {
  std::vector<ShapeQueue*> queues;
  const auto [first, last] = by_worker_.equal_range(from);
  std::vector<Lease*> leases;
  for (auto it = first; it != last; ++it) leases.push_back(it->second);
  for (Lease* lease : leases) {
    if (m.missing.nil()) lease->revoking = false;
    lease->retiring |= m.retiring;
    queues.push_back(lease->shape);
  }
  // Back to front, so that the queue's head ends up in the old order.
  for (auto it = m.tasks.rbegin(); it != m.tasks.rend(); ++it) {
    Task* t = PushedTask(*it, from);
    if (t == nullptr) continue;
    TakeOff(t, now);
    if (t->cancelled) {
      tasks_->FailWith(t, ErrorType::kTaskCancelled, kCancelledInTime);
    } else if (m.missing.nil() || !tasks_->AwaitMissing(t, m)) {
      Enqueue(t, true);
    }
  }
  for (Lease* lease : leases) {
    lease->blocked = m.blocked && !lease->inflight.empty();
    if (lease->inflight.empty()) {
      if (lease->retiring || lease->give_back) {
        ReturnLease(lease, lease->retiring ? WorkerAfter::kRetires : WorkerAfter::kIdle);
      } else {
        WentIdle(lease->shape, lease, now);
      }
    }
  }
  for (ShapeQueue* q : queues) Pump(q, now);
}

void Submitter::OnTimer(TimeNs now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  if (!resting_.empty()) WakeRested(now);
  for (auto& [key, q] : shapes_) {
    ReturnIdle(q.get(), now - kLinger + 1);
    for (Lease* lease : q->idle) Arm(std::max(lease->idle_since + kLinger, now + kTimerGrain));
    for (Lease* lease : q->pipelined) {
      if (lease->revoking || lease->blocked) continue;
      if (now - lease->head_since >= kLongHead) {
        Task* head = lease->inflight.front();
        head->tmpl->mean_us = std::max(head->tmpl->mean_us, kPipelineUs);
        // Nor may what comes back be pushed behind it again.
        const double more = kPipelineUs - static_cast<double>(head->cost_us);
        head->cost_us += static_cast<float>(more);
        lease->load_us += more;
        RevokeBehind(lease);
      } else {
        Arm(std::max(lease->head_since + kLongHead, now + kTimerGrain));
      }
    }
  }
}

}  // namespace rmpi::core
