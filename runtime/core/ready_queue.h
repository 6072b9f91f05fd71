// SPDX-License-Identifier: Apache-2.0
// The tasks of a worker that lack nothing and are not yet claimed, by concurrency group. An actor has one
// group for each name of its class and one without a name; every other worker has only that. Of each, so many
// run at once; within a group the order is that of arrival.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/core/stream_run.h"
#include "runtime/message/messages.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {

struct ExecItem {
  Address owner;
  TaskId task;
  uint32_t attempt = 0;
  int32_t retries_left = 0;
  uint32_t depth = 0;
  bool again = false;  // runs for a lost result
  uint64_t lease = 0;
  std::shared_ptr<const WireTemplate> tmpl;
  Blob args;
  std::vector<ResolvedArg> resolved;
  std::vector<Place> local;  // per resolved argument: where it lies on this node (stored ones)
  uint32_t missing = 0;      // stored arguments that are not here yet
  bool cancelled = false;
  uint32_t group = 0;    // of its actor's concurrency groups
  uint64_t arrival = 0;  // in the queue
  TimeNs started = 0;
  uint32_t serial = 0;                // names this run of it in this process (Task::parent)
  uint32_t claim = 0;                 // the host's, of this run
  std::unique_ptr<StreamRun> stream;  // of a task that gives items

  bool of_actor() const {
    return task.kind() == TaskKind::kActorCreation || task.kind() == TaskKind::kActorCall;
  }
  // Starts after the earlier ones of its caller.
  bool in_turn() const { return task.kind() == TaskKind::kActorCall && tmpl->ordered && !again; }
};

class ReadyQueue {
 public:
  using Items = std::vector<std::unique_ptr<ExecItem>>;

  // The groups with a name, numbered from 1; before anything of theirs arrives. Group 0 is without.
  void SetGroups(uint32_t most_unnamed, const std::vector<ConcurrencyGroup>& named);
  // The number of a group; none: the actor has no such group.
  std::optional<uint32_t> Find(const std::string& name) const;
  // Whether never more than one task runs.
  bool single() const { return groups_.size() == 1 && groups_[0].most == 1; }

  void Push(std::unique_ptr<ExecItem> item);
  // What may run now: the first of `group` (kAnyGroup: of those with room, what arrived first), or null.
  ExecItem* Front(uint32_t group) const;
  std::unique_ptr<ExecItem> Pop(const ExecItem* front);
  // One more of its group runs, or one less.
  void Started(const ExecItem& item) { ++groups_[item.group].running; }
  void Ended(const ExecItem& item) { --groups_[item.group].running; }

  size_t size() const { return size_; }
  ExecItem* FindIf(const std::function<bool(const ExecItem&)>& matches) const;
  // Takes out what matches, in the order of arrival.
  Items RemoveIf(const std::function<bool(const ExecItem&)>& matches);

 private:
  struct Group {
    std::string name;
    uint32_t most = 1;
    uint32_t running = 0;
    std::deque<std::unique_ptr<ExecItem>> ready;

    bool can_start() const { return !ready.empty() && running < most; }
  };

  std::deque<Group> groups_ = std::deque<Group>(1);
  size_t size_ = 0;
  uint64_t next_arrival_ = 1;
};

}  // namespace rmpi::core
