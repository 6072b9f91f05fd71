// SPDX-License-Identifier: Apache-2.0
// The tasks this process submitted: waiting for arguments, queued by shape, pushed to leased workers,
// retried, cancelled, done (PROTOCOL T1 to T3, T5, T6, T8).
//
// A shape's queue is served by its leases. A worker gets more than one task at a time only for functions
// measured to be short, and what it has not claimed is still ours: REVOKE brings it back.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/core/object_table.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {

struct Lease;
struct ShapeQueue;

struct Template {  // a prepared TaskTemplate
  uint32_t number = 0;
  uint32_t num_returns = 1;
  int32_t max_retries = 3;
  Blob wire;  // WireTemplate
  Shape shape;
  std::string function_name;
  double mean_us = -1;  // of the runs seen; < 0: none yet
  std::vector<ShapeQueue*> by_depth;  // the queue of its shape at each nesting depth
};

enum class TaskState : uint8_t { kWaitArgs, kQueued, kPushed };

struct Task {
  Record* record = nullptr;
  std::shared_ptr<Template> tmpl;
  ShapeQueue* shape = nullptr;
  Lease* lease = nullptr;
  Blob args;
  std::unique_ptr<std::vector<Entry*>> refs;  // top-level arguments, then nested ones; one hold each
  uint32_t top_level = 0;                     // how many of refs are arguments to resolve
  uint32_t unresolved = 0;
  uint32_t attempt = 0;
  int32_t retries_left = 0;
  uint32_t parent = 0;  // serial of the task that submitted it (Executor), for recursive cancel
  TaskState state = TaskState::kWaitArgs;
  bool cancelled = false;
  float cost_us = 0;  // what it adds to its lease's load
  Task* prev = nullptr;  // in the shape's queue
  Task* next = nullptr;

  TaskId id() const { return record->first.id.task; }
};

struct Lease {
  uint64_t id = 0;
  Address granter;
  Address worker;
  ShapeQueue* shape = nullptr;
  std::deque<Task*> inflight;  // in push order
  std::vector<bool> templates_sent;
  double load_us = 0;  // estimated, of inflight
  TimeNs head_since = 0;
  TimeNs idle_since = 0;
  bool blocked = false;   // its running task waits for something
  bool give_back = false;  // its task blocked, so its CPU may be lent twice now: back to the scheduler after it
  bool retiring = false;
  bool revoking = false;
  bool idle = false;  // in its queue's idle list
};

struct ShapeQueue {
  uint32_t key = 0;
  Shape shape;
  Task* head = nullptr;
  Task* tail = nullptr;
  size_t queued = 0;
  std::vector<std::unique_ptr<Lease>> leases;
  std::vector<Lease*> idle;  // of leases: nothing in flight
  size_t cursor = 0;
  uint32_t requested = 0;   // what our raylet believes we still want
  bool asked_less = false;  // once: a grant on its way may be of what was withdrawn
  std::string unschedulable;
};

class Submitter {
 public:
  Submitter(Outbox* outbox, ObjectTable* objects) : outbox_(outbox), objects_(objects) {}
  ~Submitter();  // the tasks that are not done; nobody is told
  Submitter(const Submitter&) = delete;
  Submitter& operator=(const Submitter&) = delete;

  std::shared_ptr<Template> Prepare(const TaskTemplate& t);
  // refs: one hold each, taken over. Returns the record with its returns; nothing happens before Start, so that
  // the caller can take its handles on them first.
  Record* Submit(const std::shared_ptr<Template>& tmpl, Blob args, std::vector<Entry*> refs, uint32_t top_level,
                 uint32_t depth, uint32_t parent);
  void Start(Record* record, TimeNs now) { ResolveArgs(record->task, now); }
  void Cancel(Entry* e, bool force, bool recursive);
  void CancelChildren(uint32_t parent, bool force);
  // An argument became known. Only noted: Settle(), at the end of every event, acts on it, so that a long chain
  // of dependent tasks needs no deep stack.
  void OnDependencyReady(Task* task) { ready_.push_back(task); }
  void Settle(TimeNs now);

  void OnGrant(const Address& from, const Grant& m, TimeNs now);
  void OnReclaim(TimeNs now);
  void OnUnschedulable(const Unschedulable& m);
  void OnResult(const Address& from, Result& m, TimeNs now);
  void OnReturned(const Address& from, const Returned& m, TimeNs now);
  void OnEof(const Eof& eof);
  void OnNodeDead(uint32_t node, const std::string& reason, TimeNs now);
  // Returns idle leases, revokes behind long tasks. `NextDeadline`: when it wants to be called.
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return deadline_; }

  // The job is over (PROTOCOL C5): from here on deaths are not failures, and nothing is retried.
  void Drain() { draining_ = true; }

  // Registrations that held back a RESULT_ACK may have been acknowledged.
  void FlushAcks();
  size_t pending_count() const { return pending_; }
  size_t lease_count() const { return by_worker_.size(); }
  const std::unordered_map<uint32_t, std::unique_ptr<ShapeQueue>>& shapes() const { return shapes_; }

 private:
  struct WaitingAck {
    Address to;
    TaskRef task;
    uint64_t upto;
  };

  ShapeQueue* QueueOf(const Shape& shape);
  ShapeQueue* QueueOf(Template* tmpl, uint32_t depth);
  void ResolveArgs(Task* t, TimeNs now);
  ShapeQueue* Enqueue(Task* t, bool front);
  void Unlink(Task* t);
  bool Pushable(Task* t, TimeNs now);
  void Touch(ShapeQueue* q) {
    if (touched_.empty() || touched_.back() != q) touched_.push_back(q);
  }
  void Pump(ShapeQueue* q, TimeNs now);
  Lease* PickLease(ShapeQueue* q, const Task& t);
  bool CanPush(const Lease& lease, const Task& t) const;
  void WentIdle(ShapeQueue* q, Lease* lease, TimeNs now);
  void NotIdle(Lease* lease);
  void PushTask(Lease* lease, Task* t, TimeNs now);
  void UpdateDemand(ShapeQueue* q, TimeNs now);
  void AskFor(ShapeQueue* q, uint32_t wanted);
  void ReturnLease(ShapeQueue* q, Lease* lease, bool failed);
  void ReturnIdle(ShapeQueue* q, TimeNs idle_before);
  void TakeOff(Task* t, TimeNs now);  // from its lease's inflight list
  Task* PushedTask(const TaskRef& ref, const Address& worker);
  void DropResult(const Address& from, const Result& m);
  void Complete(Task* t, const Address& from, Result& result);
  void Fail(Task* t, uint8_t kind, Blob error);
  void FailWith(Task* t, ErrorType type, const std::string& message);
  void Finish(Task* t);
  void LoseLease(Lease* lease, const Eof& eof, ErrorType type);
  void ForgetLease(Lease* lease);
  void Arm(TimeNs when) {
    if (when < deadline_) deadline_ = when;
  }

  Outbox* outbox_;
  ObjectTable* objects_;
  uint32_t next_template_ = 0;
  uint32_t next_shape_ = 1;
  std::map<Shape, ShapeQueue*> by_shape_;
  std::unordered_map<uint32_t, std::unique_ptr<ShapeQueue>> shapes_;
  std::unordered_multimap<Address, Lease*> by_worker_;
  std::deque<WaitingAck> waiting_acks_;
  std::deque<Task*> ready_;
  bool draining_ = false;
  std::vector<ShapeQueue*> touched_;  // by something that could not pump them: Settle() does
  size_t pending_ = 0;
  TimeNs deadline_ = kNever;
};

}  // namespace rmpi::core
