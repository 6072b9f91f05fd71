// SPDX-License-Identifier: Apache-2.0
// The plain tasks and the creations of actors that this process submitted: waiting for arguments, queued by
// shape, pushed to leased workers, retried, cancelled, done (PROTOCOL T1 to T3, T5, T6, T8). The creation of
// an actor stays on its lease as long as the actor lives; its retries are the actor's restarts.
//
// A shape's queue is served by its leases. A worker gets more than one task at a time only for functions
// measured to be short, and what it has not claimed is still ours: REVOKE brings it back.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/core/task_table.h"

namespace rmpi::core {

inline constexpr char kCancelledInTime[] = "the task was cancelled before it started";

constexpr size_t kNowhere = SIZE_MAX;

struct Lease {
  uint64_t id = 0;
  Address granter;
  Address worker;
  ShapeQueue* shape = nullptr;
  std::deque<Task*> inflight;  // in push order
  TemplatesSent templates_sent;
  double load_us = 0;  // estimated, of inflight
  TimeNs head_since = 0;
  TimeNs idle_since = 0;
  bool blocked = false;  // its running task waits for something
  // Its task blocked, so its CPU may be lent twice now: back to the scheduler after it.
  bool give_back = false;
  bool retiring = false;
  bool revoking = false;
  // Where it stands in its queue's lists.
  size_t at = kNowhere, idle_at = kNowhere, pipelined_at = kNowhere;

  bool idle() const { return idle_at != kNowhere; }
};

// Some of a queue's leases. Each knows where it stands: an owner may have a hundred thousand.
template <size_t Lease::*At>
class LeaseList {
 public:
  bool empty() const { return leases_.empty(); }
  size_t size() const { return leases_.size(); }
  Lease* back() const { return leases_.back(); }
  auto begin() const { return leases_.begin(); }
  auto end() const { return leases_.end(); }
  void Add(Lease* lease) {
    lease->*At = leases_.size();
    leases_.push_back(lease);
  }
  // If it stands here.
  void Remove(Lease* lease) {
    const size_t at = std::exchange(lease->*At, kNowhere);
    if (at == kNowhere) return;
    leases_[at] = leases_.back();
    if (leases_[at] != lease) leases_[at]->*At = at;
    leases_.pop_back();
  }

 private:
  std::vector<Lease*> leases_;
};

struct ShapeQueue {
  uint32_t key = 0;
  Shape shape;
  TaskList queue;
  std::vector<std::unique_ptr<Lease>> leases;
  LeaseList<&Lease::idle_at> idle;            // nothing in flight; most recently used last
  LeaseList<&Lease::pipelined_at> pipelined;  // more than one task in flight
  size_t cursor = 0;
  double run_us = 0;  // of its tasks, those of the latest runs; 0: none yet
  // Leases asked for and come, counted from the epoch's beginning (LeaseRequest).
  uint32_t epoch = 1;
  uint64_t wanted = 0;
  uint64_t received = 0;
  std::string unschedulable;

  uint64_t outstanding() const { return wanted - std::min(wanted, received); }
};

class Submitter {
 public:
  Submitter(Outbox* outbox, ObjectTable* objects, TaskTable* tasks, ActorListener* actors)
      : outbox_(outbox), objects_(objects), tasks_(tasks), actors_(actors) {}

  // A new task of the table's goes on its way.
  void Start(Task* t, TimeNs now);
  void OnReady(Task* t, TimeNs now);  // its last argument has come
  void Cancel(Task* t, bool force, bool recursive);
  void Settle(TimeNs now);

  void OnGrant(const Address& from, const Grant& m, TimeNs now);
  void OnReclaim(const Address& from, const Reclaim& m, TimeNs now);
  // Before this process removes a group: workers that it holds there without need are not ended with it.
  void LeaveGroup(uint32_t group, TimeNs now);
  void OnUnschedulable(const Unschedulable& m);
  void OnResult(const Address& from, Result& m, TimeNs now);
  void OnReturned(const Address& from, const Returned& m, TimeNs now);
  void OnEof(const Eof& eof);
  void OnNodeDead(uint32_t node, const std::string& reason, TimeNs now);
  // Returns idle leases, revokes behind long tasks. `NextDeadline`: when it wants to be called.
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return deadline_; }

  // A task is about to be failed by somebody else: less is wanted.
  void Withdraw(Task* t) {
    if (t->shape != nullptr) Touch(t->shape);
  }
  // The actor of this creation, which is alive, ends: its worker leaves when it has nothing to do any more.
  void EndActor(Task* creation);
  // Its worker is killed. for_good: the creation leaves the lease at once; else what follows comes with the
  // EOF.
  void KillActor(Task* creation, bool for_good);

  // The task, if it is where `ref`, said by `worker`, has it: pushed there with that attempt.
  Task* PushedTask(const TaskRef& ref, const Address& worker) const;

  size_t lease_count() const { return by_worker_.size(); }
  const std::unordered_map<uint32_t, std::unique_ptr<ShapeQueue>>& shapes() const { return shapes_; }

 private:
  ShapeQueue* QueueOf(const Shape& shape);
  ShapeQueue* QueueOf(Template* tmpl, uint32_t depth);
  ShapeQueue* Enqueue(Task* t, bool front);
  void PullTowardsArgs(Task* t);
  bool Pushable(Task* t, TimeNs now);
  void Touch(ShapeQueue* q) {
    if (touched_.empty() || touched_.back() != q) touched_.push_back(q);
  }
  void Pump(ShapeQueue* q, TimeNs now);
  Lease* PickLease(ShapeQueue* q, const Task& t);
  bool CanPush(const Lease& lease, const Task& t) const;
  static bool WorthKeeping(const ShapeQueue& q);
  void WentIdle(ShapeQueue* q, Lease* lease, TimeNs now);
  void PushTask(Lease* lease, Task* t, TimeNs now);
  void UpdateDemand(ShapeQueue* q, TimeNs now);
  void AskFor(ShapeQueue* q, uint64_t more);
  static void NewEpoch(ShapeQueue* q);
  void ReturnLease(Lease* lease, WorkerAfter after);
  void ReturnIdle(ShapeQueue* q, TimeNs idle_before);
  void TakeOff(Task* t, TimeNs now);  // from its lease's inflight list
  void RevokeBehind(Lease* lease);
  void OnCreationResult(Task* t, Lease* lease, const Result& m, TimeNs now);
  void LoseLease(Lease* lease, const Eof& eof, ErrorType type);
  void LoseTask(Task* t, const Eof& eof, bool claimed, ErrorType type);
  void Rest(Task* t);
  void WakeRested(TimeNs now);
  void ForgetLease(Lease* lease);
  void Arm(TimeNs when) {
    if (when < deadline_) deadline_ = when;
  }

  Outbox* outbox_;
  ObjectTable* objects_;
  TaskTable* tasks_;
  ActorListener* actors_;
  uint32_t next_shape_ = 1;
  std::map<Shape, ShapeQueue*> by_shape_;
  std::unordered_map<uint32_t, std::unique_ptr<ShapeQueue>> shapes_;
  std::unordered_multimap<Address, Lease*> by_worker_;
  std::vector<ShapeQueue*> touched_;  // by something that could not pump them: Settle() does
  TimeNs deadline_ = kNever;
  TaskList resting_;  // ended for want of memory: they wait before they are tried again
};

}  // namespace rmpi::core
