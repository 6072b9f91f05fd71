// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/raylet.h"

#include <algorithm>

#include "tests/sim/process.h"

namespace rmpi::sim {
namespace {

template <class M, class F>
void Handle(World* world, Bytes body, F&& fn) {
  M m;
  Reader reader(body);
  reader(m);
  if (reader.Done()) {
    fn(m);
  } else {
    world->Fail("a raylet got a malformed message");
  }
}

std::vector<sched::CpuPlace> Cpus(const sched::Amounts& total) {
  std::vector<sched::CpuPlace> cpus;
  for (int i = 0; i < sched::AmountOf(total, "CPU") / sched::kResourceUnit; ++i)
    cpus.push_back({i, i, i / 2});
  return cpus;
}

}  // namespace

SimRaylet::SimRaylet(World* world, uint32_t node, sched::Amounts total, uint32_t expected_nodes)
    : world_(world),
      node_(node),
      scheduler_({node, total, {}, world->features().many_actors != 0 ? 2040U : 200U, Cpus(total), {}},
                 this) {
  if (node == kHeadNode) {
    GcsOptions options;
    options.run_id = kSimRun;
    options.expected_nodes = expected_nodes;
    if (world->features().heartbeat_tree) options.heartbeats = {2, 3};
    gcs_ = std::make_unique<Gcs>(options, &head_outbox_, this);
    detached_ = std::make_unique<DetachedActors>(&detached_outbox_, &gcs_->actor_names(), this);
  }
  labels_ = Record().labels;
  sched::SetLabel(&labels_, sched::kNodeIdLabel, NodeHex(kSimRun, node));
  scheduler_.SetNode(node, labels_);
  fence_.Start(world_->now());
  heartbeats_.Start(node == kHeadNode, world_->now());
  world_->After(0, [world, node] {
    if (SimRaylet* r = world->RayletAt(node)) r->Turn();
  });
}

NodeRecord SimRaylet::Record() const {
  NodeRecord r;
  r.rank = static_cast<int32_t>(node_) - 1;
  r.hostname = "host" + std::to_string(node_);
  r.total = scheduler_.total();
  r.labels = {{"parity", node_ % 2 == 0 ? "even" : "odd"}};
  if (node_ > 1) r.labels.emplace_back("rank", std::to_string(r.rank));
  if (world_->features().shared_disk) r.spill_folders = {"/shared/" + std::to_string(node_)};
  return r;
}

// ---- mail -------------------------------------------------------------------------------------------------

void SimRaylet::Arrive(const Packet& packet) {
  if (packet.header.src.node != node_ && gone_nodes_.count(packet.header.src.node) != 0) return;
  Deliver(packet.header, packet.body);
  Turn();
}

void SimRaylet::PostFrom(const Address& from, const Address& to, MsgType type, Bytes body) {
  MessageHeader header;
  header.type = static_cast<uint16_t>(type);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.src = from;
  header.dst = to;
  if (!Forward(header, Blob::Copy(body)) && from == DetachedOwner()) Unreachable(header);
}

bool SimRaylet::Forward(const MessageHeader& header, const Blob& body) {
  const Address& to = header.dst;
  if (to.node == node_) {
    if (InRaylet(to)) {
      local_.push_back({header, body});
      return true;
    }
    if (world_->Live(to) == nullptr) return false;
    world_->Hop(RayletOf(node_), to, header, body);
    return true;
  }
  if (gone_nodes_.count(to.node) != 0) return false;
  world_->Hop(RayletOf(node_), RayletOf(to.node), header, body);
  return true;
}

void SimRaylet::Deliver(const MessageHeader& header, const Blob& body) {
  if (header.src.node == node_ && header.dst.node != node_) NoteMet(header.src.slot, header.dst.node);
  if (header.src.node != node_ && header.dst.node == node_) NoteMet(header.dst.slot, header.src.node);
  const bool ours = header.dst.node == node_;
  if (ours && InRaylet(header.dst)) {
    OnMessage(header, body.bytes());
  } else if (!Forward(header, body)) {
    Unreachable(header);
  }
}

void SimRaylet::NoteMet(uint16_t slot, uint32_t node) {
  const auto it = clients_.find(slot);
  if (it == clients_.end()) return;
  auto& met = it->second.met;
  if (met.size() <= node) met.resize(node + 1);
  met[node] = true;
}

void SimRaylet::Unreachable(const MessageHeader& header) {
  const auto it = clients_.find(header.dst.slot);
  if (header.dst.node == node_ && it != clients_.end() && it->second.address == header.dst) return;
  Eof eof;
  eof.who = header.dst;
  // What came from there earlier is in the EOF of then, which is before this one; of this nothing was
  // claimed.
  eof.claims_known = header.dst.node == node_;
  eof.cause = "process " + ToString(header.dst) + " is gone";
  Send(header.src, MsgType::kEof, eof);
}

void SimRaylet::Broadcast(MsgType type, Bytes body) {
  for (const auto& [slot, c] : clients_) {
    if (!c.dying) Post(c.address, type, body);
  }
  if (detached_) Post(DetachedOwner(), type, body);
}

void SimRaylet::OnMessage(const MessageHeader& header, Bytes body) {
  const TimeNs now = world_->now();
  const Address& from = header.src;
  if (header.dst.slot == kGcsSlot) {
    gcs_->OnMessage(header, body, now);
    return;
  }
  if (header.dst.slot == kDetachedSlot) return OnDetached(header, body);
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kLeaseRequest:
      Handle<LeaseRequest>(world_, body,
                           [&](const LeaseRequest& m) { scheduler_.OnLeaseRequest(from, m, now); });
      break;
    case MsgType::kLeaseReturn:
      Handle<LeaseReturn>(world_, body,
                          [&](const LeaseReturn& m) { scheduler_.OnLeaseReturn(m.lease, m.worker, now); });
      break;
    case MsgType::kBlocked:
      Handle<Blocked>(world_, body,
                      [&](const Blocked& m) { scheduler_.OnBlocked(from, m.lease, m.depth, now); });
      break;
    case MsgType::kUnblocked:
      Handle<Blocked>(world_, body, [&](const Blocked& m) { scheduler_.OnUnblocked(from, m.lease, now); });
      break;
    case MsgType::kRetire:
      scheduler_.OnRetire(from, now);
      break;
    case MsgType::kKillTask:
      Handle<KillTask>(world_, body, [&](const KillTask& m) {
        const SimProcess* p = world_->Live(m.worker);
        if (p == nullptr) return;
        if (scheduler_.Runs(m.worker, m.lease)) return Kill(m.worker);
        for (const auto& [entry, claim] : p->claims()) {
          if (claim.task == m.task && claim.attempt == m.attempt) {
            Kill(m.worker);
            break;
          }
        }
      });
      break;
    case MsgType::kEof:
      Handle<Eof>(world_, body, [&](const Eof& m) {
        EndOwner(m.who);
        Broadcast(MsgType::kEof, body);
      });
      break;
    case MsgType::kHeartbeatAck:
      Handle<Nonce>(world_, body, [&](const Nonce& m) { heartbeats_.OnAck(m.nonce); });
      break;
    case MsgType::kHeartbeat:
      Handle<Heartbeat>(world_, body,
                        [&](const Heartbeat& m) { heartbeats_.OnHeartbeat(from.node, m, now); });
      break;
    case MsgType::kReportTo:
      Handle<ReportTo>(world_, body, [&](const ReportTo& m) { heartbeats_.OnReportTo(m.node, now); });
      break;
    case MsgType::kJoined:
      Handle<Joined>(world_, body, [&](const Joined& m) {
        for (const NodeRecord& r : m.nodes) {
          if (r.alive) continue;
          gone_nodes_.insert(r.node);
          if (!r.spill_folders.empty()) left_files_.insert(r.node);
        }
        if (world_->features().shared_disk)
          Send(GcsAddress(), MsgType::kSpillShared, SpillShared{{"/shared"}});
      });
      break;
    case MsgType::kDrainNode:
      Handle<DrainNode>(world_, body, [&](const DrainNode& m) {
        scheduler_.Drain(now);
        drain_.Start(node_, m.timeout_ns, now);
      });
      break;
    case MsgType::kShutdown:
      world_->LeaveNode(node_);
      break;
    case MsgType::kNodeDead:
      Handle<Join>(world_, body, [&](const Join& m) { OnNodeDeath(m.record, body); });
      break;
    case MsgType::kAssign:
      Handle<Demand>(world_, body, [&](const Demand& m) {
        const auto c = clients_.find(m.owner.slot);
        const bool here = c != clients_.end() && c->second.address == m.owner;
        const bool there = m.owner.node != node_ || here || InRaylet(m.owner);
        there ? scheduler_.OnAssign(m, now) : scheduler_.OnAssignForNobody();
      });
      break;
    case MsgType::kJobStartReply:
      Handle<JobMessage>(world_, body, [&](const JobMessage& m) {
        if (m.driver.node == node_) world_->OnJobStarted(m);
      });
      break;
    case MsgType::kJobEnd:
      Handle<JobMessage>(world_, body, [&](const JobMessage& m) { OnJobEnd(m); });
      break;
    case MsgType::kGroupReserve:
      Handle<Reserve>(world_, body, [&](const Reserve& m) { scheduler_.OnReserve(m, now); });
      break;
    case MsgType::kGroupRelease:
      Handle<Release>(world_, body, [&](const Release& m) {
        for (const Address& w : scheduler_.OnRelease(m, now)) Kill(w);
      });
      break;
    case MsgType::kHandedOff:
      Handle<HandedOff>(world_, body, [&](const HandedOff& m) { scheduler_.OnHandedOff(m, now); });
      break;
    default:
      OnStoreMessage(header, body);
      break;
  }
}

