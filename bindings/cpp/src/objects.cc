// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/objects.h"

#include <algorithm>
#include <new>
#include <unordered_set>
#include <utility>

#include "bindings/cpp/src/session.h"

namespace rmpi::cpp {
namespace {

using KeepAlive = std::shared_ptr<const void>;
static_assert(sizeof(KeepAlive) == sizeof(abi::Owner) && alignof(KeepAlive) == alignof(abi::Owner));

abi::Code CheckLive(CoreWorker* core, const BorrowedRefs& refs) {
  for (size_t i = 0; i < refs.size(); ++i) {
    if (!core->Knows(refs[i])) return FailStaleRef();
  }
  return abi::kOk;
}

// Reads what is there. kOk with `*there` false: not ready, not on this node, or lost since.
abi::Code TryRead(CoreWorker* core, const Ref& ref, ValueView* view, bool* there) {
  *there = false;
  if (!ref.ready()) return abi::kOk;
  const Status status = core->Read(ref, view);
  if (status.code() == StatusCode::kUnavailable) return abi::kOk;
  if (!status.ok()) return Fail(status);
  if (view->kind != ValueKind::kValue) return FailWith(*view, ref);
  *there = true;
  return abi::kOk;
}

void HandOut(ValueView&& view, abi::ValueOut* out) {
  out->data = view.bytes.data();
  out->size = view.bytes.size();
  new (&out->owner) KeepAlive(std::move(view.keep_alive));
}

abi::Code FailTimeout(size_t missing, size_t total, int64_t timeout_ms) {
  return Fail(abi::kTimeout, "Get timed out after " + std::to_string(timeout_ms) +
                                 " ms: " + std::to_string(missing) + " of " + std::to_string(total) +
                                 " object(s) not ready.");
}

// Fills `views` until all are there; keeps what it has read between rounds.
class Reader {
 public:
  Reader(CoreWorker* core, const BorrowedRefs& refs)
      : core_(core), refs_(refs), views_(refs.size()), done_(refs.size()) {}

  abi::Code Sweep() {
    for (size_t i = 0; i < refs_.size(); ++i) {
      if (done_[i]) continue;
      bool there = false;
      if (const abi::Code code = TryRead(core_, refs_[i], &views_[i], &there); code != abi::kOk) return code;
      if (there) {
        done_[i] = true;
        ++count_;
      }
    }
    return abi::kOk;
  }
  size_t missing() const { return refs_.size() - count_; }
  std::vector<const Ref*> MissingRefs() const {
    std::vector<const Ref*> out;
    for (size_t i = 0; i < refs_.size(); ++i) {
      if (!done_[i]) out.push_back(&refs_[i]);
    }
    return out;
  }
  void Take(abi::ValueOut* out) {
    for (size_t i = 0; i < refs_.size(); ++i) HandOut(std::move(views_[i]), &out[i]);
  }

