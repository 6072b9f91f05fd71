// SPDX-License-Identifier: Apache-2.0
// What the raylet does with each message: its own, or on its way through.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "objstore/spill/run_folders.h"
#include "runtime/raylet/raylet_impl.h"

namespace rmpi {
namespace {

template <class M, class F>
void Handle(Bytes body, F&& fn) {
  M m;
  Reader reader(body);
  reader(m);
  if (reader.Done()) {
    fn(m);
  } else {
    spdlog::warn("a malformed message was dropped");
  }
}

}  // namespace

void Raylet::OnLaneMessage(uint16_t src_slot, uint32_t src_generation, Bytes message) {
  MessageHeader header;
  if (message.size() < sizeof header) return;
  std::memcpy(&header, message.data(), sizeof header);
  const Bytes body = message.subspan(sizeof header);
  if (header.version != kWireVersion || header.body_bytes != body.size()) return;
  // Nobody speaks for another process.
  if (header.src.node != node_ || header.src.slot != src_slot || header.src.generation != src_generation)
    return;
  Deliver(header, body);
}

void Raylet::OnPeerMessage(int peer, const MessageHeader& header, Bytes body) {
  if (static_cast<MsgType>(header.type) == MsgType::kJoin && gcs_) {
    Handle<Join>(body, [&](const Join& m) { OnJoin(peer, m.record); });
    return;
  }
  // A new node's first words can overtake the head's announcement of it.
  const uint32_t src = header.src.node;
  if (src != 0 && router_.PeerOf(src) < 0 && nodes_.find(src) == nodes_.end()) router_.AddNode(src, peer);
  if (node_ != 0 && header.dst.node != node_) return Relay(header, body);
  Deliver(header, body);
}

void Raylet::Deliver(const MessageHeader& header, Bytes body) {
  if (header.src.node == node_ && header.dst.node != node_) NoteMet(header.src.slot, header.dst.node);
  if (header.src.node != node_ && header.dst.node == node_) NoteMet(header.dst.slot, header.src.node);
  const bool ours = header.dst.node == node_ || node_ == 0;
  if (ours && (header.dst.slot == kRayletSlot || (InRaylet(header.dst) && gcs_))) {
    OnMessage(header, body);
  } else if (!router_.Forward(header, body)) {
    Unreachable(header);
  }
}

void Raylet::NoteMet(uint16_t slot, uint32_t node) {
  const auto it = clients_.find(slot);
  // An ObjectRef made of a user's own bytes can name any number.
  if (it == clients_.end() || nodes_.count(node) == 0) return;
  auto& met = it->second->nodes_met;
  if (met.size() <= node) met.resize(node + 1);
  met[node] = true;
}

// The sender is told that its peer is no more. A peer whose death is still being worked up announces itself.
void Raylet::Unreachable(const MessageHeader& header) {
  const auto it = clients_.find(header.dst.slot);
  if (header.dst.node == node_ && it != clients_.end() && it->second->address == header.dst) return;
  const auto node = nodes_.find(header.dst.node);
  Eof eof;
  eof.who = header.dst;
  // What came from there earlier is in the EOF of then, which is before this one; of this nothing was
  // claimed.
  eof.claims_known = header.dst.node == node_;
  eof.cause = "process " + ToString(header.dst) + " is gone";
  const auto known = std::find_if(causes_.begin(), causes_.end(),
                                  [&](const auto& cause) { return cause.first == header.dst; });
  if (known != causes_.end()) {
    eof.cause = known->second;
  } else if (node != nodes_.end() && !node->second.alive) {
    eof.cause += ": " + node->second.death_reason;
  }
  router_.Send(header.src, MsgType::kEof, eof);
}

void Raylet::Broadcast(MsgType type, Bytes body) {
  for (const auto& [slot, c] : clients_) {
    if (c->ready && !c->dying) router_.Post(c->address, type, body);
  }
  if (detached_) router_.Post(DetachedOwner(), type, body);
}

void Raylet::OnMessage(const MessageHeader& header, Bytes body) {
  if (header.dst.slot == kGcsSlot) {
    gcs_->OnMessage(header, body, MonotonicNow());
    return;
  }
  if (header.dst.slot == kDetachedSlot) {
    detached_->OnMessage(header, body, MonotonicNow());
    return;
  }
  const auto type = header.type;
  if (type < static_cast<uint16_t>(MsgType::kExtentRequest)) {
    const TimeNs now = MonotonicNow();
    if (type == static_cast<uint16_t>(MsgType::kLeaseRequest)) {
      Handle<LeaseRequest>(body,
                           [&](const LeaseRequest& m) { scheduler_->OnLeaseRequest(header.src, m, now); });
    } else if (type == static_cast<uint16_t>(MsgType::kLeaseReturn)) {
      Handle<LeaseReturn>(body,
                          [&](const LeaseReturn& m) { scheduler_->OnLeaseReturn(m.lease, m.worker, now); });
    }
  } else if (type < static_cast<uint16_t>(MsgType::kBlocked)) {
    OnStoreMessage(header, body);
  } else if (type < static_cast<uint16_t>(MsgType::kJoin)) {
    OnWorkerMessage(header, body);
  } else {
    OnClusterMessage(header, body);
  }
}

void Raylet::OnStoreMessage(const MessageHeader& header, Bytes body) {
  if (!store_) return;
  const TimeNs now = MonotonicNow();
  const Address& from = header.src;
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kExtentRequest:
      Handle<ExtentRequest>(body, [&](const ExtentRequest& m) { HandleExtent(from, m, now); });
      break;
    case MsgType::kExtentReturn:
      Handle<ExtentReturn>(body, [&](const ExtentReturn& m) {
        store_->ReturnExtent(from.slot, from.generation, {m.offset, m.bytes});
        AfterFree();
      });
      break;
    case MsgType::kSealed:
      Handle<ObjectAt>(body, [&](const ObjectAt& m) {
        const objstore::Locator at{node_, m.place.segment, m.place.offset, m.size};
        store_->OnSealed(from.slot, from.generation, m.id, m.attempt, at, m.id.owner());
        // A worker that is being ended with its task's owner may still store a result.
        const auto node = nodes_.find(m.id.owner().node);
        const bool node_gone = node != nodes_.end() && !node->second.alive;
        if (node_gone || gone_owners_.count(m.id.owner()) != 0) FreeStored(m.id, m.attempt);
      });
      break;
    case MsgType::kFree:
      Handle<FreeObject>(body, [&](const FreeObject& m) {
        FreeStored(m.id, m.attempt);
        AfterFree();
      });
      break;
    case MsgType::kFreeItems:
      Handle<ItemRef>(body, [&](const ItemRef& m) {
        store_->FreeFrom(m.task, m.attempt, ItemId(m.task, m.item).index);
        spiller_->manager().FreeFrom(m.task, m.attempt, ItemId(m.task, m.item).index);
        AfterFree();
      });
      break;
    case MsgType::kPull:
      Handle<Pull>(body, [&](const Pull& m) {
        if (m.moves_from == 0 || !drain_.active()) return pulls_->OnPull(from, m, now);
        PullReply reply;  // we leave ourselves
        reply.id = m.id;
        reply.attempt = m.attempt;
        reply.failed = true;
        router_.Send(from, MsgType::kPullReply, reply);
      });
      break;
    case MsgType::kPullReply:  // of a node that is to take an object of ours
      Handle<PullReply>(body, [&](const PullReply& m) { drain_.OnPullReply(m, now); });
      break;
    case MsgType::kPin:
      Handle<PinRequest>(body, [&](const PinRequest& m) {
        FindAnnounced(m.id, m.attempt);
        pulls_->OnPin(from, m, now);
      });
      break;
    case MsgType::kLocationCheck:
      Handle<LocationCheck>(body, [&](LocationCheck m) {
        const auto* e = FindAnnounced(m.id, m.attempt);
        m.held = (e != nullptr && e->sealed && !e->freed) || OnDisk(m.id, m.attempt);
        if (m.held && m.keep) store_->SetPrimary(m.id, m.attempt, true);
        router_.Send(from, MsgType::kLocationChecked, m);
      });
      break;
    case MsgType::kPinned:
      Handle<Pinned>(body, [&](const Pinned& m) { pulls_->OnPinned(from, m, now); });
      break;
    case MsgType::kUnpin:
      Handle<PinRequest>(body, [&](const PinRequest& m) {
        pulls_->OnUnpin(from, m, now);
        AfterFree();
      });
      break;
    default:
      break;
  }
}