void SimRaylet::OnDetached(const MessageHeader& header, Bytes body) {
  if (static_cast<MsgType>(header.type) == MsgType::kRegisterReply) {
    Handle<RefMessage>(world_, body, [&](const RefMessage& m) {
      const core::Entry* e = detached_->core().objects().Find(m.id);
      if (m.gone && e != nullptr && e->details && e->details->nonce == m.nonce)
        world_->OnGone(DetachedOwner(), m.id);
    });
  }
  detached_->OnMessage(header, body, world_->now());
  if (static_cast<MsgType>(header.type) != MsgType::kAdoptActor) return;
  detached_->core().objects().ForEachTask(
      [&](const core::Task* t) { world_->OnSubmit(t->id(), t->tmpl->max_retries); });
}

void SimRaylet::OnJobEnd(const JobMessage& m) {
  scheduler_.OnJobEnd(m.job);
  for (const auto& [slot, c] : clients_) {
    if (c.job != m.job) continue;
    scheduler_.OnRetire(c.address, world_->now());
    Kill(c.address);
  }
  Send(GcsAddress(), MsgType::kJobEndAck, m);
}

std::optional<Blob> SimRaylet::ReadStored(const ObjectId& id, uint32_t attempt) {
  const Stored* s = Find(id, attempt);
  return s == nullptr ? std::nullopt : std::optional<Blob>(s->bytes);
}

