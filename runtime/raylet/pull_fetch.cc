// SPDX-License-Identifier: Apache-2.0
// PullManager: asking for an object. The places that the owner named are asked in turn. Each of them, a
// holder, may send us to a node that is receiving it (broadcast_trees.h); if that has nothing for us we ask
// the holder again, and what has come already is not asked for twice.
#include <algorithm>
#include <utility>

#include "runtime/raylet/pull_manager.h"

namespace rmpi {
namespace {

// A receiver that we were sent to is given up if nothing comes from it for so long.
constexpr TimeNs kStall = 10 * kSecond;
constexpr TimeNs kLookForStalls = kSecond;
// After so many of them the holder itself must send.
constexpr uint32_t kMostMisses = 4;

}  // namespace

void PullManager::TryNext(Active* p, TimeNs now) {
  const objstore::Version version{p->id, p->attempt};
  LeaveHolder(p, /*whole=*/false);
  if (!p->children.empty()) {
    // They are in the tree of the holder that we leave.
    p->stage = Stage::kClearing;
    host_->Coming(version, p->target, /*open=*/false);
    return;
  }
  while (!p->places.empty()) {
    const uint32_t node = p->places.back().node;
    p->places.pop_back();
    if (host_->LeftFiles(node)) return StartRestoreLeft(p, node);
    if (node == node_ || !host_->Reachable(node)) {
      p->gone.push_back(node);
      continue;
    }
    if (!std::exchange(p->incoming, true)) incoming_bytes_ += objstore::FootprintBytes(p->size);
    p->holder = node;
    p->misses = 0;
    host_->Coming(version, p->target, /*open=*/true);
    return Ask(p, node, 0, now);
  }
  host_->Came(version);
  store_->AbortCopy(p->id, p->attempt);
  PullReply reply;
  reply.failed = true;
  reply.text = p->last_error.empty() ? "no node holds it any more" : p->last_error;
  reply.gone = p->gone;
  Finish(p, reply, now);
}

// `avoid`: where the holder had sent us.
void PullManager::Ask(Active* p, uint32_t node, uint32_t avoid, TimeNs now) {
  p->stage = Stage::kWaitPin;
  p->source = node;
  p->moved_at = now;
  PinRequest m{p->request, p->id, p->attempt};
  m.turn = ++p->turn;
  m.holder = node == p->holder ? 0 : p->holder;
  m.avoid = avoid;
  m.direct = p->misses >= kMostMisses;
  outbox_->Send(RayletOf(node), MsgType::kPin, m);
  if (m.holder != 0) look_at_ = std::min(look_at_, now + kLookForStalls);
}

// Who the holder named has nothing for us.
void PullManager::AskAgain(Active* p, TimeNs now) {
  const uint32_t named = p->source;
  Unpin(*p, named, /*whole=*/false);
  ++p->misses;
  if (host_->Reachable(p->holder)) return Ask(p, p->holder, named, now);
  TryNext(p, now);
}

void PullManager::Unpin(const Active& p, uint32_t node, bool whole) {
  PinRequest m{p.request, p.id, p.attempt};
  m.holder = node == p.holder ? 0 : p.holder;
  m.whole = whole;
  outbox_->Send(RayletOf(node), MsgType::kUnpin, m);
}

void PullManager::LeaveHolder(Active* p, bool whole) {
  if (p->holder == 0) return;
  if (p->source != p->holder) Unpin(*p, p->source, whole);
  Unpin(*p, p->holder, whole);
  p->holder = p->source = 0;
}

void PullManager::OnPinned(const Address& from, const Pinned& m, TimeNs now) {
  const auto it = pulls_.find(m.request);
  if (it == pulls_.end() || it->second.stage != Stage::kWaitPin) return;
  Active* p = &it->second;
  if (from.node != p->source || m.turn != p->turn) return;  // of a turn that was given up
  const bool named = p->source != p->holder;
  if (m.gone || m.size != p->size) {
    if (named) return AskAgain(p, now);
    p->last_error = "node " + std::to_string(p->holder) + " no longer holds it";
    p->gone.push_back(p->holder);
    return TryNext(p, now);
  }
  if (m.ask != 0 && !named) {
    if (m.ask != node_ && host_->Reachable(m.ask)) return Ask(p, m.ask, 0, now);
    ++p->misses;
    return Ask(p, p->holder, m.ask, now);
  }
  p->stage = Stage::kMoving;
  p->moved = host_->ArrivedBytes({p->id, p->attempt});
  p->moved_at = now;
  if (named) look_at_ = std::min(look_at_, now + kLookForStalls);
  host_->Fetch(p->request, p->source, p->id, p->attempt, m.offset + p->moved, p->target.offset + p->moved,
               p->size - p->moved, m.coming);
}

void PullManager::OnFetched(uint64_t request, bool ok, const std::string& why, TimeNs now) {
  const auto it = pulls_.find(request);
  if (it == pulls_.end() || it->second.stage != Stage::kMoving) return;
  Active* p = &it->second;
  if (!ok) {
    if (p->source != p->holder) return AskAgain(p, now);
    p->last_error = "transfer from node " + std::to_string(p->source) + " failed: " + why;
    return TryNext(p, now);
  }
  LeaveHolder(p, /*whole=*/true);
  moved_bytes_ += p->size;
  Arrived(p, false, now);
}

// One that is moving gets its failure from the transfer itself.
void PullManager::LoseSource(uint32_t node, TimeNs now) {
  std::vector<uint64_t> stuck;
  for (const auto& [request, p] : pulls_) {
    if (p.stage == Stage::kWaitPin && p.source == node) stuck.push_back(request);
  }
  for (uint64_t request : stuck) {
    Active* p = &pulls_.at(request);
    p->source != p->holder ? AskAgain(p, now) : TryNext(p, now);
  }
}

// A receiver that we were sent to may be stopped, or wait for one that is, and nobody might say so.
void PullManager::FindStalled(TimeNs now) {
  if (now < look_at_) return;
  look_at_ = kNever;
  std::vector<uint64_t> stalled;
  for (auto& [request, p] : pulls_) {
    const bool asked = p.stage == Stage::kWaitPin || p.stage == Stage::kMoving;
    if (!asked || p.source == p.holder) continue;
    look_at_ = std::min(look_at_, now + kLookForStalls);
    const uint64_t moved = host_->ArrivedBytes({p.id, p.attempt});
    if (std::exchange(p.moved, moved) != moved) p.moved_at = now;
    if (now - p.moved_at < kStall) continue;
    p.moved_at = now;
    stalled.push_back(request);
  }
  for (uint64_t request : stalled) {
    Active* p = &pulls_.at(request);
    // The bytes of a fetch may be written until its end is reported.
    p->stage == Stage::kMoving ? host_->CancelFetch(request) : AskAgain(p, now);
  }
}

uint32_t PullManager::ParentOf(const ObjectId& id, uint32_t attempt) const {
  const auto it = versions_.find({id, attempt});
  return it == versions_.end() ? 0 : pulls_.at(it->second).source;
}

}  // namespace rmpi
