// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/object_table.h"

#include <algorithm>
#include <cassert>

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

constexpr uint64_t kNumberMask = (uint64_t{1} << 48) - 1;

bool ListsPlace(const Details& d, uint32_t node) {
  return std::any_of(d.places.begin(), d.places.end(), [&](const Place& p) { return p.node == node; });
}

bool Doubted(const Details& d, uint32_t node) {
  return std::any_of(d.doubts.begin(), d.doubts.end(),
                     [&](const Doubt& doubt) { return doubt.node == node; });
}

}  // namespace

Blob EncodeSystemError(uint8_t type, const std::string& message, const std::string& context) {
  Writer w;
  w(type, message, context);
  return Blob::Copy(w.bytes());
}

void ObjectTable::SetIdentity(const Address& self, JobId job) {
  self_ = self;
  job_ = job;
}

// ---- owned ------------------------------------------------------------------------------------------------

Record* ObjectTable::NewRecord(TaskKind kind, uint32_t returns) {
  const uint64_t number = next_number_++;
  const uint64_t page = number / kPageRecords;
  if (number % kPageRecords == 0) DropPageIfUnused(page - 1);  // it was kept while it was the newest
  while (page_base_ + pages_.size() <= page) pages_.push_back(nullptr);
  auto& slot = pages_[page - page_base_];
  if (!slot) slot = std::make_unique<Page>();
  ++slot->used;
  Record* record = &slot->records[number % kPageRecords];
  record->returns = returns;
  record->count = returns;
  if (returns > 1) record->more = std::make_unique<Entry[]>(returns - 1);
  const TaskId task{job_, self_, TaskId::Sequence(kind, number)};
  record->first.id.task = task;  // also with no returns: the record must know its name
  for (uint32_t i = 0; i < returns; ++i) {
    Entry* e = ReturnOf(record, i);
    e->id = {task, i, 0};
    e->owned = true;
    e->live = true;
    e->epoch = epoch_;
    e->holds = 1;
  }
  owned_count_ += returns;
  return record;
}

Record* ObjectTable::FindRecord(uint64_t sequence) {
  const uint64_t number = sequence & kNumberMask;
  const uint64_t page = number / kPageRecords;
  if (page < page_base_ || page >= page_base_ + pages_.size()) return nullptr;
  auto& slot = pages_[page - page_base_];
  if (!slot) return nullptr;
  Record* record = &slot->records[number % kPageRecords];
  if (record->first.id.task.sequence != sequence) return nullptr;
  return record;
}

Entry* ObjectTable::ReturnOf(Record* record, uint32_t index) {
  return index == 0 ? &record->first : &record->more[index - 1];
}

void ObjectTable::MaybeDropRecord(uint64_t sequence) {
  Record* record = FindRecord(sequence);
  if (record == nullptr || record->count != 0 || record->task != nullptr) return;
  record->more.reset();
  record->returns = 0;
  record->first.id = {};
  const uint64_t page = (sequence & kNumberMask) / kPageRecords;
  --pages_[page - page_base_]->used;
  // The newest page stays: its unused numbers are still to come.
  if (page != (next_number_ - 1) / kPageRecords) DropPageIfUnused(page);
}

void ObjectTable::DropPageIfUnused(uint64_t page) {
  if (page < page_base_ || page >= page_base_ + pages_.size()) return;
  auto& slot = pages_[page - page_base_];
  if (slot && slot->used == 0) slot.reset();
  while (pages_.size() > 1 && !pages_.front()) {
    pages_.pop_front();
    ++page_base_;
  }
}

// ---- any --------------------------------------------------------------------------------------------------

Entry* ObjectTable::Find(const ObjectId& id) {
  if (id.owner() == self_) {
    Record* record = FindRecord(id.task.sequence);
    if (record == nullptr || id.index >= record->returns) return nullptr;
    Entry* e = ReturnOf(record, id.index);
    return e->live ? e : nullptr;
  }
  const auto it = borrowed_.find(id);
  return it == borrowed_.end() ? nullptr : it->second.get();
}

