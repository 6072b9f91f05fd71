// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/gcs.h"

#include <algorithm>
#include <cstdlib>

namespace rmpi {
namespace {

constexpr TimeNs kLookPeriod = 1 * kSecond;  // for what starves
constexpr TimeNs kCheckPeriod = 500 * kMillisecond;
// Nodes answer within 0.7 s of their own time; one that is held up may take longer, and the output of tasks
// is in that answer's wake. One that says nothing is dead before this is over.
constexpr TimeNs kJobEndPatience = 5 * kSecond;
constexpr char kFunctions[] = "fun";

// Under which drivers export what a worker must know before its first task of their job.
std::string SettingsKey(JobId job) { return "job:" + Hex(job); }

template <class M, class F>
void Handle(Bytes body, F&& fn) {
  M m;
  Reader reader(body);
  reader(m);
  if (reader.Done()) fn(m);
}

}  // namespace

uint32_t Gcs::OnJoin(const NodeRecord& in, TimeNs now) {
  NodeRecord record = in;
  record.node = next_node_++;
  record.alive = true;
  record.available = record.total;
  AddLabels(&record);
  host_->OnNodeJoined(record);
  if (record.node != kHeadNode) record.spill_folders.clear();  // until it has seen that they are shared
  Joined reply;
  reply.node = record.node;
  reply.run_id = options_.run_id;
  reply.labels = record.labels;
  for (const auto& [id, other] : nodes_) {
    reply.nodes.push_back(other);
    if (other.alive) outbox_->Send(RayletOf(id), MsgType::kNodeAdded, Join{record});
  }
  nodes_[record.node] = record;
  last_heard_[record.node] = now;
  if (last_timer_ == 0) last_timer_ = now;
  if (nodes_.size() == 1) bringup_at_ = now + options_.bringup_timeout;
  const bool was_complete = complete();
  if (!JoinedLater(record)) ranks_.insert(record.rank);
  outbox_->Send(RayletOf(record.node), MsgType::kJoined, reply);
  for (const auto& [id, job] : jobs_) {
    if (!job.ending) outbox_->Send(RayletOf(record.node), MsgType::kJobStartReply, job.start);
  }
  SendReportTo(tree_.OnJoin(record.node, record.rank));
  scheduler_.AddNode(record.node, record.total, record.labels);
  groups_.OnNodeAdded(now);
  if (!complete()) {
    Arm(bringup_at_);
  } else if (!was_complete) {
    bringup_at_ = kNever;
    for (const auto& [who, nonce] : nodes_waiters_) SendNodes(who, nonce);
    nodes_waiters_.clear();
    if (shutdown_) Shutdown(shutdown_->status, shutdown_->reason);
  }
  if (record.node != kHeadNode) Arm(now + kCheckPeriod);
  return record.node;
}

void Gcs::AddLabels(NodeRecord* record) const {
  const std::string* host = sched::LabelOf(record->labels, sched::kHostLabel);
  const auto it = host == nullptr ? options_.host_features.end() : options_.host_features.find(*host);
  if (it != options_.host_features.end()) {
    for (const std::string& name : it->second) {
      const std::string key = "slurm.feature/" + name;
      if (sched::CheckLabel(key, "").ok()) sched::SetLabel(&record->labels, key, "true");
    }
  }
  sched::SetLabel(&record->labels, sched::kNodeIdLabel, NodeHex(options_.run_id, record->node));
}

void Gcs::OnMessage(const MessageHeader& header, Bytes body, TimeNs now) {
  const Address& from = header.src;
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kHeartbeat:
      Handle<Heartbeat>(body, [&](const Heartbeat& m) { OnHeartbeat(from, m, now); });
      break;
    case MsgType::kHeartbeats:
      Handle<Heartbeats>(body, [&](const Heartbeats& m) { OnHeartbeats(from, m, now); });
      break;
    case MsgType::kDrainNode:  // it was asked to end
      Handle<DrainNode>(body, [&](const DrainNode& m) {
        if (m.node != from.node) return;
        if (const Status refused = Drain(m); !refused.ok()) host_->Warn(refused.message());
      });
      break;
    case MsgType::kSpillShared:
      Handle<SpillShared>(body, [&](const SpillShared& m) {
        if (const auto it = nodes_.find(from.node); it != nodes_.end()) it->second.spill_folders = m.folders;
      });
      break;
    case MsgType::kDrained:
      Handle<Drained>(body, [&](const Drained& m) { OnDrained(from.node, m, now); });
      break;
    case MsgType::kDrainRequest:
      Handle<DrainRequest>(body, [&](const DrainRequest& m) { OnDrainRequest(from, m); });
      break;
    case MsgType::kDemand:
      Handle<Demand>(body, [&](const Demand& m) { scheduler_.OnDemand(from.node, m); });
      break;
    case MsgType::kAssignReject:
      Handle<Demand>(body, [&](const Demand& m) { scheduler_.OnReject(from.node, m); });
      break;
    case MsgType::kJobStart:
      Handle<JobMessage>(body, [&](const JobMessage& m) { OnJobStart(m); });
      break;
    case MsgType::kJobEnd:
      Handle<JobMessage>(body, [&](const JobMessage& m) { OnJobEnd(m, now); });
      break;
    case MsgType::kJobEndAck:
      Handle<JobMessage>(body, [&](const JobMessage& m) { OnJobEndAck(from, m); });
      break;
    case MsgType::kKvRequest:
      Handle<KvRequest>(body, [&](const KvRequest& m) { kv_.OnRequest(from, m); });
      break;
    case MsgType::kActorName:
      Handle<ActorName>(body, [&](const ActorName& m) { actor_names_.OnRequest(from, m); });
      break;
    case MsgType::kGroupRequest:
      Handle<GroupRequest>(body, [&](const GroupRequest& m) {
        const auto job = jobs_.find(m.group.job.value);
        groups_.OnRequest(from, m, job != jobs_.end() && !job->second.ending, now);
      });
      break;
    case MsgType::kGroupReserved:
      Handle<Reserved>(body, [&](const Reserved& m) { groups_.OnReserved(from.node, m, now); });
      break;
    case MsgType::kNodesRequest:
      Handle<Nonce>(body, [&](const Nonce& m) {
        if (complete()) {
          SendNodes(from, m.nonce);
        } else {
          nodes_waiters_.emplace_back(from, m.nonce);  // a program's first look finds the whole cluster
        }
      });
      break;
    case MsgType::kStats:  // of the run
      Handle<Nonce>(body, [&](const Nonce& m) {
        std::vector<uint32_t> alive;
        for (const auto& [id, record] : nodes_) {
          if (record.alive) alive.push_back(id);
        }
        status_.OnRequest(from, m.nonce, alive, now);
      });
      break;
    case MsgType::kStatsReply:
      Handle<NodeStatus>(body, [&](const NodeStatus& m) { status_.OnAnswer(from.node, m); });
      break;
    case MsgType::kEof:
      Handle<Eof>(body, [&](const Eof& m) {
        kv_.OnEof(m.who);
        actor_names_.OnEof(m.who);
        scheduler_.OnOwnerGone(m.who);
        groups_.OnEof(m.who);
        EndJobsOf([&](const Address& driver) { return driver == m.who; }, now);
      });
      break;
    default:
      break;
  }
  if (next_look_ == kNever && scheduler_.pending() != 0) next_look_ = now + kLookPeriod;
}

