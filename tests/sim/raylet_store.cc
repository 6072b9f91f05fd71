// SPDX-License-Identifier: Apache-2.0
// The store of a simulated node, and what moves between stores.
#include <algorithm>

#include "tests/sim/process.h"
#include "tests/sim/raylet.h"

namespace rmpi::sim {
namespace {

template <class M, class F>
void Handle(Bytes body, F&& fn) {
  M m;
  Reader reader(body);
  reader(m);
  if (reader.Done()) fn(m);
}

}  // namespace

Place SimRaylet::Write(const ObjectId& id, uint32_t attempt, uint64_t size, Blob bytes,
                       const Address& creator) {
  Stored s;
  s.bytes = std::move(bytes);
  s.size = size;
  s.offset = next_offset_++;
  s.creator = creator;
  store_[{id, attempt}] = s;
  return {node_, 0, s.offset};
}

const Stored* SimRaylet::Find(const ObjectId& id, uint32_t attempt) const {
  const auto it = store_.find({id, attempt});
  return it == store_.end() ? nullptr : &it->second;
}

void SimRaylet::FreeIf(const std::function<bool(const Version&)>& doomed) {
  std::erase_if(store_, [&](const auto& s) { return doomed(s.first); });
  for (auto& [version, t] : transfers_) t.freed |= doomed(version);
}

// A copy may go at any time.
void SimRaylet::EvictSomething() {
  for (auto it = store_.begin(); it != store_.end(); ++it) {
    if (!it->second.creator.nil() || it->second.kept) continue;
    LocationDelete m;
    m.versions.emplace_back(it->first.id, it->first.attempt);
    Send(it->first.id.owner(), MsgType::kLocationDelete, m);
    store_.erase(it);
    return;
  }
}

// A primary is written to disk, and may or may not lose its memory: for others it is there in any case.
void SimRaylet::SpillSomething() {
  for (const auto& [version, s] : store_) {
    if ((!s.creator.nil() && !s.announced) || (s.creator.nil() && !s.kept) || disk_.contains(version))
      continue;
    disk_[version] = s.bytes;
    return;
  }
}

// From the files of a dead node. What is torn there is found out.
void SimRaylet::ReadLeft(const Version& version, uint64_t request, uint32_t node) {
  const auto it = transfers_.find(version);
  if (it == transfers_.end() || it->second.request != request) return;
  if (const Blob* bytes = world_->OnLeftDisk(node, version)) {
    world_->OnReadBack();
    Arrived(version, request, *bytes);
  } else {
    it->second.gone.push_back(node);
    TryNext(version);
  }
  Turn();
}

void SimRaylet::OnStoreMessage(const MessageHeader& header, Bytes body) {
  const Address& from = header.src;
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kSealed:
      Handle<ObjectAt>(body, [&](const ObjectAt& m) {
        const auto it = store_.find({m.id, m.attempt});
        if (it == store_.end()) return;
        it->second.announced = true;
        const Address& owner = m.id.owner();
        if (gone_owners_.count(owner) != 0 || gone_nodes_.count(owner.node) != 0) store_.erase(it);
      });
      break;
    case MsgType::kFree:
      Handle<FreeObject>(body, [&](const FreeObject& m) {
        FreeIf([&](const Version& v) { return v.id == m.id && v.attempt == m.attempt; });
      });
      break;
    case MsgType::kFreeItems:
      Handle<ItemRef>(body, [&](const ItemRef& m) {
        const uint32_t from = ItemId(m.task, m.item).index;
        FreeIf([&](const Version& v) {
          return v.id.task == m.task && v.attempt == m.attempt && v.id.index >= from;
        });
      });
      break;
    case MsgType::kPull:
      Handle<Pull>(body, [&](const Pull& m) { OnPull(from, m); });
      break;
    case MsgType::kPullReply:
      Handle<PullReply>(body, [&](const PullReply& m) { drain_.OnPullReply(m, world_->now()); });
      break;
    case MsgType::kPin:
      Handle<PinRequest>(body, [&](const PinRequest& m) {
        const Stored* s = Find(m.id, m.attempt);
        Pinned reply;
        reply.request = m.request;
        reply.gone = s == nullptr;
        if (s != nullptr) reply.size = s->size;
        const Version version{m.id, m.attempt};
        Send(from, MsgType::kPinned, reply);
        if (s == nullptr) return;
        // The bytes travel by another way than frames.
        World* world = world_;
        const TimeNs delay = static_cast<TimeNs>(world_->rng().Below(3000)) * kMicrosecond;
        world_->After(
            delay, [world, to = from.node, source = node_, version, request = m.request, bytes = s->bytes] {
              SimRaylet* r = world->RayletAt(to);
              if (r == nullptr || world->RayletAt(source) == nullptr) return;
              r->Arrived(version, request, bytes);
              r->Turn();
            });
      });
      break;
    case MsgType::kLocationCheck:
      Handle<LocationCheck>(body, [&](LocationCheck m) {
        const auto it = store_.find({m.id, m.attempt});
        m.held = it != store_.end();
        if (m.held && m.keep) it->second.kept = true;
        Send(from, MsgType::kLocationChecked, m);
      });
      break;
    case MsgType::kPinned:
      Handle<Pinned>(body, [&](const Pinned& m) {
        if (!m.gone) return;  // its bytes come by themselves
        for (auto& [version, t] : transfers_) {
          if (t.request != m.request) continue;
          t.gone.push_back(t.source.node);
          TryNext(version);
          break;
        }
      });
      break;
    default:
      break;
  }
}