// Owners forget the copies that had to go: in batches, before anything that later turns say about them.
// The SEALED of what others know may still be in a lane: it was published before the place left the process.
const objstore::Store::Entry* Raylet::FindAnnounced(const ObjectId& id, uint32_t attempt) {
  if (const auto* e = store_->Find(id, attempt)) return e;
  port_->Drain([this](uint16_t s, uint32_t g, Bytes msg) { OnLaneMessage(s, g, msg); }, 1 << 16);
  return store_->Find(id, attempt);
}

void Raylet::TellEvicted() {
  const std::vector<objstore::Store::Evicted> evicted = store_->TakeEvicted();
  if (evicted.empty()) return;
  std::unordered_map<Address, LocationDelete> by_owner;
  for (const auto& e : evicted) by_owner[e.owner].versions.emplace_back(e.version.id, e.version.attempt);
  for (const auto& [owner, m] : by_owner) router_.Send(owner, MsgType::kLocationDelete, m);
}

void Raylet::OnWorkerMessage(const MessageHeader& header, Bytes body) {
  const TimeNs now = MonotonicNow();
  const Address& from = header.src;
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kBlocked:
      Handle<Blocked>(body, [&](const Blocked& m) { scheduler_->OnBlocked(from, m.lease, m.depth, now); });
      break;
    case MsgType::kUnblocked:
      Handle<Blocked>(body, [&](const Blocked& m) { scheduler_->OnUnblocked(from, m.lease, now); });
      break;
    case MsgType::kRetire:
      scheduler_->OnRetire(from, now);
      break;
    case MsgType::kKillTask:
      Handle<KillTask>(body, [&](const KillTask& m) {
        if (scheduler_->Runs(m.worker, m.lease))
          return Kill(m.worker, "its actor was killed with ray.kill()");
        for (const lane::Claim& claim : board_->ReadClaims(m.worker.slot)) {
          if (claim.task == m.task && claim.attempt == m.attempt && ClientAt(m.worker) != nullptr) {
            Kill(m.worker, "its task was cancelled with force=True");
            break;
          }
        }
      });
      break;
    case MsgType::kJobOver: {
      Client* c = ClientAt(from);
      if (c == nullptr) break;
      Handle<Nonce>(body, [&](const Nonce& m) {
        JobMessage end;
        end.job = c->job;
        end.driver = from;
        end.nonce = m.nonce;
        router_.Send(GcsAddress(), MsgType::kJobEnd, end);
      });
      break;
    }
    case MsgType::kStats:
      Handle<Nonce>(body, [&](const Nonce& m) {
        if (from == GcsAddress()) return SendNodeStatus(m.nonce);
        StatsReply reply = StoreFigures();
        reply.nonce = m.nonce;
        router_.Send(from, MsgType::kStatsReply, reply);
      });
      break;
    case MsgType::kStatsReply:  // of the head, about the run
      Handle<RunStatus>(body, [&](const RunStatus& m) { AnswerQuestion(m.nonce, body); });
      break;
    case MsgType::kCorruptPeer:
      Handle<CorruptPeer>(body, [&](const CorruptPeer& m) { EndCorrupt(m.who); });
      break;
    case MsgType::kLogAck:
      Handle<LogAck>(body, [&](const LogAck& m) {
        const auto it = log_unprinted_.find(from);
        if (it != log_unprinted_.end()) it->second -= std::min<size_t>(it->second, m.bytes);
      });
      break;
    case MsgType::kEof:  // of a process on another node that met somebody here
      Handle<Eof>(body, [&](const Eof& m) {
        EndOwner(m.who);
        Broadcast(MsgType::kEof, body);
      });
      break;
    default:
      break;
  }
}