void SimRaylet::OnNodeDeath(const NodeRecord& record, Bytes body) {
  drain_.OnNodeDead(record.node, world_->now());
  heartbeats_.OnNodeDead(record.node, world_->now());
  if (!world_->Hurt(record.node) && !world_->Left(record.node))
    world_->Fail("node " + std::to_string(record.node) +
                 " is declared dead though nobody touched it (C3): " + record.death_reason);
  gone_nodes_.insert(record.node);
  if (!record.spill_folders.empty()) left_files_.insert(record.node);
  std::vector<Address> workers;
  scheduler_.OnOwnerNodeGone(record.node, &workers, world_->now());
  scheduler_.RemoveOther(record.node, world_->now());
  for (const Address& w : workers) Kill(w);
  std::vector<Version> stuck;
  for (auto& [version, t] : transfers_) {
    if (t.source.node != record.node) continue;
    t.places.insert(t.places.begin(), t.source);  // its files are the last to be looked into
    stuck.push_back(version);
  }
  for (const Version& v : stuck) TryNext(v);
  FreeIf([&](const Version& v) { return v.id.owner().node == record.node; });
  Broadcast(MsgType::kNodeDead, body);
}

// ---- time -------------------------------------------------------------------------------------------------

void SimRaylet::Turn() {
  if (turning_) return;
  turning_ = true;
  const TimeNs now = world_->now();
  fence_.OnTurn(now);
  while (!local_.empty()) {
    const Packet m = std::move(local_.front());
    local_.pop_front();
    OnMessage(m.header, m.body.bytes());
  }
  FinishDeaths();
  scheduler_.OnTimer(now);
  drain_.OnTimer(now);
  if (gcs_) gcs_->OnTimer(now);
  if (detached_) detached_->OnTimer(now);
  heartbeats_.OnTimer(now);
  if (!gcs_ && !fenced_ && fence_.Expired(now)) {
    fenced_ = true;
    world_->FenceNode(node_);
  }
  turning_ = false;
  if (!local_.empty()) return Turn();
  TimeNs next = std::min({scheduler_.NextDeadline(), heartbeats_.NextDeadline(), drain_.NextDeadline()});
  next = std::min(next, gcs_      ? std::min(gcs_->NextDeadline(), detached_->NextDeadline())
                        : fenced_ ? kNever
                                  : fence_.Deadline());
  const bool dying =
      std::any_of(clients_.begin(), clients_.end(), [](const auto& c) { return c.second.dying; });
  if (dying) next = std::min(next, now + 10 * kMillisecond);
  if (next == kNever || (timer_at_ > now && timer_at_ <= next)) return;
  timer_at_ = std::max(next, now + 1);
  World* world = world_;
  const uint32_t node = node_;
  world_->At(timer_at_, [world, node] {
    SimRaylet* r = world->RayletAt(node);
    if (r == nullptr) return;
    if (world->now() >= r->timer_at_) r->timer_at_ = kNever;
    r->Turn();
  });
}

