// SPDX-License-Identifier: Apache-2.0
// ObjectTable: where stored objects are, and what is done when a place is missed or lost.
#include <algorithm>

#include "runtime/core/object_table.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {
namespace {

std::string WhyGone(uint32_t node) { return "node " + std::to_string(node) + " held its last copy"; }

}  // namespace

Place ObjectTable::PlaceHere(const Entry& e) const {
  const Details& d = *e.details;
  if (d.fetch == Fetch::kLocal) return d.local;
  const auto it =
      std::find_if(d.places.begin(), d.places.end(), [&](const Place& p) { return p.node == self_.node; });
  return it == d.places.end() || it->segment == kNotInMemory || d.Doubted(self_.node) ? Place{} : *it;
}

bool ObjectTable::NotInMemoryHere(Entry* e) {
  for (Place& p : e->details->places) {
    if (p.node != self_.node || p.segment == kNotInMemory) continue;
    p.segment = kNotInMemory;
    return true;
  }
  return false;
}

bool ObjectTable::MissedOn(Entry* e, uint32_t node) {
  if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) return false;
  Details& d = *e->details;
  if (e->owned) {
    if (d.fetch == Fetch::kLocal && d.local.node == node) d.fetch = Fetch::kNone;
    return DoubtPlace(e, node, {});
  }
  // A borrower does not decide: it tells the owner what it saw and waits for a new answer.
  d.fetch = Fetch::kNone;
  e->state.store(EntryState::kPending, std::memory_order_release);
  d.locate_sent = true;
  RefMessage m;
  m.id = e->id;
  m.nonce = node;
  outbox_->Send(e->id.owner(), MsgType::kLocate, m);
  return true;
}

// Returns whether there is something to wait for: an answer of that node's raylet, which comes behind all
// that it said of its copies before.
bool ObjectTable::DoubtPlace(Entry* e, uint32_t node, const Address& asker) {
  Details& d = *e->details;
  if (!d.ListsPlace(node)) return false;
  if (left_.contains(node)) {  // nobody is there to be asked: who missed it has looked into its files
    DropPlace(e, node, "node " + std::to_string(node) + " is dead, and its spill files do not have it");
    return false;
  }
  const bool asked = d.Doubted(node);
  if (!asked || !asker.nil()) d.doubts.push_back({node, asker});
  if (asked) return true;
  LocationCheck m;
  m.id = e->id;
  m.attempt = d.attempt;
  outbox_->Send(RayletOf(node), MsgType::kLocationCheck, m);
  return true;
}

void ObjectTable::SettleDoubts(Entry* e, uint32_t node) {
  std::vector<Address> askers;
  std::erase_if(e->details->doubts, [&](const Doubt& doubt) {
    if (doubt.node != node) return false;
    if (!doubt.asker.nil()) askers.push_back(doubt.asker);
    return true;
  });
  for (const Address& to : askers) {
    if (e->pending()) {
      e->details->subscribers.push_back(to);
    } else {
      SendLocation(to, e);
    }
  }
  if (e->pending()) return;
  const std::vector<Task*> dependents = std::move(e->details->dependents);
  e->details->dependents.clear();
  for (Task* t : dependents) listener_->OnDependencyReady(t);
}

// Of an owned object. A copy becomes the primary, which its store keeps; what loses its last place is made
// again. No other place can be in doubt then.
void ObjectTable::DropPlace(Entry* e, uint32_t node, const std::string& why) {
  Details& d = *e->details;
  // What may be in the files of a dead node is as good as a primary: copies beside it may be evicted.
  const bool primary = !d.places.empty() && (d.places.front().node == node || left_.contains(node));
  if (std::erase_if(d.places, [&](const Place& p) { return p.node == node; }) == 0) return;
  if (d.fetch == Fetch::kLocal && d.local.node == node) d.fetch = Fetch::kNone;
  AddHold(e);  // an error can fail tasks, which can free it
  if (d.places.empty()) {
    d.fetch = Fetch::kNone;
    d.lost = true;
    e->state.store(EntryState::kPending, std::memory_order_release);
    listener_->OnLost(e, why);
  } else if (primary) {
    KeepFirst(*e);
  }
  SettleDoubts(e, node);
  DropHold(e);
}

