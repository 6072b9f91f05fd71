// SPDX-License-Identifier: Apache-2.0
// The tasks this process runs for others (PROTOCOL T3 to T5, T8, R3): queue, claim, answer. A task that is
// not claimed can be taken back by its owner at any time, and is, before this process blocks or retires. An
// actor's worker runs its creation first and then its calls, each caller's in their order (A2); it lends no
// CPU.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/core/object_table.h"
#include "runtime/core/ready_queue.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {

class Executor {
 public:
  // What the loop around it does on its behalf.
  class Host {
   public:
    virtual ~Host() = default;
    // Writes the claim where the raylet can read it after our death, and names it in item.claim. False: there
    // is no room, flush results first.
    virtual bool Claim(ExecItem& item) = 0;
    // A result of the task with this claim has been posted.
    virtual void Answered(uint32_t claim) = 0;
    // The running task must be interrupted, iff it is still this one. Of an actor: if its methods can be.
    virtual void Interrupt(const ExecItem& item) = 0;
    virtual void CancelChildren(uint32_t serial, bool force) = 0;
    // Pins the item's stored arguments at item.local. False: one is not there (any more); nothing stays
    // pinned.
    virtual bool PinArgs(ExecItem& item) = 0;
  };

  Executor(Outbox* outbox, ObjectTable* objects, Host* host)
      : outbox_(outbox), objects_(objects), host_(host) {}

  // How many run at once: 1, but for an actor that says otherwise, for each of its concurrency groups.
  void SetConcurrency(uint32_t most, const std::vector<ConcurrencyGroup>& named) {
    ready_.SetGroups(most, named);
  }
  // The next task of that group to run, claimed; null when there is none, or as many run as may.
  ExecItem* Take(TimeNs now, uint32_t group = kAnyGroup);
  // The one that runs, if only one may.
  ExecItem* current() const {
    return running_.empty() || !ready_.single() ? nullptr : running_.front().get();
  }
  size_t running() const { return running_.size(); }
  bool has_ready(uint32_t group = kAnyGroup) const { return ready_.Front(group) != nullptr; }
  size_t unclaimed() const { return ready_.size() + waiting_.size(); }
  // Ends a task that Take gave. Contained refs: one hold each, taken over until the owner acknowledges.
  void Finish(ExecItem* item, std::vector<WireValue> values, std::vector<Entry*> contained,
              bool retryable_error, TimeNs now);

  // ---- streams (executor_streams.cc). The next item, which item->stream wants, goes to the owner. Contained
  // refs: as those of a result.
  void Yield(ExecItem* item, WireValue value, std::vector<Entry*> contained);
  void OnItemAck(const ItemRef& m);
  void OnStreamRead(const Address& from, const ItemRef& m);

  // The main thread is about to wait inside a task: give back what is not claimed, tell the raylet.
  void Block();
  void Unblock();
  bool blocked() const { return blocked_; }
  // No more tasks after this one.
  void Retire();
  bool retiring() const { return retiring_; }
  // This worker's actor, nil: it has none; and the number of its present life.
  const ObjectId& actor() const { return actor_; }
  uint32_t incarnation() const { return incarnation_; }
  // The actor ends on purpose: it takes no more calls, and its creator does not restart it.
  void ExitActor();

  void OnPush(const Address& from, Push& m);
  void OnCancel(const Address& from, const TaskRef& m);
  void OnRevoke(const Address& from);
  void OnResultAck(const TaskRef& m);
  void OnPullReply(const PullReply& m);
  void OnLocation(const Location& m);
  void OnEof(const Eof& eof);
  void OnNodeDead(uint32_t node, const std::string& reason);
  // Registrations were acknowledged: results that waited for them may go.
  void FlushResults();
  size_t unsettled() const { return held_.size() + waiting_results_.size(); }

 private:
  struct WaitingResult {
    Address owner;
    uint64_t upto;
    uint32_t claim;
    Result result;
  };
  struct TaskAttempt {
    TaskId task;
    uint32_t attempt;
    uint32_t item = kNoItems;  // of its stream; kNoItems: its result
    bool operator==(const TaskAttempt&) const = default;
  };
  struct TaskAttemptHash {
    size_t operator()(const TaskAttempt& t) const {
      return std::hash<TaskId>()(t.task) ^ Mix(t.attempt + (uint64_t{t.item} << 32) + 1);
    }
  };
  struct Version {
    ObjectId id;
    uint32_t attempt;
    bool operator==(const Version&) const = default;
  };
  struct VersionHash {
    size_t operator()(const Version& v) const { return std::hash<ObjectId>()(v.id) ^ Mix(v.attempt + 1); }
  };

  void Admit(std::unique_ptr<ExecItem> item);
  bool HasToWait(const ExecItem& item) const;
  void FetchAgain(const ExecItem* front);
  void ReleaseOrdered(const Address& owner);
  void Enqueue(std::unique_ptr<ExecItem> item);
  void RequestArg(ExecItem* item, size_t i);
  ReadyQueue::Items TakeUnclaimed(const std::function<bool(const ExecItem&)>& matches);
  bool Arrived(size_t i, std::vector<Address>* moved);
  void ReturnTasks(const Address* only_owner);
  void AnswerError(const ExecItem& item, ErrorType type, const std::string& message);
  void AnswerError(const ExecItem& item, WireValue error);
  void Forget(const ExecItem& item);
  std::unique_ptr<ExecItem> TakeWaiting(size_t i);
  ExecItem* FindStream(const TaskId& task, uint32_t attempt);
  void GoOn(StreamRun* stream);
  void OrphanStreams(const std::function<bool(const Address&)>& gone);
  void DropHeld(const TaskAttempt& key);
  void DropFrom(const std::function<bool(const Address&)>& gone, const std::string& cause);
  void GiveBack(const ExecItem& item, const ObjectId& missing, const std::vector<uint32_t>& nodes);
  void LocateAgain(const ObjectId& id, const std::vector<uint32_t>& nodes);
  void LoseLocations(const std::function<bool(const Address&)>& gone, const std::string& cause);

  Outbox* outbox_;
  ObjectTable* objects_;
  Host* host_;
  ReadyQueue ready_;
  std::vector<std::unique_ptr<ExecItem>> waiting_;  // for arguments to arrive on this node
  std::vector<std::unique_ptr<ExecItem>> running_;
  std::unordered_map<Address, std::unordered_map<uint32_t, std::shared_ptr<const WireTemplate>>> templates_;
  std::unordered_map<TaskAttempt, std::vector<Entry*>, TaskAttemptHash> held_;  // until RESULT_ACK
  std::deque<WaitingResult> waiting_results_;
  // Asked of the raylet: how many waiting items want it.
  std::unordered_map<Version, uint32_t, VersionHash> pulls_;
  std::unordered_set<ObjectId> locating_;  // arguments of calls that are being located again
  ObjectId actor_;
  uint64_t actor_lease_ = 0;
  uint32_t incarnation_ = 0;
  bool blocked_ = false;
  bool retiring_ = false;
  uint32_t next_serial_ = 1;
};

}  // namespace rmpi::core
