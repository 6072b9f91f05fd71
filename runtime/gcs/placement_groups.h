// SPDX-License-Identifier: Apache-2.0
// PlacementGroups: the head's list of groups, and their lives (PROTOCOL A3).
//
// A group waits until there are nodes for all of its bundles; these are reserved on all nodes or on none;
// then it is created. Bundles that die with their node are placed anew, the others stay. It ends when it is
// removed, or with its job. Numbers are never given out twice, so a number that is not in the table is one of
// a group that was removed, and no tombstones are needed: the head alone reserves, over a FIFO to each
// raylet.
//
// Invariants: what is reserved and not created is released again, or about to be; at most one group at a time
// has an earmark, the oldest one that the nodes could hold if all tasks there had ended.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/core/outbox.h"
#include "runtime/message/messages.h"
#include "sched/global_scheduler.h"

namespace rmpi {

class PlacementGroups {
 public:
  using WarnFn = std::function<void(const std::string&)>;

  PlacementGroups(uint64_t run_id, Outbox* outbox, sched::GlobalScheduler* scheduler, WarnFn warn)
      : run_id_(run_id), outbox_(outbox), scheduler_(scheduler), warn_(std::move(warn)) {}

  // `job_runs`: of the job that the request is for.
  void OnRequest(const Address& from, const GroupRequest& m, bool job_runs, TimeNs now);
  void OnReserved(uint32_t node, const Reserved& m, TimeNs now);
  void OnNodeAdded(TimeNs now);
  void OnReport(TimeNs now);                   // the scheduler knows what it says
  void OnNodeDead(uint32_t node, TimeNs now);  // the scheduler knows
  // It takes nothing any more, and has nothing left: its bundles are for other nodes.
  void OnNodeDrained(uint32_t node, TimeNs now);
  void OnJobEnd(JobId job, TimeNs now);
  void OnEof(const Address& who);
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return deadline_; }

  // What Ray's reports show of groups: CPU_group_<index>_<id> and the like.
  void ShowOn(NodeRecord* node) const;
  size_t count() const { return groups_.size(); }
  const GroupRecord* Find(uint32_t group) const;
  // The nodes that are there could not hold it, whatever else ended.
  bool Infeasible(uint32_t group) const;
  template <class F>
  void ForEach(F&& fn) const {
    for (const auto& [number, g] : groups_) fn(g.record);
  }

 private:
  struct Group {
    GroupRecord record;
    uint32_t epoch = 0;
    std::vector<uint32_t> targets;  // of the present attempt, by bundle; 0: not part of it
    std::set<uint32_t> unanswered;  // nodes
    bool earmark = false;
    bool infeasible = false;
    uint64_t kind = 0;  // groups that want the same have the same
    std::set<Address> waiters;
    TimeNs since = 0;  // it, or the loss of its bundles, is known
    TimeNs retry_at = 0;
    TimeNs backoff = 0;

    bool reserving() const { return !targets.empty(); }
  };
  using Key = std::pair<std::string, std::string>;  // namespace, name

  GroupReply Create(const GroupRecord& asked, bool job_runs, TimeNs now);
  void Remove(uint32_t group, TimeNs now);
  void Try(TimeNs now);
  bool TryOne(Group* g, sched::GlobalScheduler::When when, TimeNs now);
  void ReserveOn(Group* g, const std::vector<uint32_t>& nodes, bool earmark, TimeNs now);
  void GiveUp(Group* g, TimeNs now);
  std::vector<uint32_t> LoseOn(Group* g, uint32_t node, TimeNs now);
  void Created(Group* g, TimeNs now);
  void Tell(Group* g);
  std::vector<uint32_t> Missing(const Group& g) const;
  void CheckFeasible(Group* g);
  void TrySoon(TimeNs now) {
    if (!waiting_.empty()) Arm(std::max(now, next_try_));
  }
  void Arm(TimeNs when) {
    if (when < deadline_) deadline_ = when;
  }

  uint64_t run_id_;
  Outbox* outbox_;
  sched::GlobalScheduler* scheduler_;
  WarnFn warn_;
  std::map<uint32_t, Group> groups_;
  std::set<uint32_t> waiting_;  // for nodes; oldest first
  std::map<Key, uint32_t> names_;
  std::deque<GroupRecord> removed_;  // the latest ones, for the table
  uint32_t next_group_ = 1;
  uint32_t earmarking_ = 0;   // the group
  TimeNs earmark_until_ = 0;  // then it is given up
  TimeNs next_earmark_ = 0;   // not before
  TimeNs earmark_patience_ = 10 * kSecond;
  TimeNs next_try_ = 0;
  TimeNs deadline_ = kNever;
};

}  // namespace rmpi
