// SPDX-License-Identifier: Apache-2.0
// CoreWorker: put, wait, read, borrow.
#include <algorithm>

#include "runtime/worker/impl.h"
#include "runtime/worker/pressure.h"

namespace rmpi {

using core::Entry;
using core::EntryState;

namespace {

std::mutex g_pressure_mutex;
void (*g_on_pressure)() = nullptr;

}  // namespace

void OnStorePressure(void (*fn)()) {
  const std::lock_guard<std::mutex> lock(g_pressure_mutex);
  g_on_pressure = fn;
}

Ref CoreWorker::Impl::Handle(Entry* e) {
  e->handles.fetch_add(1, std::memory_order_relaxed);
  return Ref(e);
}

bool CoreWorker::Impl::Ready(Entry* e, bool fetch) {
  switch (e->state.load(std::memory_order_acquire)) {
    case EntryState::kInline:
      e->looked_at = true;
      return true;
    case EntryState::kStored:
      return !fetch || core_.objects().PlaceHere(*e).node != 0 || fetch_full_.count(e->id) != 0;
    default:
      return false;
  }
}

void CoreWorker::Impl::RequestFetch(Entry* e) {
  core::Details& d = e->more();
  if (d.fetch != core::Fetch::kNone) return;
  d.fetch = core::Fetch::kRequested;
  Pull pull;
  pull.id = e->id;
  pull.attempt = d.attempt;
  pull.size = d.size;
  pull.places = d.places;
  Send(RayletOf(self_.node), MsgType::kPull, pull);
}

void CoreWorker::Impl::OnPullReply(const PullReply& m) {
  Entry* e = core_.objects().Find(m.id);
  if (e != nullptr && e->details && e->details->fetch == core::Fetch::kRequested &&
      e->details->attempt == m.attempt) {
    core::Details& d = *e->details;
    d.fetch = core::Fetch::kNone;
    if (m.full) {
      fetch_full_[m.id] = m.text;
    } else if (m.failed) {
      // None gone: a passing fault; whoever still waits asks again.
      for (uint32_t node : m.gone) core_.objects().MissedOn(e, node);
    } else {
      d.fetch = core::Fetch::kLocal;
      d.local = m.place;
      if (e->kind != static_cast<uint8_t>(ValueKind::kValue))
        core_.objects().NoteError();  // it can be read now
    }
  }
  const auto it = local_callbacks_.find(m.id);
  if (it == local_callbacks_.end()) return;
  for (auto& fn : it->second) {
    if (e != nullptr) core_.objects().AddCallback(e, std::move(fn));
  }
  local_callbacks_.erase(it);
}

Status CoreWorker::Wait(std::span<const Ref* const> refs, size_t num_ready, TimeNs deadline, bool fetch,
                        size_t* ready, const WaitHooks* hooks) {
  Impl& impl = *impl_;
  std::unique_lock<std::mutex> lock(impl.mutex_);
  const bool all = num_ready >= refs.size();
  size_t next = 0;  // all: everything before it is ready
  const bool stop_at_error = hooks != nullptr && hooks->stop_at_error;
  uint64_t errors_seen = 0;
  const auto failed = [&] {  // looked for only when there are new errors
    const uint64_t errors = impl.core_.objects().errors();
    if (std::exchange(errors_seen, errors) == errors) return false;
    return std::any_of(refs.begin(), refs.end(), [&](const Ref* r) {
      return impl.Ready(r->entry(), fetch) && r->entry()->kind != static_cast<uint8_t>(ValueKind::kValue);
    });
  };
  const auto look = [&] {
    size_t count = 0;
    for (size_t i = all ? next : 0; i < refs.size(); ++i) {
      Entry* e = refs[i]->entry();
      if (impl.Ready(e, fetch)) {
        if (!all && ++count >= num_ready) break;
        if (all && i == next) ++next;
        continue;
      }
      if (e->pending()) {
        impl.core_.objects().Resolve(e);
      } else if (fetch) {
        impl.RequestFetch(e);
      }
      // What comes after the first unready one was asked for in the first look.
      if (all && next != 0 && i > next) break;
    }
    *ready = all ? next : count;
    return *ready >= num_ready || (stop_at_error && failed());
  };
  // The first look asks for everything that is not here yet.
  for (const Ref* r : refs) {
    Entry* e = r->entry();
    if (e->pending()) {
      impl.core_.objects().Resolve(e);
    } else if (fetch && !impl.Ready(e, true)) {
      impl.RequestFetch(e);
    }
  }
  return impl.WaitUntil(lock, deadline, impl.InTask(), look, hooks != nullptr ? hooks->go_on : nullptr);
}

Status CoreWorker::Impl::Pinned(const ObjectId& id, uint32_t attempt, const Place& place, uint64_t size,
                                ValueView* out) {
  const objstore::Locator at{place.node, place.segment, place.offset, size};
  if (!arena_->Contains(at)) return Status::Internal("a locator outside of this node's object store");
  switch (client_->Pin(at, id, attempt)) {
    case objstore::Client::PinResult::kPinned: {
      objstore::Client* client = client_.get();
      const uint32_t epoch = epoch_;
      out->bytes = {arena_->data(place.offset), size};
      out->in_store = true;
      // The mapping stays, too: the value may be used after the end of the session.
      const auto unpin = [client, at, epoch, arena = arena_](const void*) {
        CoreWorker* worker = CoreWorker::Current();
        if (worker != nullptr && worker->impl_->epoch_ == epoch) client->Unpin(at);
      };
      out->keep_alive = std::shared_ptr<const void>(arena_->data(place.offset), unpin);
      return Status::Ok();
    }
    case objstore::Client::PinResult::kTableFull: {
      Blob copy = Blob::Allocate(size);
      if (client_->CopyOut(at, id, attempt, copy.mutable_data()) != objstore::Client::PinResult::kPinned)
        break;
      out->bytes = copy.bytes();
      out->keep_alive = std::make_shared<Blob>(std::move(copy));
      return Status::Ok();
    }
    case objstore::Client::PinResult::kGone:
      break;
  }
  return Status::Unavailable("object " + Hex(id) + " is no longer in this node's store");
}

Status CoreWorker::Read(const Ref& ref, ValueView* out) {
  Impl& impl = *impl_;
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  Entry* e = ref.entry();
  out->kind = static_cast<ValueKind>(e->kind);
  out->in_store = false;
  const EntryState state = e->state.load(std::memory_order_acquire);
  if (state == EntryState::kInline) {
    e->looked_at = true;
    out->bytes = e->value.bytes();
    out->keep_alive = std::make_shared<Blob>(e->value);
    return Status::Ok();
  }
  if (state == EntryState::kPending) return Status::Unavailable("object " + Hex(e->id) + " is not ready");
  if (const auto full = impl.fetch_full_.find(e->id); full != impl.fetch_full_.end()) {
    Status s = Status::StoreFull(full->second);
    impl.fetch_full_.erase(full);
    return s;
  }
  core::Details& d = *e->details;
  const Place place = impl.core_.objects().PlaceHere(*e);
  if (place.node == 0) return Status::Unavailable("object " + Hex(e->id) + " is not on this node");
  Status s = impl.Pinned(e->id, d.attempt, place, d.size, out);
  if (s.ok()) {
    if (d.places.empty() || d.places.front().node == impl.self_.node) impl.read_in_place_ += d.size;
    return s;
  }
  if (d.fetch == core::Fetch::kLocal) {
    d.fetch = core::Fetch::kNone;  // an evicted copy: it will be fetched again
  } else if (!impl.core_.objects().NotInMemoryHere(e)) {
    impl.core_.objects().MissedOn(e, impl.self_.node);
    impl.core_.Settle(MonotonicNow());
  }
  return s;
}

void CoreWorker::OnReady(const Ref& ref, std::function<void()> fn) { impl_->WhenReady(ref, std::move(fn)); }

// Ready first, then here; each step may find it so already, and what was ready may be lost in between.
void CoreWorker::Impl::WhenReady(const Ref& ref, std::function<void()> fn) {
  std::unique_lock<std::mutex> lock(mutex_);
  Entry* e = ref.entry();
  if (gone_ || Ready(e, true)) {
    lock.unlock();
    fn();
    return;
  }
  auto again = [this, ref, fn = std::move(fn)]() mutable { WhenReady(ref, std::move(fn)); };
  if (e->pending()) {
    core_.objects().Resolve(e);
    core_.objects().AddCallback(e, std::move(again));
  } else {
    RequestFetch(e);
    local_callbacks_[e->id].emplace_back(std::move(again));
  }
  FlushLanes();
}

Status CoreWorker::Borrow(const ObjectId& id, const Ref& outer, Ref* out) {
  Impl& impl = *impl_;
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  Entry* e = impl.core_.objects().Borrow(id, outer.entry());
  if (e == nullptr)
    return Status::NotFound("object " + Hex(id) + " is not (or no longer) known to its owner, this process");
  *out = impl.Handle(e);
  impl.core_.objects().DropHold(e);
  impl.FlushLanes();
  return Status::Ok();
}

void CoreWorker::PinForJob(const Ref& ref) {
  Impl& impl = *impl_;
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  impl.core_.objects().AddHold(ref.entry());
  impl.pinned_for_job_.push_back(ref.entry());
}

void CoreWorker::NoteOrigin(const Ref& ref, std::string text) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->core_.objects().NoteOrigin(*ref.entry(), std::move(text));
}

