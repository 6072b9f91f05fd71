// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/submitter.h"

#include <algorithm>
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
constexpr size_t kCandidates = 16;
constexpr uint64_t kLocalityBytes = kInlineLimit;  // smaller arguments draw no task to their node
constexpr uint64_t kMostPushed = 128 << 20;  // bytes of one task in a message; the largest message has twice that

}  // namespace

Submitter::~Submitter() {
  objects_->ForEachTask([](Task* t) { delete t; });
}

std::shared_ptr<Template> Submitter::Prepare(const TaskTemplate& t) {
  auto p = std::make_shared<Template>();
  p->number = next_template_++;
  p->num_returns = t.num_returns;
  p->max_retries = t.max_retries;
  p->function_name = t.function_name;
  for (const auto& [name, amount] : t.resources) {
    if (amount > 0) p->shape.resources.emplace_back(name, std::llround(amount * 10000));
  }
  std::sort(p->shape.resources.begin(), p->shape.resources.end());
  p->shape.strategy = static_cast<uint8_t>(t.strategy);
  p->shape.affinity_node = t.strategy == Strategy::kNodeAffinity ? t.affinity_node : 0;
  p->shape.affinity_soft = t.affinity_soft;
  p->shape.language = t.language;
  p->shape.job = objects_->job();
  WireTemplate w;
  w.function_id = t.function_id;
  w.function_name = t.function_name;
  w.name = t.name;
  w.retry_list = t.retry_list;
  w.language = t.language;
  w.retry_exceptions = t.retry_exceptions;
  w.num_returns = t.num_returns;
  w.max_calls = t.max_calls;
  w.resources = p->shape.resources;
  Writer writer;
  writer(w);
  p->wire = Blob::Copy(writer.bytes());
  return p;
}

Record* Submitter::Submit(const std::shared_ptr<Template>& tmpl, Blob args, std::vector<Entry*> refs,
                          uint32_t top_level, uint32_t depth, uint32_t parent) {
  Record* record = objects_->NewRecord(TaskKind::kNormal, tmpl->num_returns);
  auto* t = new Task;
  t->record = record;
  record->task = t;
  t->tmpl = tmpl;
  t->args = std::move(args);
  t->top_level = top_level;
  t->retries_left = tmpl->max_retries;
  t->parent = parent;
  if (!refs.empty()) t->refs = std::make_unique<std::vector<Entry*>>(std::move(refs));
  ++pending_;
  t->shape = QueueOf(tmpl.get(), depth);
  return record;
}

void Submitter::ResolveArgs(Task* t, TimeNs now) {
  for (uint32_t i = 0; i < t->top_level; ++i) {
    Entry* e = (*t->refs)[i];
    if (!e->pending()) continue;
    ++t->unresolved;
    e->more().dependents.push_back(t);
    objects_->Resolve(e);
  }
  if (t->unresolved != 0) return;
  if (ShapeQueue* q = Enqueue(t, false)) Pump(q, now);
}

void Submitter::Settle(TimeNs now) {
  while (!ready_.empty()) {
    Task* t = ready_.front();
    ready_.pop_front();
    if (--t->unresolved != 0) continue;
    if (ShapeQueue* q = Enqueue(t, false)) Pump(q, now);
  }
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
  uint64_t best_bytes = kLocalityBytes, pushed = t->args.size();
  uint32_t best_node = 0;
  for (uint32_t i = 0; i < t->top_level; ++i) {
    Entry* e = (*t->refs)[i];
    if (e->kind != static_cast<uint8_t>(ValueKind::kValue)) {
      Fail(t, e->kind, e->value);
      return nullptr;
    }
    if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) {
      pushed += e->value.size();
      continue;
    }
    const Details& d = *e->details;
    const uint32_t self = objects_->self().node;
    const bool here = d.fetch == Fetch::kLocal ||
                      std::any_of(d.places.begin(), d.places.end(), [&](const Place& p) { return p.node == self; });
    if (d.size >= best_bytes && !d.places.empty()) {
      best_bytes = d.size;
      best_node = here ? self : d.places.front().node;
    }
  }
  if (pushed > kMostPushed) {
    FailWith(t, ErrorType::kTaskUnschedulable,
             "the arguments of one call of " + t->tmpl->function_name + " have " + std::to_string(pushed) +
                 " bytes that travel in its message, more than " + std::to_string(kMostPushed) +
                 ": pass large data as a few large objects (ray.put), not as many small ones");
    return nullptr;
  }
  if (best_node != 0 && best_node != objects_->self().node && t->shape->shape.affinity_node == 0 &&
      t->shape->shape.strategy == static_cast<uint8_t>(Strategy::kDefault)) {
    Shape shape = t->shape->shape;
    shape.affinity_node = best_node;
    t->shape = QueueOf(shape);
  }
  ShapeQueue* q = t->shape;
  t->state = TaskState::kQueued;
  if (front) {
    t->next = q->head;
    t->prev = nullptr;
    (q->head != nullptr ? q->head->prev : q->tail) = t;
    q->head = t;
  } else {
    t->prev = q->tail;
    t->next = nullptr;
    (q->tail != nullptr ? q->tail->next : q->head) = t;
    q->tail = t;
  }
  ++q->queued;
  // Its old lease's queue need not be this one.
  if (front) Touch(q);
  return q;
}

