// SPDX-License-Identifier: Apache-2.0
// The method calls that this process made (PROTOCOL A2): to each actor in the order of submission, straight
// to its worker, whose address the actor's creator tells. Calls of an ordered actor wait for the arguments of
// those before them; those of any other (it is the actor's property: all its methods have the same) go when
// their own have come.
//
// What was pushed is settled only by its worker: a RESULT, a RETURNED (it leaves on purpose), or its EOF,
// which says what it had claimed. Unclaimed calls go to the next incarnation, free of charge; claimed ones
// are charged a retry, or wait to learn from the creator whether the actor is dead or only restarting, which
// makes their error.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/core/task_table.h"

namespace rmpi::core {

// One actor as a caller knows it.
struct ActorQueue {
  ObjectId actor;
  ActorState state;   // the creator's last word
  TaskList waiting;   // in order; the first may still lack arguments
  TaskList inflight;  // pushed to `pushed_to`, oldest first
  TaskList lost;      // claimed by a worker that died, not to be retried
  Address pushed_to;
  bool leaving = false;  // that worker said so
  TemplatesSent templates_sent;
  size_t unready = 0;  // unordered calls that lack arguments: in no list

  size_t pending() const { return waiting.size + inflight.size + lost.size + unready; }
};

class ActorCalls {
 public:
  ActorCalls(Outbox* outbox, ObjectTable* objects, TaskTable* tasks)
      : outbox_(outbox), objects_(objects), tasks_(tasks) {}

  // A new task of the table's is called at the actor. `handle`: this process's entry for it, which each
  // pending call holds.
  void Start(Task* t, Entry* handle);
  void OnReady(Task* t);
  void Cancel(Task* t, bool recursive);
  size_t pending(const ObjectId& actor) const;
  // The last handle and the last call are gone.
  void Forget(const ObjectId& actor);

  void OnState(const ActorState& m);
  void OnResult(const Address& from, Result& m);
  void OnReturned(const Address& from, const Returned& m);
  void OnEof(const Eof& eof);
  void OnNodeDead(uint32_t node, const std::string& reason);

  // As the Submitter's, of a call.
  Task* PushedTask(const TaskRef& ref, const Address& worker) const;
  size_t count() const { return queues_.size(); }
  const std::unordered_map<ObjectId, std::unique_ptr<ActorQueue>>& queues() const { return queues_; }

 private:
  ActorQueue* QueueOf(const ObjectId& actor);
  // Its end concerns that actor's queue.
  void Watch(const Address& who, const ObjectId& actor) { watched_[who].insert(actor); }
  void Unwatch(const Address& who, const ObjectId& actor);
  void Pump(ActorQueue* q);
  void PushNext(ActorQueue* q, Task* t);
  void PutBack(ActorQueue* q, Task* t);
  void FailLost(ActorQueue* q);
  void Die(ActorQueue* q, uint8_t kind, const Blob& error);
  void LoseWorker(ActorQueue* q, const Eof& eof);

  Outbox* outbox_;
  ObjectTable* objects_;
  TaskTable* tasks_;
  std::unordered_map<ObjectId, std::unique_ptr<ActorQueue>> queues_;
  // The owners and workers of the actors of queues_, until their EOF.
  std::unordered_map<Address, std::unordered_set<ObjectId>> watched_;
};

}  // namespace rmpi::core