std::string CoreWorker::OriginOf(const ObjectId& id) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return impl_->core_.objects().OriginOf(id);
}

// ---- put --------------------------------------------------------------------------------------------------

void CoreWorker::Impl::OnReply(MsgType type, Bytes body) {
  if (type == MsgType::kGroupReady) return OnGroupReady(body);
  uint64_t nonce = 0;  // every answer to a call starts with that of the call
  Reader reader(body);
  reader(nonce);
  if (asked_.count(nonce) != 0) replies_[nonce] = Blob::Copy(body);
}

Status CoreWorker::Impl::Ask(std::unique_lock<std::mutex>& lock, uint64_t nonce, TimeNs deadline,
                             Blob* reply) {
  const Status s = WaitUntil(lock, deadline, false, [&] { return replies_.count(nonce) != 0; });
  if (s.code() == StatusCode::kInterrupted) return s;  // the caller asks again with the same nonce
  asked_.erase(nonce);
  if (!s.ok()) return s;
  const auto it = replies_.find(nonce);
  *reply = std::move(it->second);
  replies_.erase(it);
  return s;
}

Status CoreWorker::Impl::GetExtent(uint64_t bytes, std::unique_lock<std::mutex>& lock) {
  for (const objstore::Range& r : client_->TakeRetired()) {
    Send(RayletOf(self_.node), MsgType::kExtentReturn, ExtentReturn{r.offset, r.bytes});
  }
  ExtentRequest request;
  request.nonce = next_nonce_++;
  request.bytes = bytes;
  Send(RayletOf(self_.node), MsgType::kExtentRequest, request);
  Status s;
  do {
    s = WaitUntil(lock, kNever, false, [&] { return extents_.count(request.nonce) != 0; });
  } while (s.code() == StatusCode::kInterrupted);
  if (!s.ok()) return s;
  const ExtentReply reply = extents_.at(request.nonce);
  extents_.erase(request.nonce);
  if (reply.bytes == 0) {
    client_->ExtentRefused();
    if (reply.offset == objstore::kDisksAreFull) return Status::OutOfDisk(reply.text);
    return Status::StoreFull(reply.text);
  }
  client_->AddExtent({reply.offset, reply.bytes});
  return Status::Ok();
}

