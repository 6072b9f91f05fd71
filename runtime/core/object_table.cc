// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/object_table.h"

#include <cassert>

#include "runtime/core/task.h"

namespace rmpi::core {
namespace {

constexpr uint64_t kNumberMask = (uint64_t{1} << 48) - 1;

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

Entry* ObjectTable::NewItem(Record* record, const ObjectId& id) {
  auto fresh = std::make_unique<Entry>();
  Entry* e = fresh.get();
  e->id = id;
  e->owned = true;
  e->live = true;
  e->epoch = epoch_;
  e->holds = 1;
  items_.emplace(id, std::move(fresh));
  ++record->count;
  ++owned_count_;
  return e;
}

void ObjectTable::MaybeDropRecord(uint64_t sequence) {
  Record* record = FindRecord(sequence);
  if (record == nullptr || record->count != 0 || record->task != nullptr) return;
  record->more.reset();
  record->returns = 0;
  record->final_loss = ErrorType::kNone;
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
    if (record == nullptr) return nullptr;
    if (id.index >= record->returns) {
      const auto it = items_.find(id);
      return it == items_.end() ? nullptr : it->second.get();
    }
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
    Register(e);
  } else if (!e->owned && e->details->registration == Registration::kLineage) {
    Register(e);
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

void ObjectTable::AddLineageHold(Entry* e) { ++e->more().lineage_holds; }

void ObjectTable::DropLineageHold(Entry* e) {
  assert(e->details->lineage_holds > 0);
  if (--e->details->lineage_holds == 0) MaybeRelease(e);
}

void ObjectTable::TakeBack(Entry* e) {
  --e->details->lineage_holds;
  ++e->holds;
  if (!e->owned && e->details->registration == Registration::kLineage) Register(e);
}

void ObjectTable::MaybeRelease(Entry* e) {
  if (!e->live || e->leaving || e->wanted()) return;
  e->leaving = true;
  release_queue_.push_back(e);
  if (releasing_) return;
  releasing_ = true;
  while (!release_queue_.empty()) {
    Entry* next = release_queue_.back();
    release_queue_.pop_back();
    next->leaving = false;
    LetGo(next);
  }
  releasing_ = false;
}

void ObjectTable::LetGo(Entry* e) {
  if (!e->live || e->wanted()) return;
  const bool lineage = e->details && e->details->NeededByLineage();
  if (e->owned) return lineage ? Evaporate(e) : ReleaseOwned(e);
  lineage ? Park(e) : ReleaseBorrowed(e);
}

// Of an owned object that is needed only to make others again: its value goes, if it takes room in a store.
void ObjectTable::Evaporate(Entry* e) {
  if (e->id.task.kind() == TaskKind::kActorCreation) listener_->OnActorReleased(e->id);
  if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) return;
  FreePlaces(*e);
  Details& d = *e->details;
  d.places.clear();
  d.fetch = Fetch::kNone;
  d.lost = true;
  e->state.store(EntryState::kPending, std::memory_order_release);
  e->mark.store(0, std::memory_order_relaxed);
  SendGone(e->id, d);
  const std::vector<Entry*> contained = std::move(d.contained);
  d.contained.clear();
  for (Entry* inner : contained) DropHold(inner);
}

// The same of a borrowed one: its owner is told. A value that is here stays, and with it the registration.
void ObjectTable::Park(Entry* e) {
  if (e->id.task.kind() == TaskKind::kActorCreation) listener_->OnActorReleased(e->id);
  Details& d = *e->details;
  if (d.registration != Registration::kAcknowledged ||
      e->state.load(std::memory_order_relaxed) == EntryState::kInline) {
    return;
  }
  RefMessage m;
  m.id = e->id;
  m.lineage = true;
  outbox_->Send(e->id.owner(), MsgType::kUnregister, m);
  d.registration = Registration::kLineage;
  d.nonce = 0;
  d.locate_sent = false;
  d.places.clear();
  d.fetch = Fetch::kNone;
  e->state.store(EntryState::kPending, std::memory_order_release);
}

// Who waits for an answer about an object that is on its way out.
void ObjectTable::SendGone(const ObjectId& id, Details& d) {
  std::vector<Address> waiting = std::move(d.subscribers);
  d.subscribers.clear();
  for (const Doubt& doubt : d.doubts) {
    if (!doubt.asker.nil()) waiting.push_back(doubt.asker);
  }
  d.doubts.clear();
  Location gone;
  gone.id = id;
  gone.value.state = ValueState::kGone;
  for (const Address& to : waiting) outbox_->Send(to, MsgType::kLocation, gone);
}

void ObjectTable::FreePlaces(const Entry& e) {
  FreeObject m;
  m.id = e.id;
  m.attempt = e.details->attempt;
  for (const Place& p : e.details->places) {
    if (!Left(p)) outbox_->Send(RayletOf(p.node), MsgType::kFree, m);
  }
}

std::string ObjectTable::OriginOf(const ObjectId& id) const {
  const auto it = origins_.find(id);
  return it == origins_.end() ? "" : it->second;
}

void ObjectTable::ReleaseOwned(Entry* e) {
  if (!e->live) return;
  if (!origins_.empty()) origins_.erase(e->id);
  if (e->state.load(std::memory_order_relaxed) == EntryState::kStored) {
    FreePlaces(*e);
  } else if (e->kind == static_cast<uint8_t>(ValueKind::kAppError) && !e->looked_at && on_unread_error_ &&
             e->id.task.kind() != TaskKind::kActorCreation) {
    on_unread_error_(e->value);
  }
  CountStoredItem(e, false);
  std::unique_ptr<Details> details = std::move(e->details);
  const ObjectId id = e->id;
  e->live = false;
  e->looked_at = false;
  e->value = Blob();
  e->kind = 0;
  e->state.store(EntryState::kPending, std::memory_order_release);
  e->mark.store(0, std::memory_order_relaxed);
  --owned_count_;
  Record* record = FindRecord(id.task.sequence);
  if (id.index >= record->returns) items_.erase(id);  // frees it
  --record->count;
  if (record->task != nullptr && record->task->state == TaskState::kDone) {
    listener_->OnReturnReleased(record->task);
  }
  MaybeDropRecord(id.task.sequence);
  if (id.task.kind() == TaskKind::kActorCreation) listener_->OnActorReleased(id);
  if (!details) return;
  SendGone(id, *details);
  for (Entry* inner : details->contained) DropHold(inner);
}

void ObjectTable::ReleaseBorrowed(Entry* e) {
  const auto it = borrowed_.find(e->id);
  if (it == borrowed_.end() || it->second.get() != e) return;
  if (!origins_.empty()) origins_.erase(e->id);
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

}  // namespace rmpi::core