// ---- clients ----------------------------------------------------------------------------------------------

Address SimRaylet::OpenSlot() {
  uint16_t slot = 1;
  while (clients_.count(slot) != 0) ++slot;
  Client c;
  c.address = {node_, slot, 0, ++generations_[slot]};
  clients_[slot] = c;
  return c.address;
}

void SimRaylet::StartWorker(JobId job, uint8_t language) {
  TimeNs delay = static_cast<TimeNs>(1 + world_->rng().Below(20)) * kMillisecond;
  if (world_->rng().Percent(10)) delay = static_cast<TimeNs>(world_->rng().Below(600)) * kMillisecond;
  const bool fails = world_->features().start_failures && world_->rng().Percent(20);
  ++starting_;
  World* world = world_;
  const uint32_t node = node_;
  world_->After(delay, [world, node, job, language, fails] {
    SimRaylet* r = world->RayletAt(node);
    if (r == nullptr) return;
    --r->starting_;
    if (fails) {
      r->scheduler_.OnWorkerStartFailed(language, world->now());
    } else {
      const Address a = r->OpenSlot();
      r->clients_.at(a.slot).job = job;
      world->AddProcess(a, job, false, language);
      r->scheduler_.OnWorkerReady(a, job, language, world->now());
    }
    r->Turn();
  });
}

void SimRaylet::SendGrant(const Address& owner, const Grant& grant) {
  if (core::Core* core = world_->CoreAt(owner)) {
    const auto& shapes = core->submitter().shapes();
    const auto q = shapes.find(grant.shape_key);
    if (q == shapes.end()) {
      world_->Fail("a grant for a shape that its owner does not know (15)");
    } else {
      if (!sched::MatchesAny(labels_, q->second->shape.labels)) {
        world_->Fail("node " + std::to_string(node_) + " granted what asks for labels " +
                     sched::ToString(q->second->shape.labels) + " (8)");
      }
      for (const auto& [name, amount] : q->second->shape.resources) {
        if (amount > 0 && sched::AmountOf(scheduler_.PoolOfLease(grant.lease).available(), name) < 0) {
          world_->Fail("node " + std::to_string(node_) + " granted more " + name + " than it has (8, 9)");
        }
      }
    }
  }
  Send(owner, MsgType::kGrant, grant);
  if (const auto c = clients_.find(grant.worker.slot); c != clients_.end())
    c->second.job = scheduler_.JobOf(grant.worker);
  if (owner.node != node_) NoteMet(grant.worker.slot, owner.node);
}

const SimRaylet::Assigned* SimRaylet::AssignedTo(const Address& worker) const {
  const auto it = assigned_.find(worker);
  return it == assigned_.end() ? nullptr : &it->second;
}