void Raylet::OnClusterMessage(const MessageHeader& header, Bytes body) {
  const TimeNs now = MonotonicNow();
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kJoined:
      if (node_ != 0) break;
      Handle<Joined>(body, [&](const Joined& m) {
        for (const NodeRecord& r : m.nodes) OnNodeJoined(r);
        BecomeNode(m.node, m.run_id, m.labels);
        ShareSpillFolders(m.nodes);
        if (prefaulter_) prefaulter_->Pump(store_->allocator());
      });
      break;
    case MsgType::kHeartbeatAck:
      Handle<Nonce>(body, [&](const Nonce& m) { heartbeats_->OnAck(m.nonce); });
      break;
    case MsgType::kHeartbeat:  // of a node that reports through us
      Handle<Heartbeat>(body, [&](const Heartbeat& m) { heartbeats_->OnHeartbeat(header.src.node, m, now); });
      break;
    case MsgType::kReportTo:
      Handle<ReportTo>(body, [&](const ReportTo& m) { heartbeats_->OnReportTo(m.node, now); });
      break;
    case MsgType::kNodeAdded:
      Handle<Join>(body, [&](const Join& m) { OnNodeJoined(m.record); });
      break;
    case MsgType::kNodeDead:
      Handle<Join>(body, [&](const Join& m) {
        nodes_[m.record.node] = m.record;
        if (!head_) OnNodeDead(m.record.node);
        std::vector<Address> workers;
        scheduler_->OnOwnerNodeGone(m.record.node, &workers, now);
        scheduler_->RemoveOther(m.record.node, now);
        for (const Address& w : workers) Kill(w, "its owner's node died");
        pulls_->OnNodeDead(m.record.node, now);
        drain_.OnNodeDead(m.record.node, now);
        heartbeats_->OnNodeDead(m.record.node, now);
        store_->NodeGone(m.record.node);
        spiller_->manager().NodeGone(m.record.node);
        Broadcast(MsgType::kNodeDead, body);
      });
      break;
    case MsgType::kAssign:
      Handle<Demand>(body, [&](const Demand& m) {
        // The head may not have heard yet that its owner, of this node, is gone: nobody would return the
        // lease.
        const bool there = InRaylet(m.owner) || m.owner.node != node_ || ClientAt(m.owner) != nullptr;
        there ? scheduler_->OnAssign(m, now) : scheduler_->OnAssignForNobody();
      });
      break;
    case MsgType::kHandedOff:
      Handle<HandedOff>(body, [&](const HandedOff& m) { scheduler_->OnHandedOff(m, now); });
      break;
    case MsgType::kGroupReserve:
      Handle<Reserve>(body, [&](const Reserve& m) { scheduler_->OnReserve(m, now); });
      break;
    case MsgType::kGroupRelease:
      Handle<Release>(body, [&](const Release& m) {
        for (const Address& w : scheduler_->OnRelease(m, now)) Kill(w, "its placement group was removed");
      });
      break;
    case MsgType::kDrainNode:
      Handle<DrainNode>(body, [&](const DrainNode& m) { OnDrainNode(m, now); });
      break;
    case MsgType::kDrainReply:  // about a node that somebody here has had drained
      Handle<DrainReply>(body, [&](const DrainReply& m) { AnswerQuestion(m.nonce, body); });
      break;
    case MsgType::kShutdown:
      Handle<Shutdown>(body, [&](const Shutdown& m) {
        // With the run's end nobody wants our files any more; with ours, others may.
        if (!drain_.active()) objstore::spill::TakeBackFolders(config_.session);
        Stop(m.status, m.reason);
      });
      break;
    case MsgType::kJobStartReply:
      Handle<JobMessage>(body, [&](const JobMessage& m) { OnJobStarted(m); });
      break;
    case MsgType::kJobEnd:
      Handle<JobMessage>(body, [&](const JobMessage& m) { OnJobEnd(m, now); });
      break;
    case MsgType::kKvRequest:  // a client that wants a function
      Handle<KvRequest>(body, [&](const KvRequest& m) {
        if (gcs_) {
          gcs_->OnMessage(header, body, now);
        } else {
          functions_.OnRequest(header.src, m);
        }
      });
      break;
    case MsgType::kKvReply:
      Handle<KvReply>(body, [&](const KvReply& m) { functions_.OnReply(m); });
      break;
    default:
      break;
  }
}