void Submitter::Unlink(Task* t) {
  ShapeQueue* q = t->shape;
  (t->prev != nullptr ? t->prev->next : q->head) = t->next;
  (t->next != nullptr ? t->next->prev : q->tail) = t->prev;
  t->prev = t->next = nullptr;
  --q->queued;
}

bool Submitter::CanPush(const Lease& lease, const Task& t) const {
  if (lease.blocked || lease.retiring || lease.revoking || lease.give_back) return false;
  if (lease.inflight.empty()) return true;
  const double mean = t.tmpl->mean_us;
  if (mean < 0 || mean > kShortUs) return false;
  if (lease.shape->shape.strategy == static_cast<uint8_t>(Strategy::kSpread)) return false;
  return lease.load_us + mean <= kPipelineUs && lease.inflight.size() < kPipelineTasks;
}

Lease* Submitter::PickLease(ShapeQueue* q, const Task& t) {
  while (!q->idle.empty()) {
    Lease* lease = q->idle.back();
    if (CanPush(*lease, t)) return lease;
    NotIdle(lease);
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
  while (q->head != nullptr) {
    Lease* lease = PickLease(q, *q->head);
    if (lease == nullptr) break;
    Task* t = q->head;
    Unlink(t);
    if (Pushable(t, now)) PushTask(lease, t, now);
  }
  UpdateDemand(q, now);
}

// While a task was queued, an argument of it may have been lost: then it waits for it again, or fails.
bool Submitter::Pushable(Task* t, TimeNs now) {
  t->state = TaskState::kWaitArgs;
  for (uint32_t i = 0; i < t->top_level; ++i) {
    const Entry* e = (*t->refs)[i];
    if (!e->pending() && e->kind == static_cast<uint8_t>(ValueKind::kValue)) continue;
    ResolveArgs(t, now);
    return false;
  }
  return true;
}

void Submitter::PushTask(Lease* lease, Task* t, TimeNs now) {
  NotIdle(lease);
  Push p;
  p.task = t->id();
  p.attempt = t->attempt;
  p.retries_left = t->retries_left;
  p.depth = lease->shape->shape.depth;
  p.lease = lease->id;
  p.template_number = t->tmpl->number;
  if (lease->templates_sent.size() <= p.template_number) lease->templates_sent.resize(p.template_number + 1);
  if (!lease->templates_sent[p.template_number]) {
    lease->templates_sent[p.template_number] = true;
    p.template_bytes = t->tmpl->wire;
  }
  p.args = t->args;
  if (t->top_level != 0) {
    p.resolved.resize(t->top_level);
    for (uint32_t i = 0; i < t->top_level; ++i) {
      Entry* e = (*t->refs)[i];
      p.resolved[i].id = e->id;
      p.resolved[i].value = objects_->ToWire(*e);
    }
  }
  t->state = TaskState::kPushed;
  t->lease = lease;
  if (lease->inflight.empty()) lease->head_since = now;
  lease->inflight.push_back(t);
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
  const auto wanted = static_cast<uint32_t>(std::min<size_t>(q->queued, 1'000'000));
  const bool more = wanted > q->requested && (q->requested == 0 || wanted >= 2 * q->requested);
  const bool less = q->requested != 0 && (wanted == 0 || wanted < q->requested / 2);
  if (!more && !less) return;
  if (more) {
    for (auto& [key, other] : shapes_) {
      if (other.get() != q) ReturnIdle(other.get(), now + 1);
    }
  }
  q->asked_less |= less;
  AskFor(q, wanted);
}

void Submitter::AskFor(ShapeQueue* q, uint32_t wanted) {
  q->requested = wanted;
  LeaseRequest m;
  m.shape_key = q->key;
  m.wanted = wanted;
  m.shape = q->shape;
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kLeaseRequest, m);
}

