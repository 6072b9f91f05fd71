// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/pull_manager.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace rmpi {
namespace {

constexpr TimeNs kRoomPatience = 2 * kSecond;
constexpr TimeNs kMostPatience = 60 * kSecond;  // although others go on to make room

}  // namespace

PullManager::Active* PullManager::Find(const ObjectId& id, uint32_t attempt) {
  for (auto& [request, p] : pulls_) {
    if (p.id == id && p.attempt == attempt) return &p;
  }
  return nullptr;
}

void PullManager::ReplyLocal(const Address& to, const ObjectId& id, uint32_t attempt,
                             const objstore::Locator& at) {
  PullReply reply;
  reply.id = id;
  reply.attempt = attempt;
  reply.place = {node_, at.segment, at.offset};
  outbox_->Send(to, MsgType::kPullReply, reply);
}

void PullManager::OnPull(const Address& from, const Pull& m, TimeNs now) {
  Active* p = Find(m.id, m.attempt);
  if (m.cancel) {
    // A transfer under way is finished all the same: the copy may serve others.
    if (p != nullptr) std::erase(p->waiters, Waiter{from, m.priority});
    return;
  }
  if (const auto* e = store_->Find(m.id, m.attempt); e != nullptr && e->sealed && !e->freed) {
    if (m.moves_from != 0) TellOwner(m.id, m.attempt, e->locator, m.moves_from);
    ReplyLocal(from, m.id, m.attempt, e->locator);
    return;
  }
  if (p != nullptr) {
    if (p->waiters.empty() && p->places.empty()) p->places.assign(m.places.rbegin(), m.places.rend());
    p->waiters.push_back({from, m.priority});
    if (m.moves_from != 0) p->moves_from = m.moves_from;
    return;
  }
  p = Begin(m.id, m.attempt, m.size, now);
  p->places.assign(m.places.rbegin(), m.places.rend());  // the primary is tried first
  p->waiters.push_back({from, m.priority});
  p->moves_from = m.moves_from;
  Start(p, now);
}

PullManager::Active* PullManager::Begin(const ObjectId& id, uint32_t attempt, uint64_t size, TimeNs now) {
  const uint64_t request = next_request_++;
  Active& fresh = pulls_[request];
  fresh.request = request;
  fresh.id = id;
  fresh.attempt = attempt;
  fresh.size = size;
  fresh.since = now;
  retries_.Reset();
  return &fresh;
}

uint64_t PullManager::WaitingBytes() const {
  uint64_t sum = 0;
  for (const auto& [request, p] : pulls_) {
    if (p.stage == Stage::kWaitRoom) sum += objstore::FootprintBytes(p.size);
  }
  return sum;
}

void PullManager::TellOwner(const ObjectId& id, uint32_t attempt, const objstore::Locator& at,
                            uint32_t moves_from) {
  PrimaryMoved m;
  m.at.id = id;
  m.at.attempt = attempt;
  m.at.size = at.size;
  m.at.place = {node_, at.segment, at.offset};
  m.from = moves_from;
  if (moves_from == 0) return outbox_->Send(id.owner(), MsgType::kLocationAdd, m.at);
  store_->SetPrimary(id, attempt, true);  // no moment in which it could be evicted
  outbox_->Send(id.owner(), MsgType::kPrimaryMoved, m);
}

// What is to come from other nodes may take half of the store. There it waits for those to have room, for
// what they read from disk; if that waited for room that waits here, neither would go on.
bool PullManager::MayTakeRoom(const Active& p) const {
  if (incoming_bytes_ == 0 || host_->OnDisk(p.id, p.attempt)) return true;
  return incoming_bytes_ + objstore::FootprintBytes(p.size) <= store_->capacity_bytes() / 2;
}

void PullManager::Start(Active* p, TimeNs now) {
  const auto room =
      MayTakeRoom(*p) ? store_->CreateCopy(p->id, p->attempt, p->size, p->id.owner()) : std::nullopt;
  if (room) {
    p->target = *room;
    if (host_->OnDisk(p->id, p->attempt)) {
      StartRestore(p);
    } else {
      TryNext(p, now);
    }
    return;
  }
  if (now - std::max({p->since, progress_, host_->RoomProgress()}) > kRoomPatience ||
      now - p->since > kMostPatience) {
    PullReply reply;
    reply.full = true;
    reply.text = host_->StoreFullText(p->size);
    Finish(p, reply, now);
    return;
  }
  host_->WantRoom();
  deadline_ = std::min(deadline_, now + retries_.Delay());
}

void PullManager::TryNext(Active* p, TimeNs now) {
  while (!p->places.empty()) {
    p->source = p->places.back();
    p->places.pop_back();
    if (p->source.node == node_ || !host_->Reachable(p->source.node)) {
      p->gone.push_back(p->source.node);
      continue;
    }
    p->stage = Stage::kWaitPin;
    if (!std::exchange(p->incoming, true)) incoming_bytes_ += objstore::FootprintBytes(p->size);
    outbox_->Send(RayletOf(p->source.node), MsgType::kPin, PinRequest{p->request, p->id, p->attempt});
    return;
  }
  store_->AbortCopy(p->id, p->attempt);
  PullReply reply;
  reply.failed = true;
  reply.text = p->last_error.empty() ? "no node holds it any more" : p->last_error;
  reply.gone = p->gone;
  Finish(p, reply, now);
}