// False: it is dead, and gets no answer.
bool Gcs::Heard(uint32_t node, const Heartbeat& m, TimeNs now) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end() || !it->second.alive) return false;
  last_heard_[node] = now;
  uint64_t& last = reported_[node];
  if (!m.changed || m.sequence <= last) return true;
  last = m.sequence;
  if (!it->second.draining) it->second.available = sched::WithoutHints(m.available);
  scheduler_.OnReport(node, m.available, m.kept, m.bundles, m.earmarked);
  return true;
}

void Gcs::OnHeartbeat(const Address& from, const Heartbeat& m, TimeNs now) {
  if (!Heard(from.node, m, now)) return;
  if (m.changed) groups_.OnReport(now);
  tree_.OnStraight(from.node, now);
  if (from.node != kHeadNode) outbox_->Send(from, MsgType::kHeartbeatAck, Nonce{m.sequence});
}

void Gcs::OnHeartbeats(const Address& from, const Heartbeats& m, TimeNs now) {
  if (!Heard(from.node, m.own, now)) return;
  for (const auto& [node, beat] : m.others) Heard(node, beat, now);
  groups_.OnReport(now);
  outbox_->Send(from, MsgType::kHeartbeatAck, Nonce{m.own.sequence});
}

void Gcs::SendReportTo(const HeartbeatTree::Changes& changes) {
  for (const auto& [node, to] : changes) outbox_->Send(RayletOf(node), MsgType::kReportTo, ReportTo{to});
}

