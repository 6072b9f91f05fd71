// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/lineage.h"

#include "runtime/core/stream_owner.h"

namespace rmpi::core {
namespace {

// What a kept task, and each of its arguments, takes beside their bytes.
constexpr uint64_t kTaskBytes = sizeof(Task) + sizeof(Record);
constexpr uint64_t kRefBytes = sizeof(Entry*) + sizeof(Entry) + sizeof(Details);

}  // namespace

void Lineage::SetCap(uint64_t bytes) {
  cap_ = bytes;
  Trim();
}

bool Lineage::Needed(ObjectTable* objects, Task* t) {
  for (uint32_t i = 0; i < t->record->returns; ++i) {
    const Entry* e = objects->ReturnOf(t->record, i);
    if (e->live && e->state.load(std::memory_order_relaxed) != EntryState::kInline) return true;
  }
  return t->record->stored_items != 0;
}

bool Lineage::Keep(Task* t, bool allowed) {
  if (!Needed(objects_, t)) return false;
  if (!allowed || t->cancelled || t->retries_left == 0) {
    t->record->final_loss = t->cancelled                ? ErrorType::kLostCancelled
                            : t->tmpl->max_retries == 0 ? ErrorType::kLostNoRetries
                                                        : ErrorType::kLostRetriesSpent;
    return false;
  }
  t->lineage_bytes = kTaskBytes + t->args.size();
  if (t->refs) {
    for (Entry* e : *t->refs) {
      objects_->AddLineageHold(e);
      t->lineage_bytes += kRefBytes + e->value.size();
    }
    for (Entry* e : *t->refs) objects_->DropHold(e);
  }
  if (t->handle != nullptr) actors_[t] = t->handle->id;
  bytes_ += t->lineage_bytes;
  t->state = TaskState::kDone;
  tasks_.PushBack(t);
  return true;
}

void Lineage::Trim() {
  while (bytes_ > cap_ && !tasks_.empty()) Drop(tasks_.head, ErrorType::kLostLineageEvicted);
}

void Lineage::OnReturnReleased(Task* t) {
  if (!Needed(objects_, t)) Drop(t, ErrorType::kNone);
}

ObjectId Lineage::ActorOf(const Task* t) const {
  const auto it = actors_.find(t);
  return it == actors_.end() ? ObjectId{} : it->second;
}

void Lineage::Unlist(Task* t) {
  tasks_.Remove(t);
  bytes_ -= std::exchange(t->lineage_bytes, 0);
  actors_.erase(t);
}

void Lineage::TakeOut(Task* t) {
  Unlist(t);
  if (!t->refs) return;
  for (Entry* e : *t->refs) objects_->TakeBack(e);
}

void Lineage::Drop(Task* t, ErrorType why) {
  Unlist(t);
  Record* record = t->record;
  const uint64_t sequence = record->first.id.task.sequence;
  record->final_loss = why;
  record->task = nullptr;
  if (t->tmpl->stream != StreamKind::kNone) streams_->OnDropped(t->id());
  const auto refs = std::move(t->refs);
  delete t;
  objects_->MaybeDropRecord(sequence);
  if (!refs) return;
  for (Entry* e : *refs) objects_->DropLineageHold(e);
}

}  // namespace rmpi::core
