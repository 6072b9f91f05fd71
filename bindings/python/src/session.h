// SPDX-License-Identifier: Apache-2.0
// The process's CoreWorker as Python sees it: connected once at a time, counted while threads wait in it, so
// that shutdown can ask them to leave before it goes. Touched with the GIL held, except where marked.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "bindings/python/src/py.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::python {

class Session {
 public:
  static Session& Get();

  void Connect(const CoreWorker::Options& options);
  // Asks waiting threads to leave (bounded), then ends the job. Safe when not connected.
  void Disconnect();
  // In a forked child of user code: the core belongs to the parent. Forgets it without touching it.
  void AbandonAfterFork();

  bool connected() const { return core_ != nullptr; }
  // Grows with each Connect: what was prepared or exported for another session is void. 0: not connected.
  uint64_t epoch() const { return core_ == nullptr ? 0 : epoch_; }
  // The core, or a RaySystemError that says how to get one.
  CoreWorker* core();
  // The same, but starts the runtime first when the user has not (Ray's rule for most of its calls).
  CoreWorker* CoreOrStart();

  // Whether it is written down where refs are made (RAY_record_ref_creation_sites); costs microseconds each.
  bool records_origins() const { return records_origins_; }

  bool closing() const { return closing_.load(std::memory_order_relaxed); }  // any thread

 private:
  friend class InCore;
  std::unique_ptr<CoreWorker> core_;
  uint64_t epoch_ = 0;
  bool records_origins_ = false;
  std::atomic<bool> closing_{false};
  std::atomic<int> waiting_{0};
};

// Held by a thread that is inside the core without the GIL.
class InCore {
 public:
  InCore() { Session::Get().waiting_.fetch_add(1); }
  ~InCore() { Session::Get().waiting_.fetch_sub(1); }
  InCore(const InCore&) = delete;
  InCore& operator=(const InCore&) = delete;
};

// Waits with the GIL released until num_ready of refs are ready (fetch: and local) or the deadline passes.
// Signals are handled on the way, so it throws what a handler raises. Returns how many are ready; with
// stop_at_error it returns as soon as one of them is known to be an error, too.
size_t WaitFor(std::span<const Ref* const> refs, size_t num_ready, TimeNs deadline, bool fetch,
               bool stop_at_error = false);

// Waits with the GIL released until the reader of this task's items is near enough for one more.
void WaitForReader(CoreWorker* core, const ExecTask& task, ItemPlan* plan);

// The next item of a stream, or false: kNotFound, or kTimeout. Else as WaitFor.
bool NextItem(const Ref& stream, TimeNs deadline, Ref* item, StatusCode* why_not);

// Waits with the GIL released until more calls may be submitted.
void WaitForRoom(CoreWorker* core);

}  // namespace rmpi::python