void Gcs::OnTimer(TimeNs now) {
  groups_.OnTimer(now);
  if (now >= next_look_) {
    scheduler_.ServeStarved();
    next_look_ = scheduler_.pending() != 0 ? now + kLookPeriod : kNever;
  }
  status_.OnTimer(now);
  if (now < deadline_) return;
  deadline_ = kNever;
  // After a suspension of the whole job nobody has been silent: only time in which we ran counts.
  const TimeNs gap = now - last_timer_;
  if (gap > 2 * kCheckPeriod) {
    for (auto& [node, heard] : last_heard_) heard = std::min(now, heard + gap - kCheckPeriod);
  }
  last_timer_ = now;
  if (now >= bringup_at_) return FailBringUp();
  Arm(bringup_at_);
  SendReportTo(tree_.OnTimer(now));
  std::vector<uint32_t> silent;
  for (const auto& [node, heard] : last_heard_) {
    if (node != kHeadNode && now - heard > options_.dead_after) silent.push_back(node);
  }
  for (uint32_t node : silent)
    DeclareDead(node, "no heartbeat for " + std::to_string(options_.dead_after / kSecond) + " s", now);
  std::vector<uint32_t> late;
  for (auto& [id, job] : jobs_) {
    if (!job.ending) continue;
    if (now >= job.deadline) {
      late.push_back(id);
    } else {
      Arm(job.deadline);
    }
  }
  for (uint32_t id : late) FinishJob(id);
  if (nodes_.size() > 1) Arm(now + kCheckPeriod);
}

std::string Gcs::NameOf(int rank) const {
  const auto i = static_cast<size_t>(rank);
  return "rank " + std::to_string(rank) + (i < options_.hosts.size() ? " on " + options_.hosts[i] : "");
}

void Gcs::FailBringUp() {
  constexpr size_t kNamed = 8;
  bringup_at_ = kNever;
  std::vector<int> missing;
  for (int rank = 0; rank < static_cast<int>(options_.expected_nodes); ++rank) {
    if (!ranks_.contains(rank)) missing.push_back(rank);
  }
  std::string names;
  for (size_t i = 0; i < std::min(kNamed, missing.size()); ++i)
    names += (i == 0 ? "" : ", ") + NameOf(missing[i]);
  if (missing.size() > kNamed) names += " and " + std::to_string(missing.size() - kNamed) + " more";
  host_->OnBringUpFailed("the run did not come up within " +
                         std::to_string(options_.bringup_timeout / kSecond) +
                         " s (--bringup-timeout): " + names + " did not join");
}

void Gcs::OnRankClosed(int rank, TimeNs now) {
  const bool of_launch = rank < static_cast<int>(options_.expected_nodes);
  if (of_launch && !ranks_.contains(rank)) {
    host_->OnBringUpFailed(NameOf(rank) + " died before it had joined the run: its own message says why");
    return;
  }
  for (const auto& [node, record] : nodes_) {
    if (std::abs(record.rank) == rank && record.alive)
      return DeclareDead(node, "its raylet's connection closed", now);
  }
}