Entry* ObjectTable::Borrow(const ObjectId& id, Entry* outer) {
  Entry* e = Find(id);
  if (e == nullptr && id.owner() == self_) return nullptr;
  if (e == nullptr) {
    auto fresh = std::make_unique<Entry>();
    e = fresh.get();
    e->id = id;
    e->live = true;
    e->epoch = epoch_;
    borrowed_.emplace(id, std::move(fresh));
    Details& d = e->more();
    d.registration = Registration::kSent;
    d.nonce = next_nonce_++;
    pending_registrations_.emplace(d.nonce, id);
    pending_nonces_.insert(d.nonce);
    RefMessage m;
    m.id = id;
    m.nonce = d.nonce;
    outbox_->Send(id.owner(), MsgType::kRegister, m);
  }
  ++e->holds;
  if (!e->owned && outer != nullptr && outer != e && e->details &&
      e->details->registration == Registration::kSent) {
    ++outer->holds;
    e->details->protectors.push_back(outer);
  }
  return e;
}

void ObjectTable::DropHold(Entry* e) {
  assert(e->holds > 0);
  --e->holds;
  MaybeRelease(e);
}

void ObjectTable::DropHandle(Entry* e) {
  if (e->handles.fetch_sub(1, std::memory_order_acq_rel) == 1) MaybeRelease(e);
}

void ObjectTable::MaybeRelease(Entry* e) {
  if (!e->live || e->holds != 0 || e->handles.load(std::memory_order_acquire) != 0) return;
  if (e->owned && e->details && !e->details->borrowers.empty()) return;
  release_queue_.push_back(e);
  if (releasing_) return;
  releasing_ = true;
  while (!release_queue_.empty()) {
    Entry* next = release_queue_.back();
    release_queue_.pop_back();
    if (next->owned) {
      ReleaseOwned(next);
    } else {
      ReleaseBorrowed(next);
    }
  }
  releasing_ = false;
}

void ObjectTable::FreePlaces(const Entry& e) {
  FreeObject m;
  m.id = e.id;
  m.attempt = e.details->attempt;
  for (const Place& p : e.details->places) outbox_->Send(RayletOf(p.node), MsgType::kFree, m);
}

void ObjectTable::ReleaseOwned(Entry* e) {
  if (!e->live) return;
  if (e->state.load(std::memory_order_relaxed) == EntryState::kStored) FreePlaces(*e);
  std::unique_ptr<Details> details = std::move(e->details);
  const ObjectId id = e->id;
  e->live = false;
  e->value = Blob();
  e->kind = 0;
  e->state.store(EntryState::kPending, std::memory_order_release);
  e->mark.store(0, std::memory_order_relaxed);
  --owned_count_;
  Record* record = FindRecord(id.task.sequence);
  --record->count;
  MaybeDropRecord(id.task.sequence);
  if (id.task.kind() == TaskKind::kActorCreation) listener_->OnActorReleased(id);
  if (!details) return;
  std::vector<Address> waiting = std::move(details->subscribers);
  for (const Doubt& doubt : details->doubts) {
    if (!doubt.asker.nil()) waiting.push_back(doubt.asker);
  }
  for (const Address& to : waiting) {
    Location gone;
    gone.id = id;
    gone.value.state = ValueState::kGone;
    outbox_->Send(to, MsgType::kLocation, gone);
  }
  for (Entry* inner : details->contained) DropHold(inner);
}

void ObjectTable::ReleaseBorrowed(Entry* e) {
  const auto it = borrowed_.find(e->id);
  if (it == borrowed_.end() || it->second.get() != e) return;
  Details& d = e->more();
  if (d.registration != Registration::kGone) {
    RefMessage m;
    m.id = e->id;
    outbox_->Send(e->id.owner(), MsgType::kUnregister, m);
  }
  const bool unacknowledged = d.registration == Registration::kSent;
  if (unacknowledged) {
    pending_registrations_.erase(d.nonce);
    pending_nonces_.erase(d.nonce);
  }
  std::vector<Entry*> protectors = std::move(d.protectors);
  if (e->id.task.kind() == TaskKind::kActorCreation) listener_->OnActorReleased(e->id);
  borrowed_.erase(it);
  for (Entry* p : protectors) DropHold(p);
  if (unacknowledged) listener_->OnRegistrationsChanged();
}

