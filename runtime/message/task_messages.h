// SPDX-License-Identifier: Apache-2.0
// Tasks and their results, and the items of generators: owner <-> executor.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/ids/ids.h"
#include "runtime/message/values.h"

namespace rmpi {

struct WireTemplate {  // the part of a task that its remote function and options fix
  std::string function_id, function_name, name, retry_list;
  uint8_t language = kPythonLanguage;
  bool retry_exceptions = false;
  bool ordered = true;  // of an actor's method
  uint32_t num_returns = 1;
  uint32_t max_calls = 0;
  StreamKind stream = StreamKind::kNone;
  uint32_t window = 0;  // of a stream: so many items may be unread; 0: any number
  std::vector<std::pair<std::string, int64_t>> resources;
  std::string concurrency_group;  // of an actor's method
  uint32_t group = 0;             // placement group that it runs in
  bool capture = false;           // and what it submits, too

  template <class C>
  void Fields(C& c) {
    c(function_id, function_name, name, retry_list, language, retry_exceptions, ordered, num_returns,
      max_calls, stream, window, resources, concurrency_group, group, capture);
  }
};

struct ResolvedArg {
  ObjectId id;
  WireValue value;

  template <class C>
  void Fields(C& c) {
    c(id, value);
  }
};

struct Push {  // owner -> executor
  TaskId task;
  uint32_t attempt = 0;
  int32_t retries_left = 0;
  uint32_t depth = 0;
  bool again = false;            // it was done, and runs for a lost result: a call takes no turn then
  uint64_t lease = 0;            // under which it runs: the granting raylet's number
  uint32_t template_number = 0;  // the owner's number; its bytes come with its first use on this lease
  Blob template_bytes;           // a WireTemplate, or empty: sent before
  Blob args;
  std::vector<ResolvedArg> resolved;
  // Of a stream: the owner lacks no item before the first; the consumer has read the second; kNoItems:
  // nobody will.
  uint32_t items_known = 0, items_read = 0;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, retries_left, depth, again, lease, template_number, template_bytes, args, resolved,
      items_known, items_read);
  }
};

struct Result {  // executor -> owner
  TaskId task;
  uint32_t attempt = 0;
  uint32_t run_us = 0;
  bool retryable_error = false;  // an application error that retry_exceptions covers
  bool needs_ack = false;        // the producer holds refs contained in the values until kResultAck
  uint32_t items = 0;            // that the stream had, this attempt's END
  std::vector<WireValue> values;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, run_us, retryable_error, needs_ack, items, values);
  }
};

// ---- streams ----------------------------------------------------------------------------------------------

constexpr uint32_t kNoItems = UINT32_MAX;

// Item i of a stream is an object of its owner: index i + 1 of the task, whose return is index 0.
inline ObjectId ItemId(const TaskId& task, uint32_t item) { return {task, item + 1, 0}; }

struct Item {  // executor -> owner
  TaskId task;
  uint32_t attempt = 0;
  uint32_t item = 0;
  WireValue value;  // if it contains refs, the producer holds them until kItemAck

  template <class C>
  void Fields(C& c) {
    c(task, attempt, item, value);
  }
};

// kItemAck, owner -> executor: the refs in that item are registered, or it was dropped.
// kStreamRead, owner -> executor: the consumer has read so many items; kNoItems: nobody reads any more.
// kFreeItems, owner -> raylet: what is left of that attempt from that item on, which nobody announced.
struct ItemRef {
  TaskId task;
  uint32_t attempt = 0;
  uint32_t item = 0;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, item);
  }
};

struct TaskRef {  // kResultAck, kCancel, and inside kReturned
  TaskId task;
  uint32_t attempt = 0;
  bool force = false;
  bool recursive = false;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, force, recursive);
  }
};

struct Revoke {  // owner -> executor: give back all unclaimed tasks of mine
  uint32_t unused = 0;

  template <class C>
  void Fields(C& c) {
    c(unused);
  }
};

struct Returned {  // executor -> owner: not claimed, yours again
  std::vector<TaskRef> tasks;
  bool blocked = false;   // the running task waits: send nothing more until it is done
  bool retiring = false;  // this worker takes no more tasks
  // Not asked for: this argument of the tasks was on none of these nodes.
  ObjectId missing;
  std::vector<uint32_t> missing_on;

  template <class C>
  void Fields(C& c) {
    c(tasks, blocked, retiring, missing, missing_on);
  }
};

}  // namespace rmpi