void SimRaylet::OnPull(const Address& from, const Pull& m) {
  const Version version{m.id, m.attempt};
  const auto it = transfers_.find(version);
  if (m.cancel) {
    if (it != transfers_.end()) std::erase(it->second.waiters, std::pair(from, m.priority));
    return;
  }
  if (m.moves_from != 0 && drain_.active()) {
    PullReply reply;
    reply.id = m.id;
    reply.attempt = m.attempt;
    reply.failed = true;
    return Send(from, MsgType::kPullReply, reply);
  }
  if (const Stored* s = Find(m.id, m.attempt)) {
    if (m.moves_from != 0) TellOwner(version, m.moves_from);
    PullReply reply;
    reply.id = m.id;
    reply.attempt = m.attempt;
    reply.place = {node_, 0, s->offset};
    Send(from, MsgType::kPullReply, reply);
    return;
  }
  if (it != transfers_.end()) {
    it->second.waiters.emplace_back(from, m.priority);
    if (m.moves_from != 0) it->second.moves_from = m.moves_from;
    return;
  }
  Transfer t;
  t.size = m.size;
  t.places.assign(m.places.rbegin(), m.places.rend());
  t.waiters.emplace_back(from, m.priority);
  t.moves_from = m.moves_from;
  transfers_.emplace(version, std::move(t));
  TryNext(version);
}

void SimRaylet::TryNext(const Version& version) {
  Transfer& t = transfers_.at(version);
  t.request = next_request_++;
  while (!t.places.empty()) {
    t.source = t.places.back();
    t.places.pop_back();
    if (left_files_.contains(t.source.node)) {
      const TimeNs delay = static_cast<TimeNs>(world_->rng().Below(3000)) * kMicrosecond;
      world_->After(delay, [world = world_, to = node_, version, request = t.request, node = t.source.node] {
        if (SimRaylet* r = world->RayletAt(to)) r->ReadLeft(version, request, node);
      });
      return;
    }
    if (t.source.node == node_ || gone_nodes_.count(t.source.node) != 0) {
      t.gone.push_back(t.source.node);
      continue;
    }
    Send(RayletOf(t.source.node), MsgType::kPin, PinRequest{t.request, version.id, version.attempt});
    return;
  }
  PullReply reply;
  reply.failed = true;
  reply.text = "no node holds it any more";
  reply.gone = t.gone;
  FinishPull(version, reply);
}