void CoreWorker::Impl::OnExtentReclaim() {
  for (const objstore::Range& r : client_->TakeUnusedExtents()) {
    Send(RayletOf(self_.node), MsgType::kExtentReturn, ExtentReturn{r.offset, r.bytes});
  }
  const std::lock_guard<std::mutex> lock(g_pressure_mutex);
  if (g_on_pressure != nullptr) g_on_pressure();
}

Status CoreWorker::Impl::StoreValue(const ValueSource& source, const ObjectId& id, uint32_t attempt,
                                    std::unique_lock<std::mutex>& lock, objstore::Locator* at) {
  for (bool refused = false;;) {
    uint64_t extent = 0;
    const auto result = client_->Create(id, attempt, source.size, at, &extent);
    if (result == objstore::Client::CreateResult::kOk) break;
    if (result == objstore::Client::CreateResult::kTooLarge) {
      return Status::StoreFull("an object of " + std::to_string(source.size) +
                               " bytes is larger than the object store of node " +
                               std::to_string(self_.node) + " (" + std::to_string(arena_->size()) +
                               " bytes): use smaller objects, or start with a larger --object-store-memory");
    }
    Status s = GetExtent(extent, lock);
    const bool full = s.code() == StatusCode::kStoreFull || s.code() == StatusCode::kOutOfDisk;
    if (full && !refused) {  // once more, for no more than the object needs
      refused = true;
      continue;
    }
    if (!s.ok()) return s;
  }
  lock.unlock();
  arena_->Populate(at->offset, at->size);
  source.write(arena_->data(at->offset));
  lock.lock();
  client_->Seal(*at);
  ObjectAt sealed;
  sealed.id = id;
  sealed.attempt = attempt;
  sealed.size = at->size;
  sealed.place = {self_.node, at->segment, at->offset};
  Send(RayletOf(self_.node), MsgType::kSealed, sealed);
  return Status::Ok();
}

Status CoreWorker::Put(const ValueSource& source, Ref* out) {
  Impl& impl = *impl_;
  const bool is_inline = source.size <= kInlineLimit && !source.to_store;
  Blob inline_value;
  if (is_inline) {
    inline_value = Blob::Allocate(source.size);
    source.write(inline_value.mutable_data());
  }
  std::unique_lock<std::mutex> lock(impl.mutex_);
  auto& objects = impl.core_.objects();
  core::Record* record = objects.NewRecord(TaskKind::kPut, 1);
  Entry* e = objects.ReturnOf(record, 0);
  for (const Ref& r : source.contained) {
    objects.AddHold(r.entry());
    e->more().contained.push_back(r.entry());
  }
  Status s;
  if (is_inline) {
    objects.SetInline(e, static_cast<uint8_t>(source.kind), std::move(inline_value));
  } else {
    objstore::Locator at;
    s = impl.StoreValue(source, e->id, 0, lock, &at);
    if (s.ok()) {
      objects.SetStored(e, static_cast<uint8_t>(source.kind), 0, at.size,
                        {{impl.self_.node, at.segment, at.offset}});
    }
  }
  if (s.ok()) *out = impl.Handle(e);
  objects.DropHold(e);
  impl.FlushLanes();
  return s;
}

}  // namespace rmpi
