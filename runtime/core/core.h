// SPDX-License-Identifier: Apache-2.0
// Core: the whole logic of one process of user code, joined. Feed it messages and API calls with the time;
// it posts messages to the Outbox. No I/O, no lock: the caller holds the process's core lock.
#pragma once

#include "runtime/core/actor_calls.h"
#include "runtime/core/actor_owner.h"
#include "runtime/core/executor.h"
#include "runtime/core/object_table.h"
#include "runtime/core/stream_owner.h"
#include "runtime/core/submitter.h"

namespace rmpi::core {

class Core : private ObjectTable::Listener {
 public:
  // What messages ask of the loop around the core, besides what the Executor asks.
  class Host : public Executor::Host {
   public:
    virtual void OnPullReply(const PullReply& m) = 0;  // for gets of this process
    virtual void OnExtentReply(const ExtentReply& m) = 0;
    virtual void OnExtentReclaim() = 0;
    virtual void OnExit() = 0;
    virtual void OnLogLines(const Address& from, LogLines m) = 0;
    virtual void OnReply(MsgType type, Bytes body) = 0;  // answers of raylet and GCS to calls of ours
  };

  Core(Outbox* outbox, Host* host)
      : outbox_(outbox),
        host_(host),
        objects_(outbox, this),
        tasks_(outbox, &objects_, &actor_owner_, &streams_),
        streams_(outbox, &objects_, &tasks_),
        submitter_(outbox, &objects_, &tasks_, &actor_owner_),
        actor_owner_(outbox, &objects_, &tasks_, &submitter_),
        actor_calls_(outbox, &objects_, &tasks_),
        executor_(outbox, &objects_, host) {}

  void SetIdentity(const Address& self, JobId job) { objects_.SetIdentity(self, job); }

  ObjectTable& objects() { return objects_; }
  TaskTable& tasks() { return tasks_; }
  const TaskTable& tasks() const { return tasks_; }
  Submitter& submitter() { return submitter_; }
  StreamOwner& streams() { return streams_; }
  ActorOwner& actor_owner() { return actor_owner_; }
  ActorCalls& actor_calls() { return actor_calls_; }
  Executor& executor() { return executor_; }
  const Executor& executor() const { return executor_; }

  // One message. Malformed bodies are counted and dropped.
  void OnMessage(const MessageHeader& header, Bytes body, TimeNs now);
  void OnTimer(TimeNs now) {
    submitter_.OnTimer(now);
    Settle(now);
  }
  TimeNs NextDeadline() const { return submitter_.NextDeadline(); }
  // After a direct call into one of the parts: carries on what it made possible.
  void Settle(TimeNs now);

  // Cancels the task that makes `e` (PROTOCOL T8), which may be somebody else's.
  void Cancel(Entry* e, bool force, bool recursive);
  void CancelChildren(uint32_t parent, bool force);

  uint64_t malformed() const { return malformed_; }

 private:
  void OnDependencyReady(Task* task) override { tasks_.OnDependencyReady(task); }
  void OnRegistrationsChanged() override {
    executor_.FlushResults();
    tasks_.FlushAcks();
  }
  void OnActorReleased(const ObjectId& actor) override { released_actors_.push_back(actor); }
  void OnLost(Entry* e, const std::string& why) override { tasks_.Recover(e, why); }
  void OnReturnReleased(Task* task) override { tasks_.lineage().OnReturnReleased(task); }
  void OnItem(const Address& from, const Item& m);
  void OnCancelRequest(const RefMessage& m);
  void OnEof(const Eof& m);
  void OnNodeDead(const NodeRecord& m, TimeNs now);

  Outbox* outbox_;
  Host* host_;
  ObjectTable objects_;
  TaskTable tasks_;
  StreamOwner streams_;
  Submitter submitter_;
  ActorOwner actor_owner_;
  ActorCalls actor_calls_;
  Executor executor_;
  std::vector<ObjectId> released_actors_;  // since Settle()
  uint64_t malformed_ = 0;
};

}  // namespace rmpi::core