// ---- values -----------------------------------------------------------------------------------------------

void ObjectTable::MadeReady(Entry* e) {
  if (e->handles.load(std::memory_order_relaxed) != 0) ++changes_;
  if (e->kind != static_cast<uint8_t>(ValueKind::kValue)) ++errors_;
  if (!e->details) return;
  Details& d = *e->details;
  if (!d.callbacks.empty()) {
    for (auto& fn : d.callbacks) due_callbacks_.push_back(std::move(fn));
    d.callbacks.clear();
  }
  std::vector<Address> subscribers = std::move(d.subscribers);
  d.subscribers.clear();
  for (const Address& to : subscribers) SendLocation(to, e);
  std::vector<Task*> dependents = std::move(d.dependents);
  d.dependents.clear();
  for (Task* t : dependents) listener_->OnDependencyReady(t);
}

void ObjectTable::SetInline(Entry* e, uint8_t kind, Blob value) {
  e->kind = kind;
  e->value = std::move(value);
  e->state.store(EntryState::kInline, std::memory_order_release);
  MadeReady(e);
}

void ObjectTable::SetStored(Entry* e, uint8_t kind, uint32_t attempt, uint64_t size,
                            std::vector<Place> places) {
  Details& d = e->more();
  d.attempt = attempt;
  d.size = size;
  d.places = std::move(places);
  d.fetch = Fetch::kNone;
  e->kind = kind;
  e->state.store(EntryState::kStored, std::memory_order_release);
  MadeReady(e);
}

void ObjectTable::SetError(Entry* e, uint8_t type, const std::string& message) {
  SetInline(e, static_cast<uint8_t>(ValueKind::kSystemError), EncodeSystemError(type, message, Hex(e->id)));
}

void ObjectTable::SetContained(Entry* e, const std::vector<ObjectId>& ids) {
  for (const ObjectId& id : ids) {
    if (Entry* inner = Borrow(id, nullptr)) e->more().contained.push_back(inner);
  }
}

void ObjectTable::SetWire(Entry* e, const WireValue& v) {
  switch (v.state) {
    case ValueState::kInline:
      if (!v.contained.empty()) e->more().contained_ids = v.contained;
      SetInline(e, v.kind, v.bytes);
      break;
    case ValueState::kStored:
      if (!v.contained.empty()) e->more().contained_ids = v.contained;
      SetStored(e, v.kind, v.attempt, v.size, v.places);
      break;
    case ValueState::kGone:
      SetError(e, static_cast<uint8_t>(ErrorType::kObjectLost),
               "object " + Hex(e->id) + " is gone: its owner, process " + ToString(e->id.owner()) +
                   ", no longer holds it");
      break;
  }
}

WireValue ObjectTable::ToWire(const Entry& e) const {
  WireValue v;
  v.kind = e.kind;
  if (e.state.load(std::memory_order_relaxed) == EntryState::kStored) {
    v.state = ValueState::kStored;
    v.attempt = e.details->attempt;
    v.size = e.details->size;
    v.places = e.details->places;
  } else {
    v.state = ValueState::kInline;
    v.bytes = e.value;
  }
  if (e.details) {
    v.contained = e.details->contained_ids;
    for (const Entry* inner : e.details->contained) v.contained.push_back(inner->id);
  }
  return v;
}

void ObjectTable::AddCallback(Entry* e, std::function<void()> fn) {
  if (e->pending()) {
    e->more().callbacks.push_back(std::move(fn));
  } else {
    due_callbacks_.push_back(std::move(fn));
  }
}

