// SPDX-License-Identifier: Apache-2.0
// A task as its owner keeps it, and what its remote function and options fix for all its calls.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/base/time.h"
#include "runtime/core/entry.h"
#include "runtime/core/object_table.h"
#include "runtime/message/messages.h"

namespace rmpi::core {

struct ActorQueue;
struct Lease;
struct ShapeQueue;
struct TaskList;

struct Template {       // a prepared TaskTemplate
  uint32_t number = 0;  // what it is called in PUSHes: no other living template of this process has it
  uint64_t serial = 0;  // no other ever has it
  uint32_t num_returns = 1;
  int32_t max_retries = 3;
  Blob wire;  // WireTemplate
  Shape shape;
  std::string function_name;
  StreamKind stream = StreamKind::kNone;
  uint32_t window = 0;
  bool ordered = true;  // a method: its actor starts the calls of one caller in the order of their submission
  double mean_us = -1;  // of the runs seen; < 0: none yet
  std::vector<ShapeQueue*> by_depth;  // the queue of its shape at each nesting depth
};

// What one worker was sent: by number, the serial of the template it knows under that; 0: none.
using TemplatesSent = std::vector<uint64_t>;

// kAlive: a creation task whose actor has started. It keeps its lease and its arguments until the actor is
// dead. kDone: over, and kept only because it may run again (Lineage).
enum class TaskState : uint8_t { kWaitArgs, kQueued, kPushed, kAlive, kDone };

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
  uint32_t depth = 0;   // of nesting
  uint32_t parent = 0;  // serial of the task that submitted it (Executor), for recursive cancel
  TaskState state = TaskState::kWaitArgs;
  bool cancelled : 1 = false;
  bool cancelled_by_force : 1 = false;
  bool again : 1 = false;     // it was done, and runs for the sake of a lost result
  uint8_t out_of_memory = 0;  // attempts that were ended for want of memory
  float cost_us = 0;          // what it adds to its lease's load
  TaskList* list = nullptr;   // that it stands in, with its neighbours there
  Task* prev = nullptr;
  Task* next = nullptr;
  ActorQueue* calls = nullptr;  // a method call: of this actor, whose handle it holds
  Entry* handle = nullptr;
  union {
    uint64_t lineage_bytes = 0;  // kDone: what keeping it costs
    TimeNs not_before;           // before that: it rests until then (Submitter); 0: it does not
  };

  TaskId id() const { return record->first.id.task; }
  // A call that its actor starts after the earlier ones. What runs again does so out of its turn: calls that
  // wait for their turn may wait for its result.
  bool in_turn() const { return tmpl->ordered && !again; }
  bool creates_actor() const { return id().kind() == TaskKind::kActorCreation; }
};

// Tasks in order; each is in one list at most.
struct TaskList {
  Task* head = nullptr;
  Task* tail = nullptr;
  size_t size = 0;

  bool empty() const { return head == nullptr; }
  void PushBack(Task* t);
  void PushFront(Task* t);
  void InsertBefore(Task* t, Task* later);  // null: at the end
  void Remove(Task* t);
};

}  // namespace rmpi::core