// The first place is the primary from now on.
void ObjectTable::KeepFirst(const Entry& e) {
  const Place& first = e.details->places.front();
  if (Left(first)) return;
  LocationCheck m;
  m.id = e.id;
  m.attempt = e.details->attempt;
  m.keep = true;
  outbox_->Send(RayletOf(first.node), MsgType::kLocationCheck, m);
}

// The node is dead, but not its files. Whether the object is there is found out when somebody wants it.
void ObjectTable::LeaveOnDisk(Entry* e, uint32_t node) {
  auto& places = e->details->places;
  const auto at = std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.node == node; });
  if (at == places.end()) return;
  at->segment = kNotInMemory;
  const bool primary = at == places.begin();
  std::rotate(at, at + 1, places.end());
  if (!e->owned) return;
  if (primary) KeepFirst(*e);
  SettleDoubts(e, node);
}

void ObjectTable::OnLocationAdd(const ObjectAt& m) {
  Entry* e = FindStored(m.id, m.attempt);
  if (e == nullptr) {  // freed while the copy was under way
    FreeObject f;
    f.id = m.id;
    f.attempt = m.attempt;
    outbox_->Send(RayletOf(m.place.node), MsgType::kFree, f);
    return;
  }
  auto& places = e->details->places;
  for (Place& p : places) {
    if (p.node == m.place.node) {
      p = m.place;
      return;
    }
  }
  places.insert(std::find_if(places.begin(), places.end(), [this](const Place& p) { return Left(p); }),
                m.place);
}

// Its store keeps it already, so there is no moment without a primary.
void ObjectTable::OnPrimaryMoved(const PrimaryMoved& m) {
  OnLocationAdd(m.at);
  Entry* e = FindStored(m.at.id, m.at.attempt);
  if (e == nullptr) return;
  auto& places = e->details->places;
  const auto at =
      std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.node == m.at.place.node; });
  std::rotate(places.begin(), at, at + 1);
  if (!e->details->ListsPlace(m.from)) return;
  FreeObject f;
  f.id = m.at.id;
  f.attempt = m.at.attempt;
  outbox_->Send(RayletOf(m.from), MsgType::kFree, f);
  DropPlace(e, m.from, WhyGone(m.from));
}

void ObjectTable::OnLocationDelete(uint32_t node, const LocationDelete& m) {
  for (const auto& [id, attempt] : m.versions) {
    if (Entry* e = FindStored(id, attempt)) DropPlace(e, node, WhyGone(node));
  }
}

void ObjectTable::OnLocationChecked(uint32_t node, const LocationCheck& m) {
  Entry* e = FindStored(m.id, m.attempt);
  if (e == nullptr) return;
  if (m.held) {
    SettleDoubts(e, node);
  } else {
    DropPlace(e, node, WhyGone(node));
  }
}

// This version of an object of ours, if it is in the stores.
Entry* ObjectTable::FindStored(const ObjectId& id, uint32_t attempt) {
  Entry* e = Find(id);
  const bool current = e != nullptr && e->owned &&
                       e->state.load(std::memory_order_relaxed) == EntryState::kStored &&
                       e->details->attempt == attempt;
  return current ? e : nullptr;
}

// All that node's places are lost, but for what is in its files.
void ObjectTable::LosePlacesOn(uint32_t node, const std::string& reason) {
  // Collected and held first: losing a place can fail tasks, which can free other entries.
  std::vector<Entry*> stored;
  ForEachEntry([&](Entry* e) {
    if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) return;
    ++e->holds;
    stored.push_back(e);
  });
  for (Entry* e : stored) {
    if (left_.contains(node)) {
      LeaveOnDisk(e, node);
    } else if (e->owned) {
      DropPlace(e, node, reason + ", and with it the last copy");
    } else if (e->details->ListsPlace(node)) {
      MissedOn(e, node);
    }
    DropHold(e);
  }
}

}  // namespace rmpi::core
