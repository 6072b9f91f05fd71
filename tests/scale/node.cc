// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/node.h"

#include <algorithm>
#include <stdexcept>

#include "tests/scale/owner.h"
#include "tests/scale/workload.h"

namespace rmpi::scale {
namespace {

template <class M>
M Decode(Bytes body) {
  M m;
  Reader reader(body);
  reader(m);
  if (!reader.Done()) throw std::logic_error("a malformed message");
  return m;
}

sched::LocalOptions OptionsOf(uint32_t id, const Size& size) {
  sched::LocalOptions options;
  options.node = id;
  options.total = {{"CPU", size.cpus * sched::kResourceUnit}};
  if (size.GpusOf(id) != 0) options.total.emplace_back("GPU", size.GpusOf(id) * sched::kResourceUnit);
  options.max_workers = 4 * size.cpus;
  return options;
}

}  // namespace

Node::Node(Cluster* cluster, uint32_t id)
    : cluster_(cluster), id_(id), scheduler_(OptionsOf(id, cluster->size()), this) {
  // That there are others is what it needs to know: one stands for them, or 10,000 nodes would keep 10,000
  // others each.
  const uint32_t other = id == 1 ? 2 : 1;
  if (cluster->size().nodes > 1) scheduler_.AddOther(other, OptionsOf(other, cluster->size()).total);
  // Not all at once.
  timer_at_ = cluster->now() + id % 500 * kMillisecond;
  fence_.Start(timer_at_);
  heartbeats_.Start(id == kHeadNode, timer_at_);
  cluster->At(timer_at_, Cluster::Timer::kNode, id);
}

NodeRecord Node::Record() const {
  NodeRecord r;
  r.rank = static_cast<int32_t>(id_) - 1;
  r.hostname = "host" + std::to_string(id_);
  r.total = scheduler_.total();
  return r;
}

Address Node::OpenSlot() {
  workers_.push_back(nullptr);
  return {id_, static_cast<uint16_t>(workers_.size()), 0, 1};
}

// ---- the raylet -------------------------------------------------------------------------------------------

void Node::OnMessage(const MessageHeader& header, Bytes body) {
  if (header.dst.slot != kRayletSlot) {
    Worker* w = header.dst.slot <= workers_.size() ? workers_[header.dst.slot - 1].get() : nullptr;
    if (w != nullptr) ToWorker(w, header, body);
    return;
  }
  const TimeNs now = cluster_->now();
  const TimeNs begin = CpuNow();
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kLeaseRequest:
      scheduler_.OnLeaseRequest(header.src, Decode<LeaseRequest>(body), now);
      break;
    case MsgType::kLeaseReturn: {
      const auto m = Decode<LeaseReturn>(body);
      scheduler_.OnLeaseReturn(m.lease, m.worker, now);
      break;
    }
    case MsgType::kAssign:
      scheduler_.OnAssign(Decode<Demand>(body), now);
      break;
    case MsgType::kHandedOff:
      scheduler_.OnHandedOff(Decode<HandedOff>(body), now);
      break;
    case MsgType::kGroupReserve:
      scheduler_.OnReserve(Decode<Reserve>(body), now);
      break;
    case MsgType::kGroupRelease:
      if (!scheduler_.OnRelease(Decode<Release>(body), now).empty())
        throw std::logic_error("a group is removed only when nothing runs in it any more");
      break;
    case MsgType::kHeartbeat:
      heartbeats_.OnHeartbeat(header.src.node, Decode<Heartbeat>(body), now);
      break;
    case MsgType::kHeartbeatAck:
      heartbeats_.OnAck(Decode<Nonce>(body).nonce);
      break;
    case MsgType::kReportTo:
      heartbeats_.OnReportTo(Decode<ReportTo>(body).node, now);
      break;
    case MsgType::kNodeDead: {
      heartbeats_.OnNodeDead(Decode<Join>(body).record.node, now);
      std::vector<Address> ended;
      scheduler_.OnOwnerNodeGone(Decode<Join>(body).record.node, &ended, now);
      for (uint32_t i = 0; i < cluster_->owner_count(); ++i) {
        const Address& owner = cluster_->owner(i).self();
        if (owner.node == id_) cluster_->Send(RayletOf(id_), owner, MsgType::kNodeDead, body);
      }
      break;
    }
    default:
      break;  // of the store: nothing is stored here
  }
  cluster_->AddLocalCpu(CpuNow() - begin, std::exchange(grants_, 0));
  Settle();
}