// ---- hosts ------------------------------------------------------------------------------------------------

void Raylet::SendGrant(const Address& owner, const Grant& grant) {
  router_.Send(owner, MsgType::kGrant, grant);
  Client* c = ClientAt(grant.worker);
  if (c == nullptr) return;
  if (owner.node != node_) NoteMet(grant.worker.slot, owner.node);
  // A worker forked ahead of demand belongs to the job of its first lease.
  c->job = scheduler_->JobOf(grant.worker);
  if (WorkerOutput* out = logs_.Find(c->token)) out->job = c->job;
}
void Raylet::SendReclaim(const Address& owner, const Reclaim& m) {
  router_.Send(owner, MsgType::kReclaim, m);
}
void Raylet::SendReserved(const Reserved& m) { router_.Send(GcsAddress(), MsgType::kGroupReserved, m); }
void Raylet::SendDemand(const Demand& demand) { router_.Send(GcsAddress(), MsgType::kDemand, demand); }
void Raylet::SendUnschedulable(const Address& owner, const Unschedulable& m) {
  router_.Send(owner, MsgType::kUnschedulable, m);
}
void Raylet::SendReject(const Demand& demand) { router_.Send(GcsAddress(), MsgType::kAssignReject, demand); }

void Raylet::Fetch(uint64_t request, uint32_t node, const ObjectId& id, uint32_t attempt, uint64_t src_offset,
                   uint64_t dst_offset, uint64_t bytes, bool coming) {
  transfer_->Fetch(request, node, id, attempt, src_offset, dst_offset, bytes, coming);
}

