// SPDX-License-Identifier: Apache-2.0
// Core: the whole logic of one process of user code, joined. Feed it messages and API calls with the time;
// it posts messages to the Outbox. No I/O, no lock: the caller holds the process's core lock.
#pragma once

#include "runtime/core/executor.h"
#include "runtime/core/object_table.h"
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
      : host_(host),
        objects_(outbox, this),
        submitter_(outbox, &objects_),
        executor_(outbox, &objects_, host) {}

  void SetIdentity(const Address& self, JobId job) { objects_.SetIdentity(self, job); }

  ObjectTable& objects() { return objects_; }
  Submitter& submitter() { return submitter_; }
  Executor& executor() { return executor_; }

  // One message. Malformed bodies are counted and dropped.
  void OnMessage(const MessageHeader& header, Bytes body, TimeNs now);
  void OnTimer(TimeNs now) {
    submitter_.OnTimer(now);
    submitter_.Settle(now);
  }
  TimeNs NextDeadline() const { return submitter_.NextDeadline(); }
  // After a direct call into one of the parts: carries on what it made possible.
  void Settle(TimeNs now) { submitter_.Settle(now); }

  uint64_t malformed() const { return malformed_; }

 private:
  void OnDependencyReady(Task* task) override { submitter_.OnDependencyReady(task); }
  void OnRegistrationsChanged() override {
    executor_.FlushResults();
    submitter_.FlushAcks();
  }
  void OnCancelRequest(const RefMessage& m);
  void OnEof(const Eof& m);
  void OnNodeDead(const NodeRecord& m, TimeNs now);

  Host* host_;
  ObjectTable objects_;
  Submitter submitter_;
  Executor executor_;
  uint64_t malformed_ = 0;
};

}  // namespace rmpi::core
