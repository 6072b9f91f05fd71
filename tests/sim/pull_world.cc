// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/pull_world.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rmpi::sim {
namespace {

const Address kOwner{0xFFFFFF, 1, 0, 1};  // of all objects
constexpr uint16_t kFirstReader = 10;
constexpr TimeNs kRetry = 5 * kMillisecond;
constexpr TimeNs kMostUnnoticed = 2 * kSecond;  // a death

std::byte Pattern(const ObjectId& id, uint64_t i) {
  return static_cast<std::byte>(Mix(id.task.sequence * 1000003 + i / 64) >> (i % 8));
}

}  // namespace

struct PullWorld::Run_ {  // a fetch under way
  uint32_t source;
  objstore::Version version;
  uint64_t from, to, bytes;
  uint64_t turn;  // tells it from an earlier one of the same number
  uint64_t asked = 0, in_flight = 0, prefix = 0;
  std::map<uint64_t, uint64_t> early;
  bool cancelled = false;
};

struct PullWorld::Node : Outbox, PullManager::Host {
  Node(PullWorld* world, uint32_t number)
      : world(world),
        number(number),
        arena(objstore::MakeArena(world->setup_.store_bytes)),
        pins(objstore::MakePinTable(8)),
        store(arena.get(), pins.get(), number),
        pulls(number, &store, this, this, kChunkBytes) {}

  void Post(const Address& to, MsgType type, Bytes body) override { world->Post(number, to, type, body); }
  void Fetch(uint64_t request, uint32_t source, const ObjectId& id, uint32_t attempt, uint64_t from,
             uint64_t to, uint64_t bytes, bool) override {
    if (fetches.count(request) != 0) world->Fail("a fetch began before the one before it had ended");
    fetches[request] = Run_{source, {id, attempt}, from, to, bytes, ++turns, 0, 0, 0, {}, false};
    world->OnNode(number, world->now_, [w = world, request](Node& n) { w->AskChunks(n.number, request); });
  }
  void CancelFetch(uint64_t request) override {
    world->OnNode(number, world->now_, [w = world, request](Node& n) { w->EndFetch(n, request, false); });
  }
  void Coming(const objstore::Version& v, const objstore::Locator& at, bool open) override {
    served.Coming(v, at, open);
    if (!open) world->Recheck(*this);
  }
  void Came(const objstore::Version& v) override {
    served.Came(v);
    world->Recheck(*this);
  }
  uint64_t ArrivedBytes(const objstore::Version& v) const override { return served.Arrived(v); }
  bool Reachable(uint32_t node) const override { return known_dead.count(node) == 0; }
  void Serving(const objstore::Store::Entry& e, bool on) override { served.Set(e, on); }
  void WantRoom() override {}
  bool OnDisk(const ObjectId&, uint32_t) const override { return false; }
  uint64_t DiskSize(const ObjectId&, uint32_t) const override { return 0; }
  std::vector<objstore::spill::SpillManager::Ahead> ReadAhead(const objstore::Version&) override {
    return {};
  }
  void Restore(const std::vector<objstore::spill::RestoreItem>&) override {}
  bool LeftFiles(uint32_t) const override { return false; }
  void RestoreLeft(uint32_t, const objstore::spill::RestoreItem&, uint64_t) override {}
  TimeNs RoomProgress() const override { return 0; }
  std::string StoreFullText(uint64_t) const override { return "full"; }

  struct Parked {
    uint32_t to;
    uint64_t request, turn, offset, bytes;
  };
  PullWorld* world;
  uint32_t number;
  std::unique_ptr<objstore::Arena> arena;
  std::unique_ptr<objstore::PinTable> pins;
  objstore::Store store;
  ServedObjects served;
  PullManager pulls;
  std::map<uint64_t, Run_> fetches;
  std::vector<Parked> parked;
  std::set<uint32_t> known_dead;
  std::map<uint32_t, uint32_t> serving;  // chunks on their way to whom
  uint32_t most_served = 0;
  uint64_t turns = 0, sent_bytes = 0;
  bool alive = true;
  TimeNs stopped_until = 0, up_free = 0, down_free = 0, timer = kNever;
};

PullWorld::PullWorld(const Setup& setup) : setup_(setup), rng_(setup.seed) {
  nodes_.emplace_back();
  for (uint32_t n = 1; n <= setup.nodes; ++n) nodes_.push_back(std::make_unique<Node>(this, n));
}
PullWorld::~PullWorld() = default;

uint64_t PullWorld::sent_bytes(uint32_t node) const { return nodes_[node]->sent_bytes; }
uint32_t PullWorld::most_served(uint32_t node) const { return nodes_[node]->most_served; }