void Gcs::DeclareDead(uint32_t node, const std::string& reason, TimeNs now) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end() || !it->second.alive) return;
  it->second.alive = false;
  it->second.available.clear();
  const NodeRecord& dead = it->second;
  it->second.death_reason =
      "node " + std::to_string(node) + " (" + dead.hostname + (dead.ip.empty() ? "" : ", " + dead.ip) + ", " +
      (JoinedLater(dead) ? "joined later" : "rank " + std::to_string(dead.rank)) + ", raylet " +
      std::to_string(dead.pid) + ") is dead" + host_->When() + ": " + drains_.WhyDead(node, reason);
  it->second.draining = it->second.drained = false;
  last_heard_.erase(node);
  reported_.erase(node);
  host_->OnNodeDead(node);
  for (const auto& [id, other] : nodes_) {
    if (other.alive) outbox_->Send(RayletOf(id), MsgType::kNodeDead, Join{it->second});
  }
  SendReportTo(tree_.OnDead(node));
  scheduler_.RemoveNode(node);
  groups_.OnNodeDead(node, now);
  actor_names_.OnNodeDead(node);
  status_.OnNodeDead(node);
  drains_.OnNodeDead(node, it->second.death_reason);
  std::vector<uint32_t> done;
  for (auto& [id, job] : jobs_) {
    if (job.waiting_for.erase(node) != 0 && job.waiting_for.empty()) done.push_back(id);
  }
  for (uint32_t id : done) FinishJob(id);
  kv_.OnNodeDead(node);
  std::erase_if(nodes_waiters_, [&](const auto& w) { return w.first.node == node; });
  EndJobsOf([&](const Address& driver) { return driver.node == node; }, now);
}

// ---- nodes that leave -------------------------------------------------------------------------------------

Status Gcs::Drain(const DrainNode& m) {
  const auto it = nodes_.find(m.node);
  if (it == nodes_.end() || !it->second.alive)
    return Status::NotFound("node " + std::to_string(m.node) + " is not there, or is dead");
  if (m.node == kHeadNode)
    return Status::Invalid(
        "the head's node cannot leave: the run would end with it (`ray-mpi stop` ends it)");
  if (it->second.drained) return Status::Ok();
  if (!it->second.draining) {
    it->second.draining = true;
    it->second.available.clear();
    drains_.Start(it->second, m.reason);
    scheduler_.DrainNode(m.node);
  }
  outbox_->Send(RayletOf(m.node), MsgType::kDrainNode, m);
  return Status::Ok();
}

// The first request of a command names the node, and starts; those that follow have its number, and wait.
void Gcs::OnDrainRequest(const Address& from, const DrainRequest& m) {
  uint32_t node = m.number;
  Status s = Status::Ok();
  if (node == 0) {
    s = NodeDrains::Find(nodes_, options_.run_id, m.node, &node);
    if (s.ok()) s = Drain({node, m.timeout_ns, m.by});
  } else if (!drains_.Has(node)) {
    s = Status::NotFound("node " + std::to_string(node) + " is not being drained");
  }
  if (s.ok()) return drains_.OnRequest(from, m, node);
  DrainReply refused;
  refused.nonce = m.nonce;
  refused.refused = s.message();
  outbox_->Send(from, MsgType::kDrainReply, refused);
}

// One that joined goes now. Its death is declared when its connection closes, as any other's: what it said
// before counts. A rank of the launch stays, since MPI needs it.
void Gcs::OnDrained(uint32_t node, const Drained& m, TimeNs now) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end() || !it->second.alive || it->second.drained) return;
  drains_.OnReport(node, m);
  if (!m.over) return;
  it->second.drained = true;
  if (m.killed != 0 || m.left != 0) host_->Warn(drains_.Text(node));
  if (JoinedLater(it->second)) {
    outbox_->Send(RayletOf(node), MsgType::kShutdown, rmpi::Shutdown{0, "drained"});
  } else {
    groups_.OnNodeDrained(node, now);
  }
}

void Gcs::SendNodes(const Address& to, uint64_t nonce) {
  NodesReply reply;
  reply.nonce = nonce;
  for (const auto& [id, record] : nodes_) {
    reply.nodes.push_back(record);
    if (record.drained) reply.nodes.back().total.clear();  // nobody can have any of it
    groups_.ShowOn(&reply.nodes.back());
  }
  outbox_->Send(to, MsgType::kNodesReply, reply);
}

// What waits at raylets is theirs to tell; what they rejected waits here only.
void Gcs::FillStatus(RunStatus* status) const {
  status->run_id = options_.run_id;
  status->expected_nodes = options_.expected_nodes;
  for (const auto& [id, record] : nodes_) status->nodes.push_back(record);
  std::map<Shape, uint64_t> waiting;
  for (const auto& [node, detail] : status->details) {
    for (const PendingStatus& p : detail.waiting)
      waiting[sched::GlobalScheduler::ClassOf(p.shape)] += p.count;
  }
  scheduler_.ForEachRejected(
      [&](const Shape& shape, uint64_t count) { waiting[sched::GlobalScheduler::ClassOf(shape)] += count; });
  for (const auto& [shape, count] : waiting) {
    PendingStatus& p = status->pending.emplace_back();
    p.shape = shape;
    p.count = count;
    p.reason = scheduler_.WhyNever(shape);
    p.infeasible = !p.reason.empty();
  }
  groups_.ForEach([&](const GroupRecord& g) { status->groups.push_back({g, groups_.Infeasible(g.group)}); });
}