void Node::OnTimer() {
  if (cluster_->now() >= timer_at_) timer_at_ = kNever;
  scheduler_.OnTimer(cluster_->now());
  Settle();
}

// Says what changed to the head, as runtime/raylet does.
void Node::Settle() {
  const TimeNs now = cluster_->now();
  fence_.OnTurn(now);
  heartbeats_.OnTimer(now);
  const TimeNs next = std::min(scheduler_.NextDeadline(), heartbeats_.NextDeadline());
  if (timer_at_ > now && timer_at_ <= next) return;
  timer_at_ = std::max(next, now + 1);
  cluster_->At(timer_at_, Cluster::Timer::kNode, id_);
}

void Node::SendGrant(const Address& owner, const Grant& grant) {
  ++grants_;
  Send(RayletOf(id_), owner, MsgType::kGrant, grant);
}
void Node::SendReclaim(const Address& owner, const Reclaim& m) {
  Send(RayletOf(id_), owner, MsgType::kReclaim, m);
}
void Node::SendReserved(const Reserved& m) { Send(RayletOf(id_), GcsAddress(), MsgType::kGroupReserved, m); }
void Node::SendDemand(const Demand& demand) { Send(RayletOf(id_), GcsAddress(), MsgType::kDemand, demand); }
void Node::SendReject(const Demand& demand) {
  Send(RayletOf(id_), GcsAddress(), MsgType::kAssignReject, demand);
}
void Node::SendUnschedulable(const Address&, const Unschedulable& m) { throw std::logic_error(m.reason); }

void Node::StartWorker(JobId job, uint8_t language) {
  job_ = job;
  zygote_until_ = std::max(zygote_until_, cluster_->now()) + cluster_->costs().fork;
  cluster_->At(zygote_until_, Cluster::Timer::kForked, id_, language);
}

void Node::OnForked(uint8_t language) {
  const Address self = OpenSlot();
  workers_.back() = std::make_unique<Worker>();
  workers_.back()->self = self;
  scheduler_.OnWorkerReady(self, job_, language, cluster_->now());
  Settle();
}

void Node::StopWorker(const Address& worker) { workers_[worker.slot - 1].reset(); }

// ---- its workers ------------------------------------------------------------------------------------------

void Node::ToWorker(Worker* w, const MessageHeader& header, Bytes body) {
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kPush: {
      const auto m = Decode<Push>(body);
      w->items.push_back({header.src, m.task, m.attempt, Decode<Work>(m.args.bytes())});
      if (!w->running) StartNext(w);
      break;
    }
    case MsgType::kRevoke: {
      Returned back;
      while (w->items.size() > (w->running ? 1U : 0U)) {
        back.tasks.push_back({w->items.back().task, w->items.back().attempt, false, false});
        w->items.pop_back();
      }
      Send(w->self, header.src, MsgType::kReturned, back);
      break;
    }
    default:
      break;
  }
}

void Node::StartNext(Worker* w) {
  const Worker::Item& item = w->items.front();
  w->running = true;
  cluster_->Started(item.work.submitted);
  const bool fetches = item.work.data != 0 && item.work.data != id_;
  const TimeNs takes = item.work.run + (fetches ? kTransfer : 0);
  cluster_->At(cluster_->now() + takes, Cluster::Timer::kTaskDone, id_, w->self.slot);
}

void Node::OnTaskDone(uint16_t slot) {
  Worker* w = workers_[slot - 1].get();
  const Worker::Item item = std::move(w->items.front());
  w->items.pop_front();
  w->running = false;
  Result r;
  r.task = item.task;
  r.attempt = item.attempt;
  r.run_us = static_cast<uint32_t>(std::min<TimeNs>(item.work.run / kMicrosecond, UINT32_MAX));
  r.values.resize(1);
  r.values[0].kind = static_cast<uint8_t>(ValueKind::kValue);
  r.values[0].bytes = Blob::Allocate(8);
  Send(w->self, item.owner, MsgType::kResult, r);
  if (!w->items.empty()) StartNext(w);
}

}  // namespace rmpi::scale
