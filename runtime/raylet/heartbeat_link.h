// SPDX-License-Identifier: Apache-2.0
// HeartbeatLink: when a node tells the head that it lives and what of it is in use, and through whom. Of a
// large launch, most nodes report to an aggregating one (Gcs's HeartbeatTree says to which), which passes on
// what has come to it in one frame with its own, and hands on the head's answer. No I/O and no clock; used by
// the raylet's control thread, by the simulator and by tests/scale.
//
// Whoever passes heartbeats on keeps no list of who reports to it, and answers only what the head has
// answered: so a node's fence counts as without a tree. A node that gets no answer in time, or hears that its
// aggregator is dead, goes straight to the head, and says all anew, since reports are of what has changed.
#pragma once

#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "runtime/core/outbox.h"
#include "runtime/message/messages.h"
#include "runtime/raylet/fence.h"
#include "sched/local_scheduler.h"

namespace rmpi {

class HeartbeatLink {
 public:
  HeartbeatLink(sched::LocalScheduler* scheduler, Outbox* outbox, Fence* fence)
      : scheduler_(scheduler), outbox_(outbox), fence_(fence) {}

  // `head`: this node has it, and tells it only what has changed.
  void Start(bool head, TimeNs now);
  void OnReportTo(uint32_t node, TimeNs now);
  // Of a node that reports to this one.
  void OnHeartbeat(uint32_t from, const Heartbeat& m, TimeNs now);
  void OnAck(uint64_t sequence);
  void OnNodeDead(uint32_t node, TimeNs now);
  // Sends what is due. Called at the end of every turn.
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const;
  uint32_t parent() const { return parent_; }

 private:
  using Passed = std::vector<std::pair<uint32_t, uint64_t>>;  // node, its sequence

  void GoStraight(TimeNs now);
  Heartbeat Own(bool changed, TimeNs now);

  sched::LocalScheduler* scheduler_;
  Outbox* outbox_;
  Fence* fence_;
  bool head_ = true;
  uint32_t parent_ = kHeadNode;
  uint64_t sequence_ = 0;
  TimeNs next_ = kNever;
  std::map<uint32_t, Heartbeat> waiting_;               // of others, merged since the last frame
  std::deque<std::pair<uint64_t, Passed>> unanswered_;  // by the sequence of our frame
};

}  // namespace rmpi