void Raylet::Coming(const objstore::Version& version, const objstore::Locator& at, bool open) {
  served_.Coming(version, at, open);
  if (!open && transfer_) transfer_->Recheck();  // requests that wait for more of it are refused now
}

void Raylet::Came(const objstore::Version& version) {
  served_.Came(version);
  if (transfer_) transfer_->Recheck();
}

void Raylet::OnNodeJoined(const NodeRecord& record) {
  nodes_[record.node] = record;
  if (record.node == node_ || (head_ && record.node == kHeadNode) || !record.alive) return;
  scheduler_->AddOther(record.node, record.total);
  // Nodes that joined later have a connection with the head alone, which relays.
  router_.AddNode(record.node, !head_ && (joined_ || JoinedLater(record)) ? 0 : std::abs(record.rank));
  if (!transfer_) return;
  if (Status s = transfer_->AddPeer(record.node, record.data_address); !s.ok()) {
    spdlog::error("node {} cannot be reached for objects: {}", record.node, s.message());
  }
}

void Raylet::OnNodeDead(uint32_t node) {
  const int peer = router_.PeerOf(node);
  // Through peer 0 the head relays for others, too.
  if (peer > 0 && links_) links_->Drop(peer);
  if (peer > 0 && peer < launch_size_) all_alive_ = false;
  if (transfer_) transfer_->DropPeer(node);
  router_.RemoveNode(node);
  spiller_->left().OnNodeDead(node, (head_ ? gcs_->nodes().at(node) : nodes_.at(node)).spill_folders);
}

void Raylet::EndDetachedJob(JobId job) { gcs_->EndDetachedJob(job, MonotonicNow()); }

std::optional<Blob> Raylet::ReadStored(const ObjectId& id, uint32_t attempt) {
  const auto* e = FindAnnounced(id, attempt);
  if (e == nullptr || !e->sealed || e->freed) return std::nullopt;
  return Blob::Copy({arena_->data(e->locator.offset), e->locator.size});
}

void Raylet::Warn(const std::string& text) {
  spdlog::warn("{}", text);
  LogLines lines;
  lines.is_stderr = true;
  lines.name = "ray-mpi scheduler";
  lines.text = text + "\n";
  for (const auto& [id, job] : jobs_) {
    if (!job.start.detached) SendLines(job.start.driver, lines);
  }
}

}  // namespace rmpi