// ---- jobs -------------------------------------------------------------------------------------------------

JobId Gcs::OnJobStart(JobMessage m) {
  m.job.value = next_job_++;
  jobs_[m.job.value].start = m;
  // Every raylet hears of it: its workers' output goes to that driver.
  for (const auto& [id, record] : nodes_) {
    if (record.alive) outbox_->Send(RayletOf(id), MsgType::kJobStartReply, m);
  }
  return m.job;
}

std::optional<JobId> Gcs::StartDetachedJob(JobId of) {
  const auto it = jobs_.find(of.value);
  if (it == jobs_.end() || it->second.ending) return std::nullopt;
  JobMessage m = it->second.start;
  m.nonce = 0;  // no driver waits for its number
  m.detached = true;
  const JobId job = OnJobStart(m);
  kv_.Copy(kFunctions, SettingsKey(of), SettingsKey(job));
  return job;
}

void Gcs::EndDetachedJob(JobId job, TimeNs now) {
  kv_.Erase(kFunctions, SettingsKey(job));
  JobMessage m;
  m.job = job;
  OnJobEnd(m, now);
}

void Gcs::OnJobEnd(const JobMessage& m, TimeNs now) {
  const auto it = jobs_.find(m.job.value);
  if (it == jobs_.end()) {
    if (m.nonce != 0) outbox_->Send(m.driver, MsgType::kJobOverReply, Nonce{m.nonce});
    return;
  }
  Job& job = it->second;
  if (m.nonce != 0) job.over_nonce = m.nonce;
  if (job.ending) return;
  job.ending = true;
  job.deadline = now + kJobEndPatience;
  Arm(job.deadline);
  for (const auto& [id, record] : nodes_) {
    if (record.alive) job.waiting_for.insert(id);
  }
  JobMessage out = m;
  out.driver = job.start.driver;
  for (uint32_t node : std::set<uint32_t>(job.waiting_for))
    outbox_->Send(RayletOf(node), MsgType::kJobEnd, out);
  groups_.OnJobEnd(m.job, now);
}

void Gcs::EndJobsOf(const std::function<bool(const Address& driver)>& gone, TimeNs now) {
  std::vector<JobMessage> ends;
  for (const auto& [id, job] : jobs_) {
    if (job.start.detached || !gone(job.start.driver)) continue;
    JobMessage m;
    m.job = job.start.job;
    m.driver = job.start.driver;
    ends.push_back(m);
  }
  for (const JobMessage& m : ends) OnJobEnd(m, now);
}

void Gcs::OnJobEndAck(const Address& from, const JobMessage& m) {
  const auto it = jobs_.find(m.job.value);
  if (it == jobs_.end()) return;
  it->second.waiting_for.erase(from.node);
  if (it->second.waiting_for.empty()) FinishJob(m.job.value);
}

void Gcs::FinishJob(uint32_t job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return;
  if (it->second.over_nonce != 0) {
    outbox_->Send(it->second.start.driver, MsgType::kJobOverReply, Nonce{it->second.over_nonce});
  }
  const Address driver = it->second.start.driver;
  const bool detached = it->second.start.detached;
  jobs_.erase(it);
  if (detached) return;
  for (auto& [id, other] : jobs_) {  // nobody prints for these any more
    if (other.start.driver == driver) other.start.driver = {};
  }
}

void Gcs::Shutdown(int status, const std::string& reason) {
  // A program may be over before the last node has joined: leaving then would strand that node in its
  // bring-up.
  if (!complete()) {
    shutdown_ = rmpi::Shutdown{status, reason};
    return;
  }
  for (const auto& [id, record] : nodes_) {
    if (record.alive) outbox_->Send(RayletOf(id), MsgType::kShutdown, rmpi::Shutdown{status, reason});
  }
}

}  // namespace rmpi