void Submitter::WentIdle(ShapeQueue* q, Lease* lease, TimeNs now) {
  if (lease->idle || lease->retiring || lease->blocked || lease->revoking) return;
  lease->load_us = 0;
  lease->idle = true;
  lease->idle_since = now;
  q->idle.push_back(lease);
  // A spread shape must meet the scheduler again; others keep the lease for the next call.
  if (q->shape.strategy == static_cast<uint8_t>(Strategy::kSpread) && q->queued == 0) {
    ReturnLease(q, lease, false);
    return;
  }
  Arm(now + kLinger);
}

void Submitter::NotIdle(Lease* lease) {
  if (!lease->idle) return;
  lease->idle = false;
  auto& idle = lease->shape->idle;
  const auto it = std::find(idle.rbegin(), idle.rend(), lease);
  *it = idle.back();
  idle.pop_back();
}

void Submitter::ReturnIdle(ShapeQueue* q, TimeNs idle_before) {
  const std::vector<Lease*> idle = q->idle;
  for (Lease* lease : idle) {
    if (lease->idle_since < idle_before) ReturnLease(q, lease, false);
  }
}

void Submitter::ForgetLease(Lease* lease) {
  NotIdle(lease);
  ShapeQueue* q = lease->shape;
  auto [first, last] = by_worker_.equal_range(lease->worker);
  for (auto it = first; it != last; ++it) {
    if (it->second == lease) {
      by_worker_.erase(it);
      break;
    }
  }
  const auto it = std::find_if(q->leases.begin(), q->leases.end(), [&](auto& l) { return l.get() == lease; });
  std::swap(*it, q->leases.back());
  q->leases.pop_back();
}

void Submitter::ReturnLease(ShapeQueue*, Lease* lease, bool failed) {
  LeaseReturn m;
  m.lease = lease->id;
  m.worker_retires = failed;
  outbox_->Send(lease->granter, MsgType::kLeaseReturn, m);
  ForgetLease(lease);
}

// ---- events -----------------------------------------------------------------------------------------------------

void Submitter::OnGrant(const Address& from, const Grant& m, TimeNs now) {
  const auto it = shapes_.find(m.shape_key);
  if (it == shapes_.end()) return;
  ShapeQueue* q = it->second.get();
  const bool last = q->requested == 1;
  if (q->requested > 0) --q->requested;
  auto lease = std::make_unique<Lease>();
  lease->id = m.lease;
  lease->granter = from;
  lease->worker = m.worker;
  lease->shape = q;
  Lease* l = lease.get();
  q->leases.push_back(std::move(lease));
  by_worker_.emplace(m.worker, l);
  if (q->queued == 0 || draining_) {  // surplus: somebody else may need it
    ReturnLease(q, l, false);
    return;
  }
  WentIdle(q, l, now);
  Pump(q, now);
  // It may have been a grant of what was withdrawn since; then what was asked for after that still stands.
  if (last && q->asked_less && q->queued == 0 && q->requested == 0) AskFor(q, 0);
}

void Submitter::OnReclaim(TimeNs now) {
  for (auto& [key, q] : shapes_) ReturnIdle(q.get(), now + 1);
}

void Submitter::OnUnschedulable(const Unschedulable& m) {
  const auto it = shapes_.find(m.shape_key);
  if (it == shapes_.end()) return;
  ShapeQueue* q = it->second.get();
  q->requested = 0;
  while (q->head != nullptr) FailWith(q->head, ErrorType::kTaskUnschedulable, m.reason);
}

