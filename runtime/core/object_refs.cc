// SPDX-License-Identifier: Apache-2.0
// ObjectTable: who uses whose objects: registrations, and the deaths of either side (PROTOCOL R1 to R4).
#include <algorithm>

#include "runtime/core/eofs.h"
#include "runtime/core/object_table.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {
namespace {

template <class T>
void EraseOne(std::vector<T>& v, const T& x) {
  const auto it = std::find(v.begin(), v.end(), x);
  if (it != v.end()) {
    *it = v.back();
    v.pop_back();
  }
}

}  // namespace

void ObjectTable::Register(Entry* e) {
  Details& d = e->more();
  d.registration = Registration::kSent;
  d.nonce = next_nonce_++;
  pending_registrations_.emplace(d.nonce, e->id);
  pending_nonces_.insert(d.nonce);
  RefMessage m;
  m.id = e->id;
  m.nonce = d.nonce;
  outbox_->Send(e->id.owner(), MsgType::kRegister, m);
}

void ObjectTable::OnRegister(const Address& from, const RefMessage& m) {
  RefMessage reply = m;
  Entry* e = Find(m.id);
  reply.gone = e == nullptr || !e->owned;
  if (!reply.gone) Lend(e, from);
  outbox_->Send(from, MsgType::kRegisterReply, reply);
}

void ObjectTable::Lend(Entry* e, const Address& to) {
  auto& borrowers = e->more().borrowers;
  if (std::find(borrowers.begin(), borrowers.end(), to) != borrowers.end()) return;
  borrowers.push_back(to);
  EraseOne(e->details->lineage_borrowers, to);
  by_borrower_[to].insert(e);
}

void ObjectTable::OnRegisterReply(const RefMessage& m) {
  pending_registrations_.erase(m.nonce);
  pending_nonces_.erase(m.nonce);
  Entry* e = Find(m.id);
  if (e != nullptr && !e->owned && e->details && e->details->nonce == m.nonce) {
    Details& d = *e->details;
    d.registration = m.gone ? Registration::kGone : Registration::kAcknowledged;
    std::vector<Entry*> protectors = std::move(d.protectors);
    d.protectors.clear();
    if (m.gone && e->pending()) {
      SetError(e, ErrorType::kObjectLost,
               "object " + Hex(e->id) + " was freed by its owner before this process could register a use");
    }
    for (Entry* p : protectors) DropHold(p);
    if (Entry* again = Find(m.id)) MaybeRelease(again);  // it may have waited for this to be parked
  }
  listener_->OnRegistrationsChanged();
}

void ObjectTable::OnUnregister(const Address& from, const RefMessage& m) {
  Entry* e = Find(m.id);
  if (e == nullptr || !e->owned || !e->details) return;
  EraseOne(e->details->borrowers, from);
  EraseOne(e->details->lineage_borrowers, from);
  e->details->Unsubscribe(
      from);  // it asks again if it comes back: an answer to the old question could be stale
  const auto it = by_borrower_.find(from);
  if (it == by_borrower_.end() || it->second.count(e) == 0) return;
  if (m.lineage) {
    e->details->lineage_borrowers.push_back(from);
  } else {
    it->second.erase(e);
    if (it->second.empty()) by_borrower_.erase(it);
  }
  MaybeRelease(e);
}

void ObjectTable::OnEof(const Eof& eof) {
  const auto it = by_borrower_.find(eof.who);
  if (it != by_borrower_.end()) {
    const auto entries = std::move(it->second);
    by_borrower_.erase(it);
    for (Entry* e : entries) {
      EraseOne(e->details->borrowers, eof.who);
      EraseOne(e->details->lineage_borrowers, eof.who);
      e->details->Unsubscribe(eof.who);
      MaybeRelease(e);
    }
  }
  std::vector<Entry*> orphans;
  for (auto& [id, e] : borrowed_) {
    if (id.owner() == eof.who) orphans.push_back(e.get());
  }
  // All held first: an orphan that only protects another one would go with that one's registration.
  for (Entry* e : orphans) ++e->holds;
  bool changed = false;
  for (Entry* e : orphans) {
    Details& d = e->more();
    if (d.registration == Registration::kSent) {
      pending_registrations_.erase(d.nonce);
      pending_nonces_.erase(d.nonce);
      changed = true;
    }
    d.registration = Registration::kGone;
    if (e->state.load(std::memory_order_relaxed) != EntryState::kInline) {
      SetError(e, ErrorType::kOwnerDied, "the owner of object " + Hex(e->id) + " has died: " + eof.cause);
    }
    std::vector<Entry*> protectors = std::move(d.protectors);
    d.protectors.clear();
    for (Entry* p : protectors) DropHold(p);
  }
  for (Entry* e : orphans) DropHold(e);
  if (changed) listener_->OnRegistrationsChanged();
}

void ObjectTable::OnNodeDead(uint32_t node, const std::string& reason, bool left_files) {
  // Every address there counts as EOF.
  std::vector<Address> gone;
  for (auto& [who, entries] : by_borrower_) {
    if (who.node == node) gone.push_back(who);
  }
  for (auto& [id, e] : borrowed_) {
    if (id.owner().node == node) gone.push_back(id.owner());
  }
  ForEachEof(std::move(gone), reason, [this](const Eof& eof) { OnEof(eof); });
  if (left_files) left_.insert(node);
  LosePlacesOn(node, reason);
}

bool ObjectTable::Unacknowledged(const Address& except, uint64_t upto) const {
  for (uint64_t nonce : pending_nonces_) {
    if (nonce >= upto) break;
    const auto it = pending_registrations_.find(nonce);
    if (it != pending_registrations_.end() && it->second.owner() != except) return true;
  }
  return false;
}

}  // namespace rmpi::core
