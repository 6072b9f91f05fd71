// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/actor_calls.h"

#include <utility>

#include "runtime/core/eofs.h"

namespace rmpi::core {

ActorQueue* ActorCalls::QueueOf(const ObjectId& actor) {
  auto& q = queues_[actor];
  if (!q) {
    q = std::make_unique<ActorQueue>();
    q->actor = actor;
    Watch(actor.owner(), actor);
    outbox_->Send(actor.owner(), MsgType::kActorLocate, ActorLocate{actor, false});
  }
  return q.get();
}

size_t ActorCalls::pending(const ObjectId& actor) const {
  const auto it = queues_.find(actor);
  return it == queues_.end() ? 0 : it->second->pending();
}

void ActorCalls::Forget(const ObjectId& actor) {
  const auto it = queues_.find(actor);
  if (it == queues_.end()) return;
  for (const Address& who : {actor.owner(), it->second->pushed_to, it->second->state.worker})
    Unwatch(who, actor);
  queues_.erase(it);
  if (actor.owner() != objects_->self())
    outbox_->Send(actor.owner(), MsgType::kActorLocate, ActorLocate{actor, true});
}

void ActorCalls::Unwatch(const Address& who, const ObjectId& actor) {
  const auto it = watched_.find(who);
  if (it == watched_.end()) return;
  it->second.erase(actor);
  if (it->second.empty()) watched_.erase(it);
}

void ActorCalls::Start(Task* t, Entry* handle) {
  ActorQueue* q = QueueOf(handle->id);
  t->calls = q;
  t->handle = handle;
  objects_->AddHold(handle);
  const bool ready = tasks_->Resolve(t);
  if (!ready && !t->in_turn()) {
    ++q->unready;
    return;
  }
  t->state = ready ? TaskState::kQueued : TaskState::kWaitArgs;
  t->again ? q->waiting.PushFront(t) : q->waiting.PushBack(t);
  if (q->waiting.head == t) Pump(q);
}

void ActorCalls::OnReady(Task* t) {
  ActorQueue* q = t->calls;
  t->state = TaskState::kQueued;
  if (t->list == nullptr) {
    --q->unready;
    t->again ? q->waiting.PushFront(t) : q->waiting.PushBack(t);
  }
  if (q->waiting.head == t) Pump(q);
}

// Sends what may go. Nothing goes to a new worker before all that the old one had is settled: the order of
// retries.
void ActorCalls::Pump(ActorQueue* q) {
  if (q->state.phase == ActorPhase::kDead) {
    if (q->inflight.empty()) Die(q, q->state.kind, q->state.error);
    return;
  }
  if (q->state.phase != ActorPhase::kAlive) return;
  if (q->pushed_to != q->state.worker) {
    if (!q->inflight.empty()) return;
    q->pushed_to = q->state.worker;
    q->leaving = false;
    q->templates_sent.clear();
  }
  while (Task* t = q->waiting.head) {
    if (q->leaving || t->state != TaskState::kQueued) return;
    PushNext(q, t);
  }
}

void ActorCalls::PushNext(ActorQueue* q, Task* t) {
  if (tasks_->LacksArgs(t) && !tasks_->Resolve(t)) {  // one was lost again: it keeps its turn, if it has one
    if (t->in_turn()) return;
    q->waiting.Remove(t);
    ++q->unready;
    return;
  }
  if (!tasks_->CheckArgs(t)) return;  // failed
  q->waiting.Remove(t);
  t->state = TaskState::kPushed;
  q->inflight.PushBack(t);
  outbox_->Send(q->pushed_to, MsgType::kPush, tasks_->MakePush(t, &q->templates_sent));
}

// One that was pushed waits again, in its old place: later calls may wait for its result, and it for none of
// theirs.
void ActorCalls::PutBack(ActorQueue* q, Task* t) {
  t->state = TaskState::kQueued;
  if (!t->in_turn()) return q->waiting.PushFront(t);
  Task* later = q->waiting.head;
  while (later != nullptr && (!later->in_turn() || later->id().sequence < t->id().sequence))
    later = later->next;
  q->waiting.InsertBefore(t, later);
}

// ---- answers ----------------------------------------------------------------------------------------------

Task* ActorCalls::PushedTask(const TaskRef& ref, const Address& worker) const {
  Task* t = tasks_->Find(ref.task);
  if (t == nullptr || t->calls == nullptr || t->list != &t->calls->inflight) return nullptr;
  return t->attempt == ref.attempt && t->calls->pushed_to == worker ? t : nullptr;
}

void ActorCalls::OnResult(const Address& from, Result& m) {
  Task* t = PushedTask({m.task, m.attempt, false, false}, from);
  if (t == nullptr) return tasks_->DropResult(from, m);
  ActorQueue* q = t->calls;
  q->inflight.Remove(t);
  if (m.retryable_error && !t->cancelled && TaskTable::ChargeRetry(t)) {
    tasks_->DropResult(from, m);
    PutBack(q, t);
  } else {
    tasks_->Complete(t, from, m);
  }
  if (!q->waiting.empty() || q->state.phase == ActorPhase::kDead) Pump(q);
}

void ActorCalls::OnReturned(const Address& from, const Returned& m) {
  ActorQueue* q = nullptr;
  for (auto it = m.tasks.rbegin(); it != m.tasks.rend(); ++it) {  // back to front: the old order
    Task* t = PushedTask(*it, from);
    if (t == nullptr) continue;
    q = t->calls;
    q->inflight.Remove(t);
    PutBack(q, t);
    if (t->cancelled)
      tasks_->FailWith(t, ErrorType::kTaskCancelled, "the call was cancelled before it started");
  }
  if (q == nullptr) return;
  q->leaving |= m.retiring;
  Pump(q);
}

// ---- what the creator says --------------------------------------------------------------------------------

void ActorCalls::OnState(const ActorState& m) {
  const auto it = queues_.find(m.actor);
  if (it == queues_.end()) return;
  ActorQueue* q = it->second.get();
  if (q->state.phase == ActorPhase::kDead) return;
  q->state = m;
  if (m.phase == ActorPhase::kAlive) Watch(m.worker, m.actor);
  if (m.phase == ActorPhase::kRestarting || m.phase == ActorPhase::kAlive) FailLost(q);
  Pump(q);
}

void ActorCalls::FailLost(ActorQueue* q) {
  while (Task* t = q->lost.head) {
    tasks_->FailWith(t, ErrorType::kActorUnavailable,
                     "The actor " + ActorHex(q->actor) + " is unavailable: it restarts, and this call (" +
                         t->tmpl->function_name + ") was running and has no retries. " + q->state.cause);
  }
}

// The caller makes sure that nothing is in flight: its worker's word comes first.
void ActorCalls::Die(ActorQueue* q, uint8_t kind, const Blob& error) {
  while (Task* t = q->lost.head) tasks_->Fail(t, kind, error);
  while (Task* t = q->waiting.head) tasks_->Fail(t, kind, error);
}

// ---- death ------------------------------------------------------------------------------------------------

void ActorCalls::LoseWorker(ActorQueue* q, const Eof& eof) {
  while (Task* t = q->inflight.tail) {
    q->inflight.Remove(t);
    t->state = TaskState::kQueued;
    const bool claimed = eof.Claimed(t->id(), t->attempt);
    if (claimed) tasks_->FreeUnannounced(t, eof.who.node);
    if (tasks_->draining()) {
      tasks_->FailWith(t, ErrorType::kRuntimeShutdown, "the job has ended");
    } else if (t->cancelled) {
      tasks_->FailWith(t, ErrorType::kTaskCancelled, "the call was cancelled");
    } else if (!claimed || (eof.drained ? TaskTable::RetryAfterDrain(t) : TaskTable::ChargeRetry(t))) {
      PutBack(q, t);
    } else {
      q->lost.PushFront(t);
    }
  }
  q->pushed_to = {};
  q->templates_sent.clear();
  if (q->state.worker == eof.who && q->state.phase == ActorPhase::kAlive)
    q->state.phase = ActorPhase::kPending;
  if (q->state.phase != ActorPhase::kDead && q->state.phase != ActorPhase::kPending) FailLost(q);
  Pump(q);
}

void ActorCalls::OnEof(const Eof& eof) {
  const auto watched = watched_.extract(eof.who);
  if (watched.empty()) return;
  for (const ObjectId& actor : watched.mapped()) {
    const auto it = queues_.find(actor);
    if (it == queues_.end()) continue;
    ActorQueue* q = it->second.get();
    if (q->pushed_to == eof.who || q->state.worker == eof.who) LoseWorker(q, eof);
    if (actor.owner() != eof.who) continue;
    ActorState m;
    m.actor = actor;
    m.phase = ActorPhase::kDead;
    m.kind = static_cast<uint8_t>(ValueKind::kSystemError);
    m.error =
        EncodeSystemError(static_cast<uint8_t>(ErrorType::kActorDied),
                          "The actor is dead because its owner has died. " + eof.cause, ActorHex(actor));
    OnState(m);
  }
}

void ActorCalls::OnNodeDead(uint32_t node, const std::string& reason) {
  std::vector<Address> gone;
  for (auto& [actor, q] : queues_) {
    if (q->pushed_to.node == node) gone.push_back(q->pushed_to);
    if (q->state.worker.node == node) gone.push_back(q->state.worker);
    if (actor.owner().node == node) gone.push_back(actor.owner());
  }
  ForEachEof(std::move(gone), reason, [this](const Eof& eof) { OnEof(eof); });
}

void ActorCalls::Cancel(Task* t, bool recursive) {
  t->cancelled = true;
  if (t->list == &t->calls->inflight) {
    outbox_->Send(t->calls->pushed_to, MsgType::kCancel, TaskRef{t->id(), t->attempt, false, recursive});
    return;
  }
  ActorQueue* q = t->calls;
  if (t->list == nullptr) --q->unready;
  tasks_->FailWith(t, ErrorType::kTaskCancelled, "the call was cancelled before it started");
  Pump(q);  // it may have stood before others
}

}  // namespace rmpi::core
