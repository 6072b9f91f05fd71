// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/stream_owner.h"

#include <algorithm>

#include "runtime/core/actor_calls.h"
#include "runtime/core/submitter.h"

namespace rmpi::core {
namespace {

// A reader that is gone, of a stream whose lost items others still wait for: no window holds it up.
constexpr uint32_t kAllRead = kNoItems / 2;

// Where the task was sent, and is not known to have ended; nil: nowhere.
Address WorkerOf(const Task& t) {
  if (t.calls != nullptr) return t.list == &t.calls->inflight ? t.calls->pushed_to : Address{};
  return t.lease != nullptr ? t.lease->worker : Address{};
}

}  // namespace

Stream* StreamOwner::Find(const TaskId& task) {
  const auto it = streams_.find(task);
  return it == streams_.end() ? nullptr : &it->second;
}

// The entry of an item that is not read. Those before it come to be with it.
Entry* StreamOwner::Slot(const TaskId& task, Stream* s, uint32_t item) {
  for (; s->top <= item; ++s->top) {
    Entry* e = objects_->NewItem(objects_->FindRecord(task.sequence), ItemId(task, s->top));
    if (s->end && s->top >= *s->end) SetMissing(e, *s, s->top);
  }
  return objects_->Find(ItemId(task, item));
}

void StreamOwner::SetMissing(Entry* e, const Stream& s, uint32_t item) {
  if (s.error_kind != 0) return objects_->SetInline(e, s.error_kind, s.error);
  const bool once_there = s.end && item < *s.end;
  const std::string text =
      once_there ? "the task that gave this object once ran again, and gave fewer: a generator must give the "
                   "same items each time that it runs"
      : s.closed ? "the generator was deleted before this item came"
                 : "the stream has ended before this item";
  const ErrorType type = once_there ? ErrorType::kStreamInconsistent : ErrorType::kEndOfStream;
  objects_->SetError(e, type, text);
}

// ---- the consumer -----------------------------------------------------------------------------------------

StreamOwner::Look StreamOwner::LookAtNext(const TaskId& task) const {
  const Stream* s = Find(task);
  if (s == nullptr || s->closed || (s->end && s->read >= *s->end)) return Look::kEnded;
  if (s->read >= s->top) return Look::kNotYet;
  return objects_->Find(ItemId(task, s->read))->pending() ? Look::kNotYet : Look::kItem;
}

Entry* StreamOwner::TakeNext(const TaskId& task) {
  Stream* s = Find(task);
  Entry* e = objects_->Find(ItemId(task, s->read));
  ++s->read;
  TellProducer(task, s->read);
  return e;
}

Entry* StreamOwner::Peek(const TaskId& task, uint32_t ahead) {
  Stream* s = Find(task);
  return s == nullptr || s->closed ? nullptr : Slot(task, s, s->read + ahead);
}

void StreamOwner::Close(const TaskId& task) {
  Stream* s = Find(task);
  if (s == nullptr || s->closed) return;
  s->closed = true;
  TellProducer(task, s->lost ? kAllRead : kNoItems);
  if (!s->lost) s->from = kNoItems;
  Record* record = objects_->FindRecord(task.sequence);
  const uint32_t read = s->read, top = s->top, known = s->known;
  for (uint32_t i = std::max(read, known); i < top; ++i) {  // what is lost still comes
    Entry* e = objects_->Find(ItemId(task, i));
    if (e->pending()) SetMissing(e, *s, i);  // somebody may wait for it
  }
  // With the last of these it may go itself.
  for (uint32_t i = read; i < top; ++i) objects_->DropHold(objects_->Find(ItemId(task, i)));
  if (record->task == nullptr) streams_.erase(task);
  objects_->DropHold(objects_->ReturnOf(record, 0));
}

void StreamOwner::TellProducer(const TaskId& task, uint32_t read) {
  const Task* t = tasks_->Find(task);
  const bool unheard = t == nullptr || t->tmpl->window == 0 || t->again;
  if (t == nullptr || (unheard && read != kNoItems)) return;
  if (const Address worker = WorkerOf(*t); !worker.nil())
    outbox_->Send(worker, MsgType::kStreamRead, ItemRef{task, t->attempt, read});
}

// ---- its task ---------------------------------------------------------------------------------------------

void StreamOwner::Open(Task* t) {
  streams_[t->id()];
  objects_->AddHold(objects_->ReturnOf(t->record, 0));
}

void StreamOwner::FillPush(const Task& t, Push* p) {
  Stream* s = Find(t.id());
  for (uint32_t item : s->late) s->lost = std::min(s->lost.value_or(item), item);
  s->late.clear();
  s->from = s->lost ? *s->lost : s->closed ? kNoItems : s->known;
  s->arrived = 0;
  p->items_known = s->from;
  p->items_read = s->closed || t.again ? kAllRead : s->read;
}

void StreamOwner::OnItem(const Task* t, const Address& from, const Item& m) {
  Stream* s = t == nullptr ? nullptr : Find(m.task);
  if (s != nullptr && Keep(*t, s, m)) {
    if (!m.value.contained.empty()) tasks_->Acknowledge(from, {m.task, m.attempt, false, false}, m.item);
    return;
  }
  tasks_->FreeValue(ItemId(m.task, m.item), m.value);
  if (!m.value.contained.empty()) outbox_->Send(from, MsgType::kItemAck, ItemRef{m.task, m.attempt, m.item});
}

// Takes an item that is wanted. They come in order: a gap is a lie.
bool StreamOwner::Keep(const Task& t, Stream* s, const Item& m) {
  if (m.item > s->known) return false;
  s->arrived = m.item + 1;
  if (s->end && m.item >= *s->end) return false;
  const bool taken = s->closed || m.item < s->read;
  Entry* e = taken ? objects_->Find(ItemId(m.task, m.item)) : Slot(t.id(), s, m.item);
  if (e == nullptr || !e->pending()) return false;  // let go of, or there from a former attempt
  objects_->AddHold(e);  // perhaps only lineage has to do with it: then its value goes at once
  s->known = std::max(s->known, m.item + 1);
  objects_->SetMade(e, m.value);
  objects_->DropHold(e);
  return true;
}

void StreamOwner::OnResult(Task* t, const Result& m) {
  Stream* s = Find(t->id());
  const WireValue& v = m.values[0];
  if (v.kind != static_cast<uint8_t>(ValueKind::kValue)) return OnFailed(t, v.kind, v.bytes);
  EndAt(t->id(), s, std::min(m.items, s->known));
  // Its one return has them all: the stream is done with.
  if (t->tmpl->stream == StreamKind::kDynamic) Close(t->id());
}

void StreamOwner::OnFailed(Task* t, uint8_t kind, const Blob& error) {
  Stream* s = Find(t->id());
  if (!s->end) {  // a run for lost items leaves the end as it was
    s->error_kind = kind;
    s->error = error;
  }
  EndAt(t->id(), s, s->known, kind, error);
  if (t->tmpl->stream == StreamKind::kDynamic) Close(t->id());
}

// What was delivered stands, if the task gave fewer now; what was lost and did not come again fails, with its
// task's error if that has one. (What came again and was lost once more is `late`, or nobody has asked for
// it.)
void StreamOwner::EndAt(const TaskId& task, Stream* s, uint32_t end, uint8_t kind, const Blob& error) {
  s->end = std::max(end, s->known);
  for (uint32_t i = std::max(s->lost.value_or(*s->end), s->arrived); i < s->top; ++i) {
    Entry* e = objects_->Find(ItemId(task, i));
    if (e == nullptr || !e->pending() || !e->wanted()) continue;
    if (kind != 0 && i < *s->end) {
      objects_->SetInline(e, kind, error);
    } else {
      SetMissing(e, *s, i);
    }
  }
  s->lost.reset();
}

void StreamOwner::Await(const Entry* item, const Task& t) {
  Stream* s = Find(item->id.task);
  const uint32_t number = item->id.index - ItemId(item->id.task, 0).index;
  const bool between = WorkerOf(t).nil();
  if (between) s->arrived = 0;
  if (between || number >= std::max(s->from, s->arrived)) {
    s->lost = std::min(s->lost.value_or(number), number);
  } else if (std::find(s->late.begin(), s->late.end(), number) == s->late.end()) {
    s->late.push_back(number);
  }
}

// The refs that a dynamic task returns are to its items. If its return is to be made again, so are those that
// went with it.
void StreamOwner::Reopen(const Task& t) {
  Stream* s = Find(t.id());
  s->arrived = 0;
  Entry* completion = objects_->ReturnOf(t.record, 0);
  if (t.tmpl->stream != StreamKind::kDynamic || !completion->live || !completion->pending()) return;
  s->closed = false;
  s->read = 0;
  objects_->AddHold(completion);
  for (uint32_t i = 0; i < s->top; ++i) {
    Entry* e = objects_->Find(ItemId(t.id(), i));
    if (e != nullptr) {
      objects_->AddHold(e);
    } else {
      e = objects_->NewItem(t.record, ItemId(t.id(), i));
    }
    if (e->pending()) s->lost = std::min(s->lost.value_or(i), i);
  }
}

std::vector<ObjectId> StreamOwner::OnDone(Task* t, bool kept) {
  Stream* s = Find(t->id());
  std::vector<ObjectId> late;
  for (uint32_t item : s->late) late.push_back(ItemId(t->id(), item));
  s->late.clear();
  if (s->closed && !kept) streams_.erase(t->id());
  return late;
}

void StreamOwner::OnDropped(const TaskId& task) {
  const Stream* s = Find(task);
  if (s != nullptr && s->closed) streams_.erase(task);
}

bool StreamOwner::Expects(const ObjectId& item) const {
  const Stream* s = Find(item.task);
  return s != nullptr && !s->end && item.index >= ItemId(item.task, s->known).index;
}

void StreamOwner::FreeUnannounced(const Task& t, uint32_t node) {
  outbox_->Send(RayletOf(node), MsgType::kFreeItems, ItemRef{t.id(), t.attempt, Find(t.id())->arrived});
}

}  // namespace rmpi::core
