// SPDX-License-Identifier: Apache-2.0
// Gcs: the head's logic. Nodes join it, report to it, are declared dead by it (and by nobody else); jobs
// start and end here; it places what raylets could not. Fed by the head's raylet, in its control thread.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/base/time.h"
#include "runtime/gcs/actor_names.h"
#include "runtime/gcs/heartbeat_tree.h"
#include "runtime/gcs/kv_store.h"
#include "runtime/gcs/node_drains.h"
#include "runtime/gcs/placement_groups.h"
#include "runtime/gcs/status_round.h"
#include "sched/global_scheduler.h"

namespace rmpi {

// Such a node is no rank: its record has the negative of the number that it has in the head's transport.
inline bool JoinedLater(const NodeRecord& record) { return record.rank < 0; }

struct GcsOptions {
  uint64_t run_id = 0;
  uint32_t expected_nodes = 1;
  TimeNs dead_after = 4 * kSecond;        // silence of a node, counted only while we ran ourselves
  TimeNs bringup_timeout = 60 * kSecond;  // for all nodes to join, from the head's own joining on
  HeartbeatTreeOptions heartbeats;
  std::vector<std::string> hosts;  // of each rank, as far as known
  // Slurm's, by the node's label ray-mpi/host. Each becomes a label, slurm.feature/NAME=true.
  std::map<std::string, std::vector<std::string>> host_features;
};

class Gcs : private sched::GlobalScheduler::Host {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    virtual void OnNodeJoined(const NodeRecord& record) = 0;  // before it can be written to
    virtual void OnNodeDead(uint32_t node) = 0;
    virtual void OnBringUpFailed(const std::string& text) = 0;  // the run is over
    virtual void Warn(const std::string& text) = 0;
    virtual std::string When() const { return ""; }  // for people: ", at 2026-01-31 12:00:00"
  };

  Gcs(const GcsOptions& options, Outbox* outbox, Host* host)
      : options_(options),
        outbox_(outbox),
        host_(host),
        kv_(outbox),
        actor_names_(outbox),
        scheduler_(this),
        groups_(options.run_id, outbox, &scheduler_, [this](const std::string& text) { host_->Warn(text); }),
        drains_(outbox),
        tree_(options.heartbeats, options.expected_nodes),
        status_(outbox, [this](RunStatus* status) { FillStatus(status); }) {}

  // A raylet introduces itself. `from_rank` names it until it has a node id. Returns the id.
  uint32_t OnJoin(const NodeRecord& record, TimeNs now);
  void OnMessage(const MessageHeader& header, Bytes body, TimeNs now);
  void OnTimer(TimeNs now);
  // The connection of that raylet closed: it is dead, whether it has joined or not.
  void OnRankClosed(int rank, TimeNs now);
  TimeNs NextDeadline() const {
    return std::min({deadline_, groups_.NextDeadline(), status_.NextDeadline(), next_look_});
  }

  // Nothing is placed on that node any more, and its raylet ends and moves what it has. Then it leaves,
  // unless it is a rank of the launch.
  Status Drain(const DrainNode& m);
  // The run is over: tells every raylet.
  void Shutdown(int status, const std::string& reason);
  bool complete() const { return ranks_.size() >= options_.expected_nodes; }
  // Where a node takes transfers, if that was not known yet when it joined.
  void SetDataAddress(uint32_t node, const std::string& address) { nodes_.at(node).data_address = address; }
  const std::map<uint32_t, NodeRecord>& nodes() const { return nodes_; }
  void DeclareDead(uint32_t node, const std::string& reason, TimeNs now);
  size_t pending_demands() const { return scheduler_.pending(); }

  ActorNames& actor_names() { return actor_names_; }
  const PlacementGroups& groups() const { return groups_; }
  // A job beside the one of that number, with its settings, that lasts until it is ended. None: that job is
  // over.
  std::optional<JobId> StartDetachedJob(JobId of);
  void EndDetachedJob(JobId job, TimeNs now);

 private:
  struct Job {
    JobMessage start;  // what every raylet is told of it
    uint64_t over_nonce = 0;
    bool ending = false;
    std::set<uint32_t> waiting_for;  // nodes that have not yet cleaned up after it
    TimeNs deadline = kNever;
  };

  void SendAssign(uint32_t node, const Demand& demand) override {
    outbox_->Send(RayletOf(node), MsgType::kAssign, demand);
  }
  void SendHandedOff(uint32_t origin, const HandedOff& m) override {
    outbox_->Send(RayletOf(origin), MsgType::kHandedOff, m);
  }
  void SendUnschedulable(const Address& owner, const Unschedulable& m) override {
    outbox_->Send(owner, MsgType::kUnschedulable, m);
  }
  void Warn(const std::string& text) override { host_->Warn(text); }

  void OnHeartbeat(const Address& from, const Heartbeat& m, TimeNs now);
  void OnHeartbeats(const Address& from, const Heartbeats& m, TimeNs now);
  bool Heard(uint32_t node, const Heartbeat& m, TimeNs now);
  void SendReportTo(const HeartbeatTree::Changes& changes);
  JobId OnJobStart(JobMessage m);
  void OnJobEnd(const JobMessage& m, TimeNs now);
  // Ends the jobs whose driver is gone, by its own word or not.
  void EndJobsOf(const std::function<bool(const Address& driver)>& gone, TimeNs now);
  void OnJobEndAck(const Address& from, const JobMessage& m);
  void FinishJob(uint32_t job);
  void OnDrainRequest(const Address& from, const DrainRequest& m);
  void OnDrained(uint32_t node, const Drained& m, TimeNs now);
  void AddLabels(NodeRecord* record) const;
  std::string NameOf(int rank) const;
  void FailBringUp();
  void SendNodes(const Address& to, uint64_t nonce);
  void FillStatus(RunStatus* status) const;
  void Arm(TimeNs when) {
    if (when < deadline_) deadline_ = when;
  }

  GcsOptions options_;
  Outbox* outbox_;
  Host* host_;
  KvStore kv_;
  ActorNames actor_names_;
  sched::GlobalScheduler scheduler_;
  PlacementGroups groups_;
  NodeDrains drains_;
  HeartbeatTree tree_;
  StatusRound status_;
  std::map<uint32_t, NodeRecord> nodes_;
  std::map<uint32_t, TimeNs> last_heard_;
  std::map<uint32_t, uint64_t> reported_;  // the sequence of the last report: another way may be slower
  std::map<uint32_t, Job> jobs_;
  std::vector<std::pair<Address, uint64_t>> nodes_waiters_;  // asked before all were there
  uint32_t next_node_ = kHeadNode;
  uint32_t next_job_ = 1;
  std::optional<rmpi::Shutdown> shutdown_;  // asked for before all nodes were there
  std::set<int> ranks_;                     // of the launch, that have joined
  TimeNs bringup_at_ = kNever;
  TimeNs last_timer_ = 0;
  TimeNs deadline_ = kNever;
  TimeNs next_look_ = kNever;  // for what starves; never: nothing waits
};

}  // namespace rmpi