void ObjectTable::ReleaseCallbacks() {
  ForEachEntry([this](Entry* e) {
    if (!e->details) return;
    for (auto& fn : e->details->callbacks) due_callbacks_.push_back(std::move(fn));
    e->details->callbacks.clear();
  });
}

void ObjectTable::Resolve(Entry* e) {
  if (e->owned || !e->pending()) return;
  Details& d = e->more();
  if (d.locate_sent) return;
  d.locate_sent = true;
  RefMessage m;
  m.id = e->id;
  outbox_->Send(e->id.owner(), MsgType::kLocate, m);
}

Place ObjectTable::PlaceHere(const Entry& e) const {
  const Details& d = *e.details;
  if (d.fetch == Fetch::kLocal) return d.local;
  const auto it =
      std::find_if(d.places.begin(), d.places.end(), [&](const Place& p) { return p.node == self_.node; });
  return it == d.places.end() || Doubted(d, self_.node) ? Place{} : *it;
}

void ObjectTable::MissedOn(Entry* e, uint32_t node) {
  if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) return;
  Details& d = *e->details;
  if (e->owned) {
    if (d.fetch == Fetch::kLocal && d.local.node == node) d.fetch = Fetch::kNone;
    DoubtPlace(e, node, {});
    return;
  }
  // A borrower does not decide: it tells the owner what it saw and waits for a new answer.
  d.fetch = Fetch::kNone;
  e->state.store(EntryState::kPending, std::memory_order_release);
  d.locate_sent = true;
  RefMessage m;
  m.id = e->id;
  m.nonce = node;
  outbox_->Send(e->id.owner(), MsgType::kLocate, m);
}

// Returns whether there is something to wait for: an answer of that node's raylet, which comes behind all
// that it said of its copies before.
bool ObjectTable::DoubtPlace(Entry* e, uint32_t node, const Address& asker) {
  Details& d = *e->details;
  if (!ListsPlace(d, node)) return false;
  const bool asked = Doubted(d, node);
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
  for (const Address& to : askers) SendLocation(to, e);
}

// Of an owned object. What loses its last place is an error; no other place can be in doubt then.
void ObjectTable::DropPlace(Entry* e, uint32_t node) {
  Details& d = *e->details;
  if (std::erase_if(d.places, [&](const Place& p) { return p.node == node; }) == 0) return;
  if (d.fetch == Fetch::kLocal && d.local.node == node) d.fetch = Fetch::kNone;
  AddHold(e);  // an error can fail tasks, which can free it
  if (d.places.empty()) {
    SetError(e, static_cast<uint8_t>(ErrorType::kObjectLost),
             "object " + Hex(e->id) + " is lost: node " + std::to_string(node) + " held its last copy");
  }
  SettleDoubts(e, node);
  DropHold(e);
}

// ---- messages ---------------------------------------------------------------------------------------------

void ObjectTable::OnRegister(const Address& from, const RefMessage& m) {
  RefMessage reply = m;
  Entry* e = Find(m.id);
  reply.gone = e == nullptr || !e->owned;
  if (!reply.gone) {
    auto& borrowers = e->more().borrowers;
    if (std::find(borrowers.begin(), borrowers.end(), from) == borrowers.end()) {
      borrowers.push_back(from);
      by_borrower_[from].insert(e);
    }
  }
  outbox_->Send(from, MsgType::kRegisterReply, reply);
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
      SetError(e, static_cast<uint8_t>(ErrorType::kObjectLost),
               "object " + Hex(e->id) + " was freed by its owner before this process could register a use");
    }
    for (Entry* p : protectors) DropHold(p);
  }
  listener_->OnRegistrationsChanged();
}

void ObjectTable::OnUnregister(const Address& from, const RefMessage& m) {
  Entry* e = Find(m.id);
  if (e == nullptr || !e->owned || !e->details) return;
  EraseOne(e->details->borrowers, from);
  const auto it = by_borrower_.find(from);
  if (it != by_borrower_.end()) {
    it->second.erase(e);
    if (it->second.empty()) by_borrower_.erase(it);
  }
  MaybeRelease(e);
}