void SimRaylet::FinishPull(const Version& version, PullReply reply) {
  reply.id = version.id;
  reply.attempt = version.attempt;
  const auto node = transfers_.extract(version);
  for (const auto& [who, priority] : node.mapped().waiters) Send(who, MsgType::kPullReply, reply);
}

void SimRaylet::Arrived(const Version& version, uint64_t request, Blob bytes) {
  const auto it = transfers_.find(version);
  if (it == transfers_.end() || it->second.request != request) return;
  PullReply reply;
  if (it->second.freed) {
    reply.failed = true;
    reply.text = "it was freed while it was on its way";
  } else {
    reply.place = Write(version.id, version.attempt, it->second.size, std::move(bytes), Address{});
    TellOwner(version, it->second.moves_from);
  }
  FinishPull(version, reply);
}

// As PullManager does.
void SimRaylet::TellOwner(const Version& version, uint32_t moves_from) {
  Stored& s = store_.at(version);
  PrimaryMoved m;
  m.at.id = version.id;
  m.at.attempt = version.attempt;
  m.at.size = s.size;
  m.at.place = {node_, 0, s.offset};
  m.from = moves_from;
  if (moves_from == 0) return Send(version.id.owner(), MsgType::kLocationAdd, m.at);
  s.kept = true;
  Send(version.id.owner(), MsgType::kPrimaryMoved, m);
}

// ---- leaving ----------------------------------------------------------------------------------------------

void SimRaylet::EndDrained(Client* c) {
  if (SimProcess* p = world_->Live(c->address)) {
    c->drained = true;
    p->Die();
  }
}

bool SimRaylet::HasDriver() const {
  return std::any_of(clients_.begin(), clients_.end(), [&](const auto& c) {
    const SimProcess* p = world_->Live(c.second.address);
    return p != nullptr && p->driver();
  });
}

bool SimRaylet::EndIdleActors() {
  for (auto& [slot, c] : clients_) {
    const SimProcess* p = world_->Live(c.address);
    if (p != nullptr && !p->actor().owner().nil() && p->claims().empty()) EndDrained(&c);
  }
  return scheduler_.actor_leases() != 0;
}

// A program that came in through a rank of the launch goes on; a node that leaves takes it along.
bool SimRaylet::Spared(const Client& c) const {
  const SimProcess* p = world_->Any(c.address);
  return !joined_ && p != nullptr && p->driver();
}

uint32_t SimRaylet::Workers() const {
  const auto left =
      std::count_if(clients_.begin(), clients_.end(), [&](const auto& c) { return !Spared(c.second); });
  return static_cast<uint32_t>(left) + starting_;
}

uint32_t SimRaylet::EndWorkers() {
  uint32_t busy = 0;
  for (auto& [slot, c] : clients_) {
    const SimProcess* p = world_->Live(c.address);
    if (p == nullptr || Spared(c)) continue;
    busy += p->claims().empty() ? 0 : 1;
    EndDrained(&c);
  }
  return busy;
}

std::vector<ObjectAt> SimRaylet::Primaries() const {
  std::vector<ObjectAt> all;
  for (const auto& [v, s] : store_) {
    const bool primary = s.kept || (!s.creator.nil() && s.announced);
    if (primary && v.id.owner().node != node_) all.push_back({v.id, v.attempt, s.size, {node_, 0, s.offset}});
  }
  return all;
}

std::vector<uint32_t> SimRaylet::OtherNodes() const {
  std::vector<uint32_t> all;
  for (uint32_t node = 1; node <= world_->features().nodes; ++node) {
    if (node != node_ && gone_nodes_.count(node) == 0 && world_->RayletAt(node) != nullptr)
      all.push_back(node);
  }
  return all;
}

void SimRaylet::SendDrained(const Drained& m) {
  if (m.over && m.left != 0 && !world_->features().node_kills)
    world_->Fail("node " + std::to_string(node_) + " leaves and " + std::to_string(m.left) +
                 " objects stay behind, though there is room:\n" + Describe());
  Send(GcsAddress(), MsgType::kDrained, m);
}

}  // namespace rmpi::sim
