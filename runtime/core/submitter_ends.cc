// SPDX-License-Identifier: Apache-2.0
// Submitter: the lives of actors, the deaths of workers and nodes, cancels (PROTOCOL T6, T8, A1).
#include <algorithm>
#include <deque>

#include "runtime/core/submitter.h"

namespace rmpi::core {
namespace {

constexpr TimeNs kFirstRest = kSecond, kMostRest = 60 * kSecond;

}  // namespace

// ---- actors -----------------------------------------------------------------------------------------------

void Submitter::OnCreationResult(Task* t, Lease* lease, const Result& m, TimeNs now) {
  tasks_->DropResult(lease->worker, m);  // what a constructor returns is of no use
  if (m.values.empty() || m.values[0].kind == static_cast<uint8_t>(ValueKind::kValue)) {
    t->state = TaskState::kAlive;  // stays on its lease
    actors_->OnActorAlive(t, m.values.empty() ? Blob() : m.values[0].bytes);
    return;
  }
  TakeOff(t, now);
  tasks_->Fail(t, m.values[0].kind, m.values[0].bytes);
  ReturnLease(lease, WorkerAfter::kLeaves);
}

void Submitter::EndActor(Task* creation) {
  Lease* lease = creation->lease;
  lease->inflight.clear();
  creation->lease = nullptr;
  ReturnLease(lease, WorkerAfter::kLeaves);
}

void Submitter::KillActor(Task* creation, bool for_good) {
  Lease* lease = creation->lease;
  outbox_->Send(RayletOf(lease->worker.node), MsgType::kKillTask,
                KillTask{lease->worker, creation->id(), creation->attempt, lease->id});
  if (!for_good) return;
  lease->inflight.clear();
  lease->retiring = true;  // it ends with the worker's EOF
  creation->lease = nullptr;
}

// ---- death ------------------------------------------------------------------------------------------------

// Its worker is gone. `claimed`: user code may have started.
void Submitter::LoseTask(Task* t, const Eof& eof, bool claimed, ErrorType type) {
  const bool alive = t->state == TaskState::kAlive;
  const auto retry = eof.drained                                ? TaskTable::RetryAfterDrain
                     : eof.out_of_memory && !t->creates_actor() ? TaskTable::RetryForFree
                                                                : TaskTable::ChargeRetry;
  t->state = TaskState::kPushed;
  if (tasks_->draining()) {  // the job is over: nobody asks for it any more, and nothing starts again
    tasks_->FailWith(t, ErrorType::kRuntimeShutdown, "the job has ended");
  } else if (!claimed && !alive) {  // never started: free of charge
    if (t->cancelled) {
      tasks_->FailWith(t, ErrorType::kTaskCancelled, kCancelledInTime);
    } else {
      Enqueue(t, true);
    }
  } else if (!t->cancelled && retry(t)) {
    if (t->creates_actor()) actors_->OnActorRestarting(t, eof.cause);
    if (eof.out_of_memory && !t->creates_actor()) {
      Rest(t);
    } else {
      Enqueue(t, true);
    }
  } else if (t->creates_actor()) {
    tasks_->FailWith(t, eof.out_of_memory ? ErrorType::kOutOfMemory : ErrorType::kActorDied,
                     actors_->WhyDead(t, eof.cause));
  } else if (t->cancelled_by_force && !eof.out_of_memory) {
    tasks_->FailWith(
        t, ErrorType::kTaskCancelled,
        "task " + t->tmpl->function_name + " was cancelled with force while it ran: " + eof.cause);
  } else {
    tasks_->FailWith(t, eof.out_of_memory ? ErrorType::kOutOfMemory : type,
                     "the worker that ran task " + t->tmpl->function_name + " died" +
                         (t->cancelled ? " (it had been cancelled, and is not retried): " : ": ") +
                         eof.cause);
  }
}

// What was ended for want of memory would soon be so again: it waits, twice as long each time (Ray's
// numbers). The clock starts in Settle.
void Submitter::Rest(Task* t) {
  t->state = TaskState::kQueued;
  t->not_before = 0;
  if (t->out_of_memory < UINT8_MAX) ++t->out_of_memory;
  resting_.PushBack(t);
}

void Submitter::WakeRested(TimeNs now) {
  for (Task* t = resting_.head; t != nullptr;) {
    Task* next = t->next;
    if (t->not_before == 0)
      t->not_before = now + std::min(kMostRest, kFirstRest << std::min(t->out_of_memory - 1, 6));
    if (t->not_before > now) {
      Arm(t->not_before);
    } else {
      resting_.Remove(t);
      if (ShapeQueue* q = Enqueue(t, true)) Touch(q);
    }
    t = next;
  }
}

void Submitter::LoseLease(Lease* lease, const Eof& eof, ErrorType type) {
  ShapeQueue* q = lease->shape;
  const uint32_t node = lease->worker.node;
  std::deque<Task*> inflight = std::move(lease->inflight);
  ForgetLease(lease);  // frees it
  for (auto it = inflight.rbegin(); it != inflight.rend(); ++it) {
    Task* t = *it;
    t->lease = nullptr;
    const bool claimed = eof.Claimed(t->id(), t->attempt);
    const bool answered = t->state == TaskState::kAlive;
    if (claimed && !answered && type != ErrorType::kNodeDied) tasks_->FreeUnannounced(t, node);
    LoseTask(t, eof, claimed, type);
  }
  // Not now: asking for more returns other queues' idle leases, and the caller may still hold some of those.
  Touch(q);
}

void Submitter::OnEof(const Eof& eof) {
  const auto [first, last] = by_worker_.equal_range(eof.who);
  std::vector<Lease*> leases;
  for (auto it = first; it != last; ++it) leases.push_back(it->second);
  for (Lease* lease : leases) LoseLease(lease, eof, ErrorType::kWorkerCrashed);
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
    const bool asked = q->outstanding() != 0;
    NewEpoch(q.get());
    if (asked && q->queue.size == 0) AskFor(q.get(), 0);  // our raylet still has some of it
    UpdateDemand(q.get(), now);
  }
}

// ---- cancel -----------------------------------------------------------------------------------------------

void Submitter::Cancel(Task* t, bool force, bool recursive) {
  t->cancelled = true;
  if (force) t->cancelled_by_force = true;
  if (t->state != TaskState::kPushed) {
    Touch(t->shape);  // less is wanted
    tasks_->FailWith(t, ErrorType::kTaskCancelled, kCancelledInTime);
    return;
  }
  // Behind the PUSH on the same FIFO. With force the worker's raylet kills, iff the claim still matches.
  outbox_->Send(t->lease->worker, MsgType::kCancel, TaskRef{t->id(), t->attempt, force, recursive});
  if (force) {
    outbox_->Send(RayletOf(t->lease->worker.node), MsgType::kKillTask,
                  KillTask{t->lease->worker, t->id(), t->attempt, 0});
  }
}

}  // namespace rmpi::core