void SimRaylet::Kill(const Address& worker) {
  SimProcess* p = world_->Live(worker);
  if (p == nullptr || p->driver()) return;
  World* world = world_;
  world_->After(static_cast<TimeNs>(world_->rng().Below(3000)) * kMicrosecond, [world, worker] {
    if (SimProcess* victim = world->Live(worker)) victim->Die();
  });
}

void SimRaylet::StartDeath(const Address& who) {
  Client& c = clients_.at(who.slot);
  c.dying = true;
  c.informed_at = world_->now() + static_cast<TimeNs>(world_->rng().Below(20)) * kMillisecond;
  World* world = world_;
  const uint32_t node = node_;
  world_->After(0, [world, node] {
    if (SimRaylet* r = world->RayletAt(node)) r->Turn();
  });
}

void SimRaylet::FinishDeaths() {
  std::vector<Address> done;
  for (const auto& [slot, c] : clients_) {
    const bool drained = world_->InFlight(c.address, RayletOf(node_)) == 0;
    if (c.dying && drained && world_->now() >= c.informed_at) done.push_back(c.address);
  }
  for (const Address& a : done) FinishDeath(a);
}

void SimRaylet::FinishDeath(const Address& who) {
  Eof eof;
  eof.who = who;
  eof.cause = "worker " + ToString(who) + " died";
  eof.drained = clients_.at(who.slot).drained;
  eof.out_of_memory = !eof.drained && world_->rng().Percent(10);
  if (eof.drained) world_->OnDrained(*world_->Any(who));
  for (const auto& [entry, claim] : world_->Any(who)->claims()) {
    eof.claimed.push_back(claim);
    if (eof.out_of_memory) world_->OnFreeRetry(claim.task);
  }
  const Client gone = std::move(clients_.at(who.slot));
  clients_.erase(who.slot);
  EndOwner(who);
  Writer body;
  body(eof);
  Broadcast(MsgType::kEof, body.bytes());
  for (uint32_t node = 0; node < gone.met.size(); ++node) {
    if (gone.met[node]) Post(RayletOf(node), MsgType::kEof, body.bytes());
  }
  Post(GcsAddress(), MsgType::kEof, body.bytes());
  scheduler_.OnWorkerGone(who, world_->now());
  for (auto& [version, t] : transfers_) {
    std::erase_if(t.waiters, [&](const auto& w) { return w.first == who; });
  }
  std::erase_if(store_, [&](const auto& s) { return s.second.creator == who && !s.second.announced; });
  world_->RemoveProcess(who);
}

void SimRaylet::EndOwner(const Address& owner) {
  for (const Address& worker : scheduler_.OnOwnerGone(owner, world_->now())) {
    scheduler_.OnRetire(worker, world_->now());
    Kill(worker);
  }
  gone_owners_.insert(owner);
  FreeIf([&](const Version& v) { return v.id.owner() == owner; });
}

bool SimRaylet::Quiet() const {
  const bool dying =
      std::any_of(clients_.begin(), clients_.end(), [](const auto& c) { return c.second.dying; });
  if (detached_) {  // living actors are pending tasks
    core::Core& core = detached_->core();
    if (core.tasks().pending_count() != core.actor_owner().alive_count()) return false;
  }
  return !dying && local_.empty() && transfers_.empty();
}

std::string SimRaylet::Describe() const {
  std::string out = "node " + std::to_string(node_) + ": available " +
                    sched::ToString(scheduler_.available()) + " of " + sched::ToString(scheduler_.total()) +
                    ", workers " + std::to_string(scheduler_.worker_count()) + ", leases " +
                    std::to_string(scheduler_.lease_count()) + ", demands " +
                    std::to_string(scheduler_.demand_count()) + ", bundles " +
                    std::to_string(scheduler_.bundles().count()) + ", starting " + std::to_string(starting_) +
                    ", transfers " + std::to_string(transfers_.size());
  if (gcs_) out += ", head's demands " + std::to_string(gcs_->pending_demands());
  for (const auto& [v, s] : store_)
    out += "\n  stored " + Hex(v.id) + " attempt " + std::to_string(v.attempt) +
           (s.creator.nil() ? " copy" : " primary");
  return out + "\n";
}

}  // namespace rmpi::sim