Task* Submitter::PushedTask(const TaskRef& ref, const Address& worker) {
  Record* record = objects_->FindRecord(ref.task.sequence);
  if (record == nullptr || record->task == nullptr) return nullptr;
  Task* t = record->task;
  const bool current =
      t->state == TaskState::kPushed && t->attempt == ref.attempt && t->lease->worker == worker;
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
    return;
  }
  const auto it = std::find(lease->inflight.begin(), lease->inflight.end(), t);
  lease->inflight.erase(it);
}

void Submitter::DropResult(const Address& from, const Result& m) {
  uint32_t index = 0;
  for (const WireValue& v : m.values) {
    FreeObject f;
    f.id = {m.task, index++, 0};
    f.attempt = v.attempt;
    if (v.state != ValueState::kStored) continue;
    for (const Place& p : v.places) outbox_->Send(RayletOf(p.node), MsgType::kFree, f);
  }
  if (m.needs_ack) outbox_->Send(from, MsgType::kResultAck, TaskRef{m.task, m.attempt, false, false});
}

void Submitter::OnResult(const Address& from, Result& m, TimeNs now) {
  Task* t = PushedTask({m.task, m.attempt, false, false}, from);
  if (t == nullptr) {
    DropResult(from, m);
    return;
  }
  Lease* lease = t->lease;
  ShapeQueue* q = lease->shape;
  const double run_us = std::max<double>(0.3, m.run_us);
  TakeOff(t, now);
  t->tmpl->mean_us = t->tmpl->mean_us < 0 ? run_us : 0.8 * t->tmpl->mean_us + 0.2 * run_us;
  if (m.retryable_error && t->retries_left != 0 && !t->cancelled) {
    DropResult(from, m);
    if (t->retries_left > 0) --t->retries_left;
    ++t->attempt;
    // Where its arguments lie may have changed since: the queue need not be this lease's.
    if (ShapeQueue* to = Enqueue(t, false)) Touch(to);
  } else {
    Complete(t, from, m);
  }
  if (lease->inflight.empty() && (lease->retiring || lease->give_back)) {
    ReturnLease(q, lease, lease->retiring);
  } else if (lease->inflight.empty()) {
    WentIdle(q, lease, now);
    if (q->queued == 0 && q->leases.size() > 1) {
      for (auto& other : q->leases) {
        if (other->inflight.size() > 1 && other->load_us > kShortUs && !other->revoking) {
          other->revoking = true;
          outbox_->Send(other->worker, MsgType::kRevoke, Revoke{});
        }
      }
    }
  }
  if (q->queued != 0) Pump(q, now);
}

void Submitter::OnReturned(const Address& from, const Returned& m, TimeNs now) {
  std::vector<ShapeQueue*> queues;
  const auto [first, last] = by_worker_.equal_range(from);
  std::vector<Lease*> leases;
  for (auto it = first; it != last; ++it) leases.push_back(it->second);
  for (Lease* lease : leases) {
    lease->revoking = false;
    lease->retiring |= m.retiring;
    queues.push_back(lease->shape);
  }
  // Back to front, so that the queue's head ends up in the old order.
  for (auto it = m.tasks.rbegin(); it != m.tasks.rend(); ++it) {
    Task* t = PushedTask(*it, from);
    if (t == nullptr) continue;
    TakeOff(t, now);
    if (t->cancelled) {
      FailWith(t, ErrorType::kTaskCancelled, "the task was cancelled before it started");
    } else {
      Enqueue(t, true);
    }
  }
  for (Lease* lease : leases) {
    lease->blocked = m.blocked && !lease->inflight.empty();
    if (lease->inflight.empty()) {
      if (lease->retiring || lease->give_back) {
        ReturnLease(lease->shape, lease, lease->retiring);
      } else {
        WentIdle(lease->shape, lease, now);
      }
    }
  }
  for (ShapeQueue* q : queues) Pump(q, now);
}

