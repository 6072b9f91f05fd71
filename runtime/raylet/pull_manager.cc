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
  const auto it = versions_.find({id, attempt});
  return it == versions_.end() ? nullptr : &pulls_.at(it->second);
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
  versions_[{id, attempt}] = request;
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

void PullManager::Finish(Active* p, PullReply reply, TimeNs now) {
  reply.id = p->id;
  reply.attempt = p->attempt;
  const std::vector<Waiter> waiters = std::move(p->waiters);
  const auto pins = std::move(p->pins);
  if (p->incoming) {
    incoming_bytes_ -= objstore::FootprintBytes(p->size);
    progress_ = now;
  }
  versions_.erase({p->id, p->attempt});
  pulls_.erase(p->request);
  for (const Waiter& w : waiters) outbox_->Send(w.who, MsgType::kPullReply, reply);
  const bool here = !reply.failed && !reply.full;
  for (const auto& [from, pin] : pins) here ? OnPin(from, pin, now) : SendPinned(from, pin, nullptr);
}

// Its bytes are in place. The owner learns the place: later readers of this node then need not ask.
void PullManager::Arrived(Active* p, bool restored, TimeNs now) {
  if (!p->children.empty() && store_->FreedOnItsWay(p->id, p->attempt)) return DropFreed(p, now);
  PullReply reply;
  if (store_->SealCopy(p->id, p->attempt, restored)) {
    ServeChildren(p);
    reply.place = {node_, p->target.segment, p->target.offset};
    TellOwner(p->id, p->attempt, p->target, p->moves_from);
    if (restored && !(p->waiters.empty() && p->pins.empty())) restored_.Arrived({p->id, p->attempt}, now);
  } else {
    reply.failed = true;
    reply.text = kFreedOnItsWay;
  }
  host_->Came({p->id, p->attempt});
  Finish(p, reply, now);
}

void PullManager::OnClientGone(const Address& who) {
  for (auto& [request, p] : pulls_) std::erase_if(p.waiters, [&](const Waiter& w) { return w.who == who; });
}

void PullManager::OnRoom() {
  if (deadline_ == kNever) return;  // nobody waits
  retries_.Reset();
  deadline_ = 0;
}

void PullManager::OnTimer(TimeNs now) {
  restored_.OnTimer(now);
  FindStalled(now);
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