void PullWorld::At(TimeNs at, std::function<void()> fn) { events_.push({at, next_order_++, std::move(fn)}); }

void PullWorld::OnNode(uint32_t number, TimeNs at, std::function<void(Node&)> fn) {
  At(at, [this, number, fn = std::move(fn)]() mutable {
    Node& node = *nodes_[number];
    if (!node.alive) return;
    if (node.stopped_until > now_) return OnNode(number, node.stopped_until, std::move(fn));
    fn(node);
    Settle(node);
  });
}

// Its timer, and no cycle of those who wait for one another.
void PullWorld::Settle(Node& node) {
  const TimeNs deadline = node.pulls.NextDeadline();
  if (deadline != kNever && (node.timer == kNever || deadline < node.timer)) {
    node.timer = deadline;
    OnNode(node.number, std::max(deadline, now_), [this](Node& n) {
      n.timer = kNever;
      n.pulls.OnTimer(now_);
    });
  }
  if (nodes_.size() > 64) return;
  for (const auto& [id, object] : objects_) {
    uint32_t at = node.number;
    for (size_t steps = 0; at != 0 && nodes_[at]->alive; at = nodes_[at]->pulls.ParentOf(id, 0)) {
      if (++steps > nodes_.size()) return Fail("nodes wait for each other in a circle");
    }
  }
}

ObjectId PullWorld::Make(uint32_t node, uint64_t bytes) {
  ObjectId id;
  id.task.job.value = 1;
  id.task.owner = kOwner;
  id.task.sequence = TaskId::Sequence(TaskKind::kPut, next_object_++);
  Node& n = *nodes_[node];
  const auto at = n.store.CreateCopy(id, 0, bytes, kOwner);
  if (!at) {
    Fail("no room to begin with");
    return id;
  }
  for (uint64_t i = 0; i < bytes; ++i) n.arena->data(at->offset)[i] = Pattern(id, i);
  n.store.SealCopy(id, 0);
  n.store.SetPrimary(id, 0, true);
  objects_[id] = {bytes, {node}, false};
  return id;
}

bool PullWorld::Bad(const ObjectId& id, const std::byte* data) const {
  const uint64_t size = objects_.at(id).size;
  for (uint64_t i = 0; i < size; ++i) {
    if (data[i] != Pattern(id, i)) return true;
  }
  return false;
}

void PullWorld::Want(uint32_t node, const std::vector<ObjectId>& ids, PullPriority priority, TimeNs at) {
  const size_t index = readers_.size();
  readers_.push_back({node, static_cast<uint16_t>(kFirstReader + index), priority, ids, {}, false});
  ++waiting_;
  OnNode(node, now_ + at, [this, index](Node&) {
    Reader& r = readers_[index];
    r.missing.insert(r.ids.begin(), r.ids.end());
    for (const ObjectId& id : r.ids) Wish(r, id);
  });
}

void PullWorld::Wish(const Reader& reader, const ObjectId& id) {
  const Object& object = objects_.at(id);
  Pull m;
  m.id = id;
  m.size = object.size;
  m.priority = reader.priority;
  for (uint32_t place : object.places) m.places.push_back({place, 0, 0});
  nodes_[reader.node]->pulls.OnPull({reader.node, reader.slot, 0, 1}, m, now_);
}

void PullWorld::Reply(const Address& to, const PullReply& m) {
  Reader& r = readers_.at(to.slot - kFirstReader);
  if (r.done) return;
  Node& node = *nodes_[r.node];
  Object& object = objects_.at(m.id);
  if (m.failed || m.full) {
    if (m.full) return Fail("node " + std::to_string(r.node) + " is told that its store is full");
    for (uint32_t gone : m.gone) std::erase(object.places, gone);
    const bool lost = object.places.empty() || object.freed;
    if (!lost) {
      const size_t index = static_cast<size_t>(to.slot - kFirstReader);
      return OnNode(r.node, now_ + kRetry, [this, index, id = m.id](Node&) { Wish(readers_[index], id); });
    }
    ++lost_;
    r.done = true;
    --waiting_;
    return;
  }
  if (Bad(m.id, node.arena->data(m.place.offset)))
    return Fail("wrong bytes on node " + std::to_string(r.node));
  r.missing.erase(m.id);
  if (!r.missing.empty()) return;
  r.done = true;
  --waiting_;
  met_.push_back({r.node, r.priority, now_});
}