void Submitter::LoseLease(Lease* lease, const Eof& eof, ErrorType type) {
  ShapeQueue* q = lease->shape;
  const uint32_t node = lease->worker.node;
  std::deque<Task*> inflight = std::move(lease->inflight);
  ForgetLease(lease);  // frees it
  for (auto it = inflight.rbegin(); it != inflight.rend(); ++it) {
    Task* t = *it;
    t->lease = nullptr;
    const bool claimed =
        !eof.claims_known || std::any_of(eof.claimed.begin(), eof.claimed.end(), [&](const TaskRef& c) {
          return c.task == t->id() && c.attempt == t->attempt;
        });
    // It may have stored a result that it could not announce any more.
    for (uint32_t i = 0; claimed && type != ErrorType::kNodeDied && i < t->record->returns; ++i) {
      FreeObject f;
      f.id = objects_->ReturnOf(t->record, i)->id;
      f.attempt = t->attempt;
      outbox_->Send(RayletOf(node), MsgType::kFree, f);
    }
    if (draining_) {  // the job is over: nobody asks for it any more, and nothing starts again
      FailWith(t, ErrorType::kRuntimeShutdown, "the job has ended");
    } else if (!claimed) {  // never started: free of charge
      if (t->cancelled) {
        FailWith(t, ErrorType::kTaskCancelled, "the task was cancelled before it started");
      } else {
        Enqueue(t, true);
      }
    } else if (t->cancelled || t->retries_left == 0) {
      FailWith(t, type,
               "the worker that ran task " + t->tmpl->function_name + " died: " + eof.cause +
                   (t->cancelled ? " (the task was cancelled with force)" : ""));
    } else {
      if (t->retries_left > 0) --t->retries_left;
      ++t->attempt;
      Enqueue(t, true);
    }
  }
  // Not now: asking for more returns other queues' idle leases, and the caller may still hold some of those.
  Touch(q);
}

void Submitter::OnEof(const Eof& eof) {
  const auto [first, last] = by_worker_.equal_range(eof.who);
  std::vector<Lease*> leases;
  for (auto it = first; it != last; ++it) leases.push_back(it->second);
  for (Lease* lease : leases) LoseLease(lease, eof, ErrorType::kWorkerCrashed);
  std::erase_if(waiting_acks_, [&](const WaitingAck& w) { return w.to == eof.who; });
}

void Submitter::OnNodeDead(uint32_t node, const std::string& reason, TimeNs now) {
  std::vector<Lease*> leases;
  for (auto& [worker, lease] : by_worker_) {
    if (worker.node == node) leases.push_back(lease);
  }
  Eof eof;
  eof.claims_known = false;
  eof.cause = reason;
  for (Lease* lease : leases) LoseLease(lease, eof, ErrorType::kNodeDied);
  // What the head had assigned to that node is lost with it: all demand is told anew.
  for (auto& [key, q] : shapes_) {
    if (q->queued != 0) {  // else what our raylet still has of it is withdrawn
      q->requested = 0;
      q->asked_less = true;
    }
    UpdateDemand(q.get(), now);
  }
  std::erase_if(waiting_acks_, [&](const WaitingAck& w) { return w.to.node == node; });
}

void Submitter::OnTimer(TimeNs now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  for (auto& [key, q] : shapes_) {
    ReturnIdle(q.get(), now - kLinger + 1);
    for (Lease* lease : q->idle) Arm(lease->idle_since + kLinger);
    for (auto& lease : q->leases) {
      if (lease->inflight.size() < 2 || lease->revoking || lease->blocked) continue;
      if (now - lease->head_since >= kLongHead) {
        lease->revoking = true;
        Task* head = lease->inflight.front();
        head->tmpl->mean_us = std::max(head->tmpl->mean_us, kPipelineUs);
        // Nor may what comes back be pushed behind it again.
        const double more = kPipelineUs - static_cast<double>(head->cost_us);
        head->cost_us += static_cast<float>(more);
        lease->load_us += more;
        outbox_->Send(lease->worker, MsgType::kRevoke, Revoke{});
      } else {
        Arm(lease->head_since + kLongHead);
      }
    }
  }
}

// ---- cancel -----------------------------------------------------------------------------------------------------