 private:
  CoreWorker* core_;
  const BorrowedRefs& refs_;
  std::vector<ValueView> views_;
  std::vector<bool> done_;
  size_t count_ = 0;
};

abi::Code GetOne(CoreWorker* core, abi::Handle handle, int64_t timeout_ms, abi::ValueOut* out) {
  const BorrowedRef borrowed(handle);
  const Ref& ref = *borrowed;
  if (!core->Knows(ref)) return FailStaleRef();
  const TimeNs deadline = DeadlineOf(timeout_ms);
  for (;;) {
    ValueView view;
    bool there = false;
    if (const abi::Code code = TryRead(core, ref, &view, &there); code != abi::kOk) return code;
    if (there) {
      HandOut(std::move(view), out);
      return abi::kOk;
    }
    const Ref* one[] = {&ref};
    size_t ready = 0;
    if (const abi::Code code = WaitFor(core, one, 1, deadline, false, &ready); code != abi::kOk) return code;
    if (ready == 0) return FailTimeout(1, 1, timeout_ms);
  }
}

abi::Code GetMany(CoreWorker* core, const abi::Handle* handles, uint64_t count, int64_t timeout_ms,
                  abi::ValueOut* out) {
  const BorrowedRefs refs(handles, count);
  if (const abi::Code code = CheckLive(core, refs); code != abi::kOk) return code;
  const TimeNs deadline = DeadlineOf(timeout_ms);
  Reader reader(core, refs);
  for (bool time_over = false;;) {
    if (const abi::Code code = reader.Sweep(); code != abi::kOk)
      return code;  // an error, as soon as it is known
    if (reader.missing() == 0) break;
    if (time_over) return FailTimeout(reader.missing(), count, timeout_ms);
    const std::vector<const Ref*> missing = reader.MissingRefs();
    size_t ready = 0;
    const abi::Code code = WaitFor(core, missing, missing.size(), deadline, true, &ready);
    if (code != abi::kOk) return code;
    time_over = ready < missing.size() && MonotonicNow() >= deadline;
  }
  reader.Take(out);
  return abi::kOk;
}

// Marks up to `want` refs that are ready and on this node, in their order.
abi::Code MarkReady(CoreWorker* core, const BorrowedRefs& refs, size_t want, unsigned char* marks,
                    size_t* found) {
  *found = 0;
  std::fill(marks, marks + refs.size(), static_cast<unsigned char>(0));
  for (size_t i = 0; i < refs.size() && *found < want; ++i) {
    if (!refs[i].ready()) continue;
    size_t local = 0;
    const Ref* one[] = {&refs[i]};
    const Status status = core->Wait(one, 1, 0, true, &local);  // a deadline in the past: only a look
    if (local == 0) {
      const bool only_not_yet =
          status.code() == StatusCode::kTimeout || status.code() == StatusCode::kInterrupted;
      if (!status.ok() && !only_not_yet) return Fail(status);
      continue;
    }
    marks[i] = 1;
    ++*found;
  }
  return abi::kOk;
}

}  // namespace

abi::Code FailStaleRef() {
  return Fail(abi::kError, "this ray::ObjectRef is of a session that has ended with ray::Shutdown()");
}

abi::Code Put(const abi::ValueIn* in, abi::Handle* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  ValueSource source;
  source.size = SizeOf(*in);
  source.write = [in](std::byte* dest) { Gather(*in, dest); };
  source.contained = BorrowedRefs(in->refs, in->ref_count).Copies();
  Ref ref;
  Status status;
  do {
    status = core->Put(source, &ref);
  } while (status.code() == StatusCode::kInterrupted);
  if (!status.ok()) return Fail(status);
  *out = ref.Release();
  return abi::kOk;
}

abi::Code Get(const abi::Handle* handles, uint64_t count, int64_t timeout_ms, abi::ValueOut* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  if (count == 1) return GetOne(core.get(), handles[0], timeout_ms, out);
  return GetMany(core.get(), handles, count, timeout_ms, out);
}

abi::Code Wait(const abi::Handle* handles, uint64_t count, uint64_t num_ready, int64_t timeout_ms,
               unsigned char* marks) {
  const InCore core;
  if (!core) return FailNotConnected();
  if (num_ready == 0 || num_ready > count) {
    return Fail(abi::kError, "ray::Wait: num_objects must be between 1 and the number of objects, " +
                                 std::to_string(count) + ", but is " + std::to_string(num_ready));
  }
  if (std::unordered_set<abi::Handle>(handles, handles + count).size() != count) {
    return Fail(abi::kError, "ray::Wait: an object stands in the list twice");
  }
  const BorrowedRefs refs(handles, count);
  if (const abi::Code code = CheckLive(core.get(), refs); code != abi::kOk) return code;
  std::vector<const Ref*> all;
  for (size_t i = 0; i < refs.size(); ++i) all.push_back(&refs[i]);
  const TimeNs deadline = DeadlineOf(timeout_ms);
  size_t found = 0;
  if (const abi::Code code = MarkReady(core.get(), refs, num_ready, marks, &found); code != abi::kOk)
    return code;
  while (found < num_ready) {
    size_t ready = 0;
    const abi::Code code = WaitFor(core.get(), all, num_ready, deadline, false, &ready);
    if (code != abi::kOk) return code;
    if (const abi::Code code = MarkReady(core.get(), refs, num_ready, marks, &found); code != abi::kOk)
      return code;
    if (ready < num_ready) break;  // the time is over
  }
  return abi::kOk;
}

abi::Handle RefCopy(abi::Handle h) {
  Ref ref = Adopt(h);
  Ref copy = ref;
  (void)ref.Release();
  return copy.Release();
}

void RefDrop(abi::Handle h) {
  const InCore core;  // the count may be the last one: Shutdown waits for us
  const Ref last = Adopt(h);
}

void RefId(abi::Handle h, unsigned char* id) {
  Ref ref = Adopt(h);
  const auto bytes = ToBinary(ref.id());
  (void)ref.Release();
  std::copy(bytes.begin(), bytes.end(), id);
}

abi::Code RefFromId(const unsigned char* id, abi::Handle outer, abi::Handle* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  ObjectId object;
  if (!FromBinary({reinterpret_cast<const char*>(id), kObjectIdSize}, &object)) {
    return Fail(abi::kError, "these 28 bytes are no id of an object");
  }
  Ref protector = Adopt(outer);
  Ref ref;
  const Status status = core->Borrow(object, protector, &ref);
  (void)protector.Release();
  if (!status.ok()) return Fail(status);
  *out = ref.Release();
  return abi::kOk;
}

abi::Code RefPin(abi::Handle h) {
  const InCore core;
  if (!core) return FailNotConnected();
  const BorrowedRefs refs(&h, 1);
  if (const abi::Code code = CheckLive(core.get(), refs); code != abi::kOk) return code;
  core->PinForJob(refs[0]);
  return abi::kOk;
}

void OwnerCopy(const abi::Owner* owner, abi::Owner* out) {
  new (out) KeepAlive(*reinterpret_cast<const KeepAlive*>(owner));
}

void OwnerDrop(abi::Owner* owner) {
  const InCore core;
  reinterpret_cast<KeepAlive*>(owner)->~KeepAlive();
  *owner = abi::Owner{};
}

}  // namespace rmpi::cpp
