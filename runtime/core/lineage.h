// SPDX-License-Identifier: Apache-2.0
// Finished tasks that are kept because an object in a store may have to be made again (PROTOCOL O7): their
// arguments' bytes, and lineage holds on the objects they had as arguments. Oldest first; beyond a cap in
// bytes the oldest go.
//
// Invariants: a task is here iff its state is kDone; then it has retries left, and a return or an item that
// lives and has no small value. What nobody can ask for is not kept.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "runtime/core/task.h"

namespace rmpi::core {

class StreamOwner;

class Lineage {
 public:
  Lineage(ObjectTable* objects, StreamOwner* streams) : objects_(objects), streams_(streams) {}

  // Beyond this many bytes the oldest lineage is dropped.
  void SetCap(uint64_t bytes);
  uint64_t cap() const { return cap_; }
  uint64_t bytes() const { return bytes_; }
  size_t count() const { return tasks_.size; }

  // A task ends, its returns are set. True: it is kept, and so are its arguments, by lineage holds instead
  // of the task's own. False: nothing is; its record knows why.
  bool Keep(Task* t, bool allowed);
  // Beyond the cap: apart from Keep, since what goes may be the task just kept.
  void Trim();
  // One of its returns or items is gone; with the last that it was kept for, it goes itself.
  void OnReturnReleased(Task* t);
  // It runs again: its lineage holds become holds.
  void TakeOut(Task* t);
  // The actor of a method call.
  ObjectId ActorOf(const Task* t) const;

 private:
  void Drop(Task* t, ErrorType why);
  void Unlist(Task* t);
  static bool Needed(ObjectTable* objects, Task* t);

  ObjectTable* objects_;
  StreamOwner* streams_;
  TaskList tasks_;
  std::unordered_map<const Task*, ObjectId> actors_;  // of the method calls
  uint64_t bytes_ = 0;
  uint64_t cap_ = 1 << 30;
};

}  // namespace rmpi::core
