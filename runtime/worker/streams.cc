// SPDX-License-Identifier: Apache-2.0
// CoreWorker: the items of streams, at the worker that yields them and at the process that reads them.
#include "runtime/worker/impl.h"

namespace rmpi {

using core::Entry;
using core::ExecItem;
using Look = core::StreamOwner::Look;

namespace {

ExecItem* ItemOf(const ExecTask& task) { return static_cast<ExecItem*>(task.internal); }

}  // namespace

// ---- the worker -------------------------------------------------------------------------------------------

ItemPlan CoreWorker::Impl::PlanItem(const core::StreamRun& stream) const {
  ItemPlan plan;
  plan.send = stream.wants_next();
  plan.wait = !stream.may_go_on() || (plan.send && !RoomNow());
  plan.stop = stream.orphaned;
  return plan;
}

ItemPlan CoreWorker::PlanItem(const ExecTask& task) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return impl_->PlanItem(*ItemOf(task)->stream);
}

Status CoreWorker::Yield(const ExecTask& task, const ValueSource* item, ItemPlan* next) {
  Impl& impl = *impl_;
  std::unique_lock<std::mutex> lock(impl.mutex_, std::defer_lock);
  if (item != nullptr) {
    Status s = impl.SendItem(task, *item, lock);
    if (!s.ok()) return s;
  } else {
    lock.lock();
    ++ItemOf(task)->stream->next;
  }
  *next = impl.PlanItem(*ItemOf(task)->stream);
  return Status::Ok();
}

Status CoreWorker::Impl::SendItem(const ExecTask& task, const ValueSource& value,
                                  std::unique_lock<std::mutex>& lock) {
  WireValue wire;
  wire.kind = static_cast<uint8_t>(value.kind);
  for (const Ref& r : value.contained) wire.contained.push_back(r.id());
  const bool stored = value.size > kInlineLimit;
  if (!stored) {
    wire.bytes = Blob::Allocate(value.size);
    value.write(wire.bytes.mutable_data());
  }
  lock.lock();
  ExecItem* item = ItemOf(task);
  if (stored) {
    objstore::Locator at;
    if (Status s = StoreValue(value, ItemId(task.id, item->stream->next), task.attempt, lock, &at); !s.ok())
      return s;
    wire.state = ValueState::kStored;
    wire.attempt = task.attempt;
    wire.size = at.size;
    wire.places = {{self_.node, at.segment, at.offset}};
  }
  std::vector<Entry*> contained;
  for (const Ref& r : value.contained) {
    core_.objects().AddHold(r.entry());
    contained.push_back(r.entry());
  }
  core_.executor().Yield(item, std::move(wire), std::move(contained));
  FlushLanes();
  return Status::Ok();
}

Status CoreWorker::WaitForReader(const ExecTask& task, ItemPlan* next, const WaitHooks* hooks) {
  Impl& impl = *impl_;
  const core::StreamRun& stream = *ItemOf(task)->stream;
  std::unique_lock<std::mutex> lock(impl.mutex_);
  const auto ready = [&] { return !impl.PlanItem(stream).wait; };
  if (!ready()) {
    const Status s =
        impl.WaitUntil(lock, kNever, impl.OnMainThread(), ready, hooks != nullptr ? hooks->go_on : nullptr);
    if (!s.ok()) return s;
  }
  *next = impl.PlanItem(stream);
  return Status::Ok();
}

void CoreWorker::OnReaderNear(const ExecTask& task, std::function<void()> fn) {
  std::unique_lock<std::mutex> lock(impl_->mutex_);
  core::StreamRun& stream = *ItemOf(task)->stream;
  if (!stream.may_go_on() && !impl_->gone_) {
    stream.waiting.push_back(std::move(fn));
    return;
  }
  lock.unlock();
  fn();
}

uint32_t CoreWorker::ItemsYielded(const ExecTask& task) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return ItemOf(task)->stream->next;
}

Status CoreWorker::RefToItem(const ExecTask& task, uint32_t item, Ref* out) {
  return Borrow(ItemId(task.id, item), Ref(), out);
}

// ---- the reader -------------------------------------------------------------------------------------------

Status CoreWorker::NextItem(const Ref& stream, TimeNs deadline, Ref* item, const WaitHooks* hooks) {
  Impl& impl = *impl_;
  const TaskId task = stream.id().task;
  std::unique_lock<std::mutex> lock(impl.mutex_);
  core::StreamOwner& streams = impl.core_.streams();
  Look look = streams.LookAtNext(task);
  if (look == Look::kNotYet) {
    const auto known = [&] { return (look = streams.LookAtNext(task)) != Look::kNotYet; };
    const Status s =
        impl.WaitUntil(lock, deadline, impl.InTask(), known, hooks != nullptr ? hooks->go_on : nullptr);
    if (!s.ok()) return s;
  }
  if (look == Look::kEnded) return Status::NotFound("the stream has ended");
  Entry* e = streams.TakeNext(task);
  *item = impl.Handle(e);
  impl.core_.objects().DropHold(e);
  impl.HandleOwnMail();  // its producer may be in this process
  impl.FlushLanes();
  return Status::Ok();
}

Status CoreWorker::PeekItem(const Ref& stream, uint32_t ahead, Ref* item) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  Entry* e = impl_->core_.streams().Peek(stream.id().task, ahead);
  if (e == nullptr) return Status::NotFound("there is no such stream");
  *item = impl_->Handle(e);
  return Status::Ok();
}

StreamIs CoreWorker::LookAtStream(const Ref& stream) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  switch (impl_->core_.streams().LookAtNext(stream.id().task)) {
    case Look::kItem:
      return StreamIs::kReady;
    case Look::kNotYet:
      return StreamIs::kPending;
    case Look::kEnded:
      break;
  }
  const bool well = stream.entry()->kind == static_cast<uint8_t>(ValueKind::kValue);
  return well ? StreamIs::kEnded : StreamIs::kFailed;
}

void CoreWorker::CloseStream(const Ref& stream) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->core_.streams().Close(stream.id().task);
  impl_->HandleOwnMail();
  impl_->Started(MonotonicNow());
}

}  // namespace rmpi