void PullManager::Finish(Active* p, PullReply reply, TimeNs now) {
  reply.id = p->id;
  reply.attempt = p->attempt;
  const std::vector<Waiter> waiters = std::move(p->waiters);
  const auto pins = std::move(p->pins);
  if (p->incoming) {
    incoming_bytes_ -= objstore::FootprintBytes(p->size);
    progress_ = now;
  }
  pulls_.erase(p->request);
  for (const Waiter& w : waiters) outbox_->Send(w.who, MsgType::kPullReply, reply);
  const bool here = !reply.failed && !reply.full;
  for (const auto& [from, pin] : pins) here ? OnPin(from, pin, now) : SendPinned(from, pin, nullptr);
}

// Its bytes are in place. The owner learns the place: later readers of this node then need not ask.
void PullManager::Arrived(Active* p, bool restored, TimeNs now) {
  PullReply reply;
  if (store_->SealCopy(p->id, p->attempt, restored)) {
    reply.place = {node_, p->target.segment, p->target.offset};
    TellOwner(p->id, p->attempt, p->target, p->moves_from);
    if (restored && !(p->waiters.empty() && p->pins.empty())) restored_.Arrived({p->id, p->attempt}, now);
  } else {
    reply.failed = true;
    reply.text = "it was freed while it was on its way";
  }
  Finish(p, reply, now);
}

void PullManager::OnPinned(const Pinned& m, TimeNs now) {
  const auto it = pulls_.find(m.request);
  if (it == pulls_.end() || it->second.stage != Stage::kWaitPin) return;
  Active* p = &it->second;
  if (m.gone || m.size != p->size) {
    p->last_error = "node " + std::to_string(p->source.node) + " no longer holds it";
    p->gone.push_back(p->source.node);
    TryNext(p, now);
    return;
  }
  p->stage = Stage::kMoving;
  host_->Fetch(p->request, p->source.node, p->id, p->attempt, m.offset, p->target.offset, p->size);
}

void PullManager::OnFetched(uint64_t request, bool ok, const std::string& why, TimeNs now) {
  const auto it = pulls_.find(request);
  if (it == pulls_.end() || it->second.stage != Stage::kMoving) return;
  Active* p = &it->second;
  outbox_->Send(RayletOf(p->source.node), MsgType::kUnpin, PinRequest{p->request, p->id, p->attempt});
  if (!ok) {
    p->last_error = "transfer from node " + std::to_string(p->source.node) + " failed: " + why;
    TryNext(p, now);
    return;
  }
  moved_bytes_ += p->size;
  Arrived(p, false, now);
}

void PullManager::OnPin(const Address& from, const PinRequest& m, TimeNs now) {
  const auto* e = store_->Hold(m.id, m.attempt);
  if (e == nullptr && host_->OnDisk(m.id, m.attempt)) {
    Active* p = Find(m.id, m.attempt);
    const bool fresh = p == nullptr;
    if (fresh) p = Begin(m.id, m.attempt, host_->DiskSize(m.id, m.attempt), now);
    p->pins.emplace_back(from, m);
    if (fresh) Start(p, now);
    return;
  }
  if (e != nullptr) {
    held_[{from.node, m.request}] = e;
    host_->Serving(*e, true);
  }
  SendPinned(from, m, e);
}

// e: null if it is not here.
void PullManager::SendPinned(const Address& to, const PinRequest& m, const objstore::Store::Entry* e) {
  Pinned reply;
  reply.request = m.request;
  reply.gone = e == nullptr;
  if (e != nullptr) {
    reply.offset = e->locator.offset;
    reply.size = e->locator.size;
  }
  outbox_->Send(to, MsgType::kPinned, reply);
}

void PullManager::OnUnpin(const Address& from, const PinRequest& m) {
  const auto it = held_.find({from.node, m.request});
  if (it == held_.end()) return;
  LetGo(it->second);
  held_.erase(it);
}

void PullManager::LetGo(const objstore::Store::Entry* entry) {
  host_->Serving(*entry, false);
  store_->Release(entry);
}

void PullManager::OnClientGone(const Address& who) {
  for (auto& [request, p] : pulls_) std::erase_if(p.waiters, [&](const Waiter& w) { return w.who == who; });
}

void PullManager::OnNodeDead(uint32_t node, TimeNs now) {
  for (auto it = held_.begin(); it != held_.end();) {
    if (it->first.node == node) {
      LetGo(it->second);
      it = held_.erase(it);
    } else {
      ++it;
    }
  }
  std::vector<uint64_t> stuck;
  for (auto& [request, p] : pulls_) {
    std::erase_if(p.pins, [&](const auto& pin) { return pin.first.node == node; });
    // One that is moving gets its failure from the transfer itself.
    if (p.stage == Stage::kWaitPin && p.source.node == node) stuck.push_back(request);
  }
  for (uint64_t request : stuck) TryNext(&pulls_.at(request), now);
}

void PullManager::OnRoom() {
  if (deadline_ == kNever) return;  // nobody waits
  retries_.Reset();
  deadline_ = 0;
}

void PullManager::OnTimer(TimeNs now) {
  restored_.OnTimer(now);
  if (now < deadline_) return;
  deadline_ = kNever;
  retries_.Next();
  std::vector<uint64_t> waiting;
  for (const auto& [request, p] : pulls_) {
    if (p.stage == Stage::kWaitRoom) waiting.push_back(request);
  }
  std::sort(waiting.begin(), waiting.end());
  for (uint64_t request : waiting) {
    const auto it = pulls_.find(request);
    if (it != pulls_.end()) Start(&it->second, now);
  }
}

}  // namespace rmpi