void Submitter::Cancel(Entry* e, bool force, bool recursive) {
  if (!e->owned) {
    RefMessage m;
    m.id = e->id;
    m.force = force;
    m.recursive = recursive;
    outbox_->Send(e->id.owner(), MsgType::kCancelRequest, m);
    return;
  }
  Record* record = objects_->FindRecord(e->id.task.sequence);
  if (record == nullptr || record->task == nullptr) return;  // finished: nothing to do
  Task* t = record->task;
  t->cancelled = true;
  if (t->state != TaskState::kPushed) {
    Touch(t->shape);  // less is wanted
    FailWith(t, ErrorType::kTaskCancelled, "the task was cancelled before it started");
    return;
  }
  // Behind the PUSH on the same FIFO. With force the worker's raylet kills, iff the claim still matches.
  outbox_->Send(t->lease->worker, MsgType::kCancel, TaskRef{t->id(), t->attempt, force, recursive});
  if (force) {
    outbox_->Send(RayletOf(t->lease->worker.node), MsgType::kKillTask,
                  KillTask{t->lease->worker, t->id(), t->attempt});
  }
}

void Submitter::CancelChildren(uint32_t parent, bool force) {
  std::vector<Task*> children;
  objects_->ForEachTask([&](Task* t) {
    if (t->parent == parent) children.push_back(t);
  });
  for (Task* t : children) {
    if (t->record->returns != 0) Cancel(objects_->ReturnOf(t->record, 0), force, true);
  }
}

// ---- ends -------------------------------------------------------------------------------------------------------

void Submitter::Complete(Task* t, const Address& from, Result& m) {
  Record* record = t->record;
  const bool one_error_for_all = m.values.size() == 1 && m.values[0].kind != static_cast<uint8_t>(ValueKind::kValue);
  if (!one_error_for_all && m.values.size() != record->returns) {
    DropResult(from, m);
    FailWith(t, ErrorType::kWorkerCrashed,
             "worker " + ToString(from) + " answered task " + t->tmpl->function_name + " with " +
                 std::to_string(m.values.size()) + " values instead of " + std::to_string(record->returns));
    return;
  }
  for (uint32_t i = 0; i < record->returns; ++i) {
    const WireValue& v = m.values[one_error_for_all ? 0 : i];
    Entry* e = objects_->ReturnOf(record, i);
    objects_->SetContained(e, v.contained);
    if (v.state == ValueState::kStored) {
      objects_->SetStored(e, v.kind, v.attempt, v.size, v.places);
    } else {
      objects_->SetInline(e, v.kind, v.bytes);
    }
  }
  if (m.needs_ack) {
    waiting_acks_.push_back({from, {m.task, m.attempt, false, false}, objects_->last_nonce()});
    FlushAcks();
  }
  Finish(t);
}

void Submitter::FlushAcks() {
  while (!waiting_acks_.empty()) {
    const WaitingAck& w = waiting_acks_.front();
    if (objects_->Unacknowledged(w.to, w.upto)) return;
    outbox_->Send(w.to, MsgType::kResultAck, w.task);
    waiting_acks_.pop_front();
  }
}

void Submitter::FailWith(Task* t, ErrorType type, const std::string& message) {
  Fail(t, static_cast<uint8_t>(ValueKind::kSystemError),
       EncodeSystemError(static_cast<uint8_t>(type), message, Hex(t->id())));
}

void Submitter::Fail(Task* t, uint8_t kind, Blob error) {
  if (t->state == TaskState::kQueued) Unlink(t);
  Record* record = t->record;
  t->state = TaskState::kPushed;  // no longer waits: its own returns becoming ready must not touch it
  for (uint32_t i = 0; i < record->returns; ++i) {
    objects_->SetInline(objects_->ReturnOf(record, i), kind, error);
  }
  Finish(t);
}

void Submitter::Finish(Task* t) {
  Record* record = t->record;
  const uint64_t sequence = record->first.id.task.sequence;
  if (t->refs) {
    // A task that failed while it waited is still listed with its unresolved arguments.
    for (uint32_t i = 0; i < t->top_level && t->unresolved != 0; ++i) {
      Entry* e = (*t->refs)[i];
      if (e->details) std::erase(e->details->dependents, t);
    }
    if (t->unresolved != 0) std::erase(ready_, t);
    for (Entry* e : *t->refs) objects_->DropHold(e);
  }
  for (uint32_t i = 0; i < record->returns; ++i) objects_->DropHold(objects_->ReturnOf(record, i));
  record->task = nullptr;
  delete t;
  --pending_;
  objects_->MaybeDropRecord(sequence);
}

}  // namespace rmpi::core
