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
  Record* record = objects_->FindRecord(task.sequence);
  const uint32_t read = s->read, top = s->top;
  for (uint32_t i = read; i < top; ++i) {
    Entry* e = objects_->Find(ItemId(task, i));
    if (e->pending()) SetMissing(e, *s, i);  // somebody may wait for it
    objects_->DropHold(e);
  }
  if (s->done) streams_.erase(task);
  objects_->DropHold(objects_->ReturnOf(record, 0));
}

void StreamOwner::TellProducer(const TaskId& task, uint32_t read) {
  const Task* t = tasks_->Find(task);
  if (t == nullptr || (t->tmpl->window == 0 && read != kNoItems)) return;
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
  s->arrived = 0;
  p->items_known = s->lost ? *s->lost : s->closed ? kNoItems : s->known;
  p->items_read = s->closed ? kAllRead : s->read;
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
  if (s->closed || (s->end && m.item >= *s->end)) return false;
  Entry* e = m.item < s->read ? objects_->Find(ItemId(m.task, m.item)) : Slot(t.id(), s, m.item);
  if (e == nullptr || !e->pending()) return false;  // let go of, or there from a former attempt
  s->known = std::max(s->known, m.item + 1);
  objects_->SetMade(e, m.value);
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
  s->error_kind = kind;
  s->error = error;
  EndAt(t->id(), s, s->known);
  if (t->tmpl->stream == StreamKind::kDynamic) Close(t->id());
}

// What was delivered stands, if the task gave fewer now; what was lost and did not come again fails.
void StreamOwner::EndAt(const TaskId& task, Stream* s, uint32_t end) {
  s->end = std::max(end, s->known);
  for (uint32_t i = s->lost.value_or(*s->end); i < s->top; ++i) {
    Entry* e = objects_->Find(ItemId(task, i));
    if (e != nullptr && e->pending()) SetMissing(e, *s, i);
  }
}

bool StreamOwner::ComesAgain(const Entry* item) {
  Stream* s = Find(item->id.task);
  const Task* t = tasks_->Find(item->id.task);
  if (s == nullptr || t == nullptr || !WorkerOf(*t).nil()) return false;
  const uint32_t number = item->id.index - ItemId(item->id.task, 0).index;
  s->lost = std::min(s->lost.value_or(number), number);
  return true;
}

void StreamOwner::OnDone(Task* t) {
  Stream* s = Find(t->id());
  s->done = true;
  if (s->closed) streams_.erase(t->id());
}

bool StreamOwner::Expects(const ObjectId& item) const {
  const Stream* s = Find(item.task);
  return s != nullptr && !s->end && item.index >= ItemId(item.task, s->known).index;
}

void StreamOwner::FreeUnannounced(const Task& t, uint32_t node) {
  outbox_->Send(RayletOf(node), MsgType::kFreeItems, ItemRef{t.id(), t.attempt, Find(t.id())->arrived});
}

}  // namespace rmpi::core
