// SPDX-License-Identifier: Apache-2.0
// ObjectTable: what objects are. Values come in, and go out to who asked for them (PROTOCOL O1).
#include "runtime/core/object_table.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {
namespace {

constexpr char kEvaporated[] = "its value was freed when no reference to it was left";

}  // namespace

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
  if (e->details) e->details->lost = false;
  CountStoredItem(e, false);
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
  d.lost = false;
  CountStoredItem(e, true);
  e->kind = kind;
  e->state.store(EntryState::kStored, std::memory_order_release);
  MadeReady(e);
}

// So that what a generator gave can be asked for as a whole: whether its task is needed to make it again
// (O7).
void ObjectTable::CountStoredItem(Entry* e, bool stored) {
  if (!e->owned || !e->details || e->details->stored_item == stored) return;
  Record* record = FindRecord(e->id.task.sequence);
  if (e->id.index < record->returns) return;
  e->details->stored_item = stored;
  record->stored_items += stored ? 1 : -1;
}

void ObjectTable::SetError(Entry* e, ErrorType type, const std::string& message) {
  SetInline(e, static_cast<uint8_t>(ValueKind::kSystemError),
            EncodeSystemError(static_cast<uint8_t>(type), message, Hex(e->id)));
}

void ObjectTable::SetMade(Entry* e, const WireValue& v) {
  for (const ObjectId& id : v.contained) {
    if (Entry* inner = Borrow(id, nullptr)) e->more().contained.push_back(inner);
  }
  if (v.state == ValueState::kStored) {
    SetStored(e, v.kind, v.attempt, v.size, v.places);
  } else {
    SetInline(e, v.kind, v.bytes);
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
      SetError(e, ErrorType::kObjectLost,
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
  if (!e->pending()) return;
  if (e->owned) {
    if (e->details && e->details->lost) listener_->OnLost(e, kEvaporated);
    return;
  }
  Details& d = e->more();
  if (d.locate_sent) return;
  d.locate_sent = true;
  RefMessage m;
  m.id = e->id;
  outbox_->Send(e->id.owner(), MsgType::kLocate, m);
}

void ObjectTable::SendLocation(const Address& to, Entry* e) {
  Location reply;
  reply.id = e->id;
  reply.value = ToWire(*e);
  e->looked_at = true;
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
    Resolve(e);
  } else {
    SendLocation(from, e);
  }
}

void ObjectTable::OnLocation(const Location& m) {
  Entry* e = Find(m.id);
  if (e == nullptr || e->owned || !e->pending() || !e->wanted()) return;
  e->more().locate_sent = false;
  SetWire(e, m.value);
}

}  // namespace rmpi::core