void ObjectTable::SendLocation(const Address& to, Entry* e) {
  Location reply;
  reply.id = e->id;
  reply.value = ToWire(*e);
  outbox_->Send(to, MsgType::kLocation, reply);
}

void ObjectTable::OnLocate(const Address& from, const RefMessage& m) {
  Entry* e = Find(m.id);
  if (e == nullptr || !e->owned) {
    Location gone;
    gone.id = m.id;
    gone.value.state = ValueState::kGone;
    outbox_->Send(from, MsgType::kLocation, gone);
    return;
  }
  const bool stored = e->state.load(std::memory_order_relaxed) == EntryState::kStored;
  if (m.nonce != 0 && stored && DoubtPlace(e, static_cast<uint32_t>(m.nonce), from)) return;
  if (e->pending()) {
    e->more().subscribers.push_back(from);
  } else {
    SendLocation(from, e);
  }
}

void ObjectTable::OnLocation(const Location& m) {
  Entry* e = Find(m.id);
  if (e == nullptr || e->owned || !e->pending()) return;
  e->more().locate_sent = false;
  SetWire(e, m.value);
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
  places.push_back(m.place);
}

void ObjectTable::OnLocationDelete(uint32_t node, const LocationDelete& m) {
  for (const auto& [id, attempt] : m.versions) {
    if (Entry* e = FindStored(id, attempt)) DropPlace(e, node);
  }
}

void ObjectTable::OnLocationChecked(uint32_t node, const LocationCheck& m) {
  Entry* e = FindStored(m.id, m.attempt);
  if (e == nullptr) return;
  if (m.held) {
    SettleDoubts(e, node);
  } else {
    DropPlace(e, node);
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

void ObjectTable::OnEof(const Eof& eof) {
  const auto it = by_borrower_.find(eof.who);
  if (it != by_borrower_.end()) {
    const auto entries = std::move(it->second);
    by_borrower_.erase(it);
    for (Entry* e : entries) {
      EraseOne(e->details->borrowers, eof.who);
      EraseOne(e->details->subscribers, eof.who);
      for (Doubt& doubt : e->details->doubts) {
        if (doubt.asker == eof.who) doubt.asker = {};
      }
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
      SetError(e, static_cast<uint8_t>(ErrorType::kOwnerDied),
               "the owner of object " + Hex(e->id) + " has died: " + eof.cause);
    }
    std::vector<Entry*> protectors = std::move(d.protectors);
    d.protectors.clear();
    for (Entry* p : protectors) DropHold(p);
  }
  for (Entry* e : orphans) DropHold(e);
  if (changed) listener_->OnRegistrationsChanged();
}

void ObjectTable::OnNodeDead(uint32_t node, const std::string& reason) {
  // Every address there counts as EOF.
  std::vector<Address> gone;
  for (auto& [who, entries] : by_borrower_) {
    if (who.node == node) gone.push_back(who);
  }
  for (auto& [id, e] : borrowed_) {
    if (id.owner().node == node) gone.push_back(id.owner());
  }
  std::sort(gone.begin(), gone.end());
  gone.erase(std::unique(gone.begin(), gone.end()), gone.end());
  for (const Address& who : gone) {
    Eof eof;
    eof.who = who;
    eof.claims_known = false;
    eof.cause = reason;
    OnEof(eof);
  }
  // Collected and held first: losing a place can fail tasks, which can free other entries.
  std::vector<Entry*> stored;
  ForEachEntry([&](Entry* e) {
    if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) return;
    ++e->holds;
    stored.push_back(e);
  });
  for (Entry* e : stored) {
    if (e->owned) {
      DropPlace(e, node);
    } else if (ListsPlace(*e->details, node)) {
      MissedOn(e, node);
    }
    DropHold(e);
  }
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
