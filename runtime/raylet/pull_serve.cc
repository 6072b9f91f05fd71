// SPDX-License-Identifier: Apache-2.0
// PullManager: what others fetch from this node. A whole object is held until they are done. One that is
// still coming is passed on as far as it has come, to those that its holder sent here; they are its children.
// Its memory is not given up while it has children, since something may still be on its way to them.
#include <algorithm>

#include "runtime/raylet/pull_manager.h"

namespace rmpi {

void PullManager::OnPin(const Address& from, const PinRequest& m, TimeNs now) {
  if (m.holder != 0) return PinAtReceiver(from, m);
  const auto* e = store_->Hold(m.id, m.attempt);
  if (e == nullptr && host_->OnDisk(m.id, m.attempt)) {
    Active* p = Find(m.id, m.attempt);
    const bool fresh = p == nullptr;
    if (fresh) p = Begin(m.id, m.attempt, host_->DiskSize(m.id, m.attempt), now);
    p->pins.emplace_back(from, m);
    if (fresh) Start(p, now);
    return;
  }
  if (e == nullptr) return SendPinned(from, m, e);
  HoldFor(e, from.node, m.request);
  // Several objects of one node are several trees.
  SendPinned(from, m, e, trees_.Join({m.id, m.attempt}, e->locator.size, from.node, m.avoid, m.direct));
}

// Takes over the caller's hold; one per node and request is enough.
void PullManager::HoldFor(const objstore::Store::Entry* e, uint32_t node, uint64_t request) {
  if (!held_.try_emplace({node, request}, e).second) return store_->Release(e);
  host_->Serving(*e, true);
}

void PullManager::PinAtReceiver(const Address& from, const PinRequest& m) {
  if (const auto* e = store_->Hold(m.id, m.attempt)) {
    HoldFor(e, from.node, m.request);
    return SendPinned(from, m, e);
  }
  Active* p = Find(m.id, m.attempt);
  const bool coming =
      p != nullptr && p->holder == m.holder && (p->stage == Stage::kWaitPin || p->stage == Stage::kMoving);
  if (!coming) return SendPinned(from, m, nullptr);
  p->children.push_back({from.node, m.request});
  Pinned reply;
  reply.request = m.request;
  reply.turn = m.turn;
  reply.coming = true;
  reply.offset = p->target.offset;
  reply.size = p->size;
  outbox_->Send(from, MsgType::kPinned, reply);
}

// e: null if it is not here. `ask`: who is to be asked for it.
void PullManager::SendPinned(const Address& to, const PinRequest& m, const objstore::Store::Entry* e,
                             uint32_t ask) {
  Pinned reply;
  reply.request = m.request;
  reply.turn = m.turn;
  reply.gone = e == nullptr;
  reply.ask = ask;
  if (e != nullptr) {
    reply.offset = e->locator.offset;
    reply.size = e->locator.size;
  }
  outbox_->Send(to, MsgType::kPinned, reply);
}

void PullManager::OnUnpin(const Address& from, const PinRequest& m, TimeNs now) {
  if (m.holder == 0) trees_.Leave({m.id, m.attempt}, from.node, m.whole);
  if (const auto it = held_.find({from.node, m.request}); it != held_.end()) {
    LetGo(it->second);
    held_.erase(it);
  } else if (Active* p = Find(m.id, m.attempt)) {
    RemoveChildren(
        p, [child = Child{from.node, m.request}](const Child& c) { return c == child; }, now);
  }
}

void PullManager::RemoveChildren(Active* p, const std::function<bool(const Child&)>& gone, TimeNs now) {
  std::erase_if(p->children, gone);
  if (p->stage == Stage::kClearing && p->children.empty()) TryNext(p, now);
}

void PullManager::LetGo(const objstore::Store::Entry* entry) {
  host_->Serving(*entry, false);
  store_->Release(entry);
}

// It is whole now.
void PullManager::ServeChildren(Active* p) {
  for (const Child& c : p->children) HoldFor(store_->Hold(p->id, p->attempt), c.node, c.request);
  p->children.clear();
}

// It came, and nobody here wants it. Its memory must outlive what is on its way to the children.
void PullManager::DropFreed(Active* p, TimeNs now) {
  p->last_error = kFreedOnItsWay;
  p->places.clear();
  TryNext(p, now);
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
  trees_.NodeDead(node);
  TryFilesOf(node);
  std::vector<uint64_t> passing_on;
  for (auto& [request, p] : pulls_) {
    std::erase_if(p.pins, [&](const auto& pin) { return pin.first.node == node; });
    if (!p.children.empty()) passing_on.push_back(request);
  }
  for (uint64_t request : passing_on)
    RemoveChildren(
        &pulls_.at(request), [node](const Child& c) { return c.node == node; }, now);
  LoseSource(node, now);
}

}  // namespace rmpi