void PullWorld::Post(uint32_t from, const Address& to, MsgType type, Bytes body) {
  const Blob copy = Blob::Copy(body);
  if (to == kOwner) return At(now_ + Latency(), [this, type, copy] { OwnerGets(type, copy); });
  TimeNs& last = fifo_[{from, to.node}];
  last = std::max(last + 1, now_ + (from == to.node ? kMicrosecond : Latency()));
  OnNode(to.node, last, [this, from, to, type, copy](Node& n) {
    if (n.known_dead.count(from) == 0) Deliver(n, RayletOf(from), to, type, copy);
  });
}

void PullWorld::Deliver(Node& node, const Address& from, const Address& to, MsgType type, const Blob& body) {
  rmpi::Reader in(body.bytes());
  const auto handle = [&]<class M>(M m, auto&& fn) {
    in(m);
    fn(m);
  };
  switch (type) {
    case MsgType::kPin:
      return handle(PinRequest{}, [&](const PinRequest& m) { node.pulls.OnPin(from, m, now_); });
    case MsgType::kPinned:
      return handle(Pinned{}, [&](const Pinned& m) { node.pulls.OnPinned(from, m, now_); });
    case MsgType::kUnpin:
      return handle(PinRequest{}, [&](const PinRequest& m) { node.pulls.OnUnpin(from, m, now_); });
    case MsgType::kPullReply:
      return handle(PullReply{}, [&](const PullReply& m) { Reply(to, m); });
    default:
      return Fail("an unexpected message");
  }
}

void PullWorld::OwnerGets(MsgType type, const Blob& body) {
  if (type != MsgType::kLocationAdd) return;
  ObjectAt m;
  rmpi::Reader in(body.bytes());
  in(m);
  Object& object = objects_.at(m.id);
  if (!nodes_[m.place.node]->alive) return;
  if (std::find(object.places.begin(), object.places.end(), m.place.node) == object.places.end())
    object.places.push_back(m.place.node);
  if (object.freed) OnNode(m.place.node, now_ + Latency(), [id = m.id](Node& n) { n.store.Free(id, 0); });
}

void PullWorld::Free(const ObjectId& id, TimeNs at) {
  At(now_ + at, [this, id] {
    Object& object = objects_.at(id);
    object.freed = true;
    // Those who still wait have dropped their references as well, or never get it.
    for (uint32_t n = 1; n < nodes_.size(); ++n)
      OnNode(n, now_ + Latency(), [id](Node& node) { node.store.Free(id, 0); });
  });
}

void PullWorld::Pause(uint32_t node, TimeNs at, TimeNs length) {
  OnNode(node, now_ + at, [this, length](Node& n) { n.stopped_until = now_ + length; });
}

void PullWorld::KillNode(uint32_t victim, TimeNs at) {
  At(now_ + at, [this, victim] {
    Node& dead = *nodes_[victim];
    if (!dead.alive) return;
    dead.alive = false;
    for (Reader& r : readers_) {
      if (r.node == victim && !std::exchange(r.done, true)) --waiting_;
    }
    for (uint32_t n = 1; n < nodes_.size(); ++n) {
      const TimeNs noticed = now_ + static_cast<TimeNs>(rng_.Below(kMostUnnoticed));
      // The connection may break before, or not.
      if (rng_.Percent(50)) {
        OnNode(n, now_ + static_cast<TimeNs>(rng_.Below(kMostUnnoticed)), [this, victim](Node& node) {
          std::vector<uint64_t> broken;
          for (const auto& [request, f] : node.fetches) {
            if (f.source == victim) broken.push_back(request);
          }
          for (uint64_t request : broken) EndFetch(node, request, false);
        });
      }
      OnNode(n, noticed, [this, victim](Node& node) {
        node.known_dead.insert(victim);
        node.pulls.OnNodeDead(victim, now_);
        std::vector<uint64_t> broken;
        for (const auto& [request, f] : node.fetches) {
          if (f.source == victim) broken.push_back(request);
        }
        for (uint64_t request : broken) EndFetch(node, request, false);
      });
    }
    At(now_ + kMostUnnoticed, [this, victim] {
      for (auto& [id, object] : objects_) std::erase(object.places, victim);
    });
  });
}

// ---- transfers --------------------------------------------------------------------------------------------

void PullWorld::AskChunks(uint32_t number, uint64_t request) {
  Node& node = *nodes_[number];
  const auto it = node.fetches.find(request);
  if (it == node.fetches.end()) return;
  Run_& f = it->second;
  while (f.in_flight < kChunksInFlight && (f.asked < f.bytes || (f.bytes == 0 && f.in_flight == 0))) {
    const uint64_t bytes = std::min(kChunkBytes, f.bytes - f.asked);
    OnNode(f.source, now_ + Latency(),
           [this, number, request, turn = f.turn, offset = f.asked, bytes](Node& source) {
             ServeChunk(source.number, number, request, turn, offset, bytes);
           });
    f.asked += bytes;
    ++f.in_flight;
  }
}

