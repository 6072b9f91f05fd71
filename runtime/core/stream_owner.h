// SPDX-License-Identifier: Apache-2.0
// The streams whose tasks this process submitted (PROTOCOL T9): which items came, how far the consumer has
// read, where a stream ends. An item is an object of ours like any return; the stream has one hold on each
// that is not yet read, and on the task's return.
//
// Items that are lost come again with another run of the task (O7): with the attempt that it is about to
// have, or, if one is under way that does not give them, with one more behind it.
//
// Invariants: items [0, known) have come; entries exist for [read, top), those beyond known because somebody
// waits for them. What the consumer was given is never replaced, but for what was lost. When the consumer is
// gone nothing is kept but what it was given, and later items are dropped. A stream is here as long as its
// consumer is, or its task: while it runs, and while its lineage is kept.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "runtime/core/task_table.h"

namespace rmpi::core {

struct Stream {
  uint32_t read = 0;   // given to the consumer
  uint32_t known = 0;  // have come
  uint32_t top = 0;
  uint32_t from = 0;     // of the present attempt: the first item that it sends
  uint32_t arrived = 0;  // of the present attempt: the item behind the last that came
  std::optional<uint32_t> end;
  std::optional<uint32_t> lost;  // the first that had come, was lost, and comes with this or the next attempt
  std::vector<uint32_t> late;    // lost as well, but behind the present attempt: they need one more
  bool closed = false;           // its consumer is gone
  uint8_t error_kind = 0;
  Blob error;  // of a task that failed: what is in the place of the items that did not come
};

class StreamOwner {
 public:
  StreamOwner(Outbox* outbox, ObjectTable* objects, TaskTable* tasks)
      : outbox_(outbox), objects_(objects), tasks_(tasks) {}

  // ---- the consumer
  enum class Look { kItem, kNotYet, kEnded };
  Look LookAtNext(const TaskId& task) const;
  // The next item, which has come, with the stream's hold on it.
  Entry* TakeNext(const TaskId& task);
  // The item `ahead` of the next, come or not: it becomes ready when it has, or when it is known that it will
  // not. No hold. Null: there is no such stream.
  Entry* Peek(const TaskId& task, uint32_t ahead);
  void Close(const TaskId& task);

  // ---- its task
  void Open(Task* t);
  void FillPush(const Task& t, Push* p);
  // `t`: the task that gave it, null: it came too late, or from a former attempt.
  void OnItem(const Task* t, const Address& from, const Item& m);
  void OnResult(Task* t, const Result& m);
  void OnFailed(Task* t, uint8_t kind, const Blob& error);
  // `kept`: it may run again. The items that were lost behind the back of its last attempt.
  std::vector<ObjectId> OnDone(Task* t, bool kept);
  // It was done, and runs again for what was lost.
  void Reopen(const Task& t);
  // It will not run again any more.
  void OnDropped(const TaskId& task);
  // An item that had come is lost, and its task, which is not done, is to give it again.
  void Await(const Entry* item, const Task& t);
  // Its worker died with items in the store of its node that it had not announced.
  void FreeUnannounced(const Task& t, uint32_t node);

  size_t count() const { return streams_.size(); }
  // Whether that item may still be on its way. For the simulator's checks.
  bool Expects(const ObjectId& item) const;

 private:
  Stream* Find(const TaskId& task);
  const Stream* Find(const TaskId& task) const { return const_cast<StreamOwner*>(this)->Find(task); }
  Entry* Slot(const TaskId& task, Stream* s, uint32_t item);
  bool Keep(const Task& t, Stream* s, const Item& m);
  void EndAt(const TaskId& task, Stream* s, uint32_t end, uint8_t kind = 0, const Blob& error = {});
  void SetMissing(Entry* e, const Stream& s, uint32_t item);
  void TellProducer(const TaskId& task, uint32_t read);

  Outbox* outbox_;
  ObjectTable* objects_;
  TaskTable* tasks_;
  std::unordered_map<TaskId, Stream> streams_;
};

}  // namespace rmpi::core