void PullWorld::ServeChunk(uint32_t source, uint32_t to, uint64_t request, uint64_t turn, uint64_t offset,
                           uint64_t bytes) {
  Node& from = *nodes_[source];
  const auto it = nodes_[to]->fetches.find(request);  // what the request said; the model reads it there
  if (it == nodes_[to]->fetches.end() || it->second.turn != turn) return;
  const Run_ f = it->second;
  const auto held = from.served.Look(f.version.id, f.version.attempt, 0, f.from + offset, bytes);
  if (held == Transfer::Held::kComing) {
    from.parked.push_back({to, request, turn, offset, bytes});
    return;
  }
  if (held == Transfer::Held::kGone) {
    return OnNode(to, now_ + Latency(), [this, request, turn](Node& n) {
      const auto open = n.fetches.find(request);
      if (open != n.fetches.end() && open->second.turn == turn) EndFetch(n, request, false);
    });
  }
  Node& receiver = *nodes_[to];
  const TimeNs start = std::max({now_, from.up_free, receiver.down_free});
  const TimeNs end = start + static_cast<TimeNs>(kChunkTime * bytes / kChunkBytes);
  from.up_free = receiver.down_free = end;
  ++from.serving[to];
  from.most_served = std::max(from.most_served, static_cast<uint32_t>(from.serving.size()));
  At(end, [this, source, to] {
    Node& s = *nodes_[source];
    if (--s.serving[to] == 0) s.serving.erase(to);
  });
  OnNode(to, end + Latency(), [this, source, request, turn, offset, bytes, f](Node& n) {
    const auto open = n.fetches.find(request);
    if (open == n.fetches.end() || open->second.turn != turn || !nodes_[source]->alive) return;
    Run_& fetch = open->second;
    std::memcpy(n.arena->data(f.to + offset), nodes_[source]->arena->data(f.from + offset), bytes);
    nodes_[source]->sent_bytes += bytes;
    --fetch.in_flight;
    fetch.early[offset] = bytes;
    for (auto e = fetch.early.begin(); e != fetch.early.end() && e->first == fetch.prefix;) {
      fetch.prefix += e->second;
      e = fetch.early.erase(e);
    }
    n.served.NoteArrived(f.version.id, f.version.attempt, 0, f.to + fetch.prefix);
    Recheck(n);
    if (fetch.prefix == fetch.bytes) return EndFetch(n, request, true);
    AskChunks(n.number, request);
  });
}

void PullWorld::Recheck(Node& node) {
  for (const Node::Parked& p : std::exchange(node.parked, {})) {
    OnNode(node.number, now_,
           [this, p](Node& n) { ServeChunk(n.number, p.to, p.request, p.turn, p.offset, p.bytes); });
  }
}

void PullWorld::EndFetch(Node& node, uint64_t request, bool ok) {
  if (node.fetches.erase(request) != 0) node.pulls.OnFetched(request, ok, "broken", now_);
}

// ---- the run ----------------------------------------------------------------------------------------------

void PullWorld::Fail(const std::string& text) {
  if (problem_.empty()) problem_ = text + ", at " + std::to_string(now_ / kMillisecond) + " ms";
}

bool PullWorld::Run(TimeNs limit) {
  const TimeNs end = now_ + limit;
  while (!events_.empty() && problem_.empty()) {
    if (events_.top().at > end) break;
    const Event e = events_.top();
    events_.pop();
    now_ = std::max(now_, e.at);
    e.fn();
  }
  if (problem_.empty() && waiting_ != 0) Fail(std::to_string(waiting_) + " wait for ever");
  for (uint32_t n = 1; n < nodes_.size() && problem_.empty(); ++n) {
    Node& node = *nodes_[n];
    if (!node.alive) continue;
    const std::string where = " on node " + std::to_string(n);
    if (node.pulls.active() != 0) Fail("a pull is left" + where);
    if (node.pulls.holding() != 0) Fail("something is held for others" + where);
    if (node.pulls.trees() != 0) Fail("a tree is left" + where);
    if (!node.fetches.empty()) Fail("a fetch is left" + where);
    if (!node.parked.empty()) Fail("a request for a chunk is left" + where);
    if (node.store.GetStats().creating != 0) Fail("an unfinished copy is left" + where);
    for (const auto& [id, object] : objects_) {
      if (node.served.Look(id, 0, 0, 0, 0) != Transfer::Held::kGone && object.size != 0)
        Fail("served for nobody" + where);
    }
  }
  return problem_.empty();
}

}  // namespace rmpi::sim
