// SPDX-License-Identifier: Apache-2.0
// Session: this process's CoreWorker as the C++ API sees it. Connected once at a time; threads that wait in
// it are counted, so that Shutdown can ask them to leave before it goes. Init and Shutdown hold a lock of
// their own, other calls only look at an atomic pointer.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bindings/cpp/src/failure.h"
#include "bindings/cpp/src/runtime_finder.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::cpp {

class Session {
 public:
  static Session& Get();

  abi::Code Init(const abi::Config& config);
  void Shutdown();
  // Of this process's job.
  abi::Code Namespace(std::string* out);
  abi::Code DetachesActors(bool* out);  // those that say nothing else

  // nullptr: not connected. The pointer stays good while an InCore lives.
  CoreWorker* core() const { return core_.load(std::memory_order_acquire); }
  // Grows with each connection: what was prepared for another one is void.
  uint64_t epoch() const { return epoch_.load(std::memory_order_relaxed); }
  bool is_worker() const { return is_worker_; }
  bool closing() const { return closing_.load(std::memory_order_relaxed); }

  // For worker.cc: takes the connection of a worker.
  Status ConnectWorker(uint64_t token, CoreWorker** core);
  void EndWorker();

 private:
  friend class InCore;
  // What the job's processes of all languages know of it.
  struct Settings {
    std::string ray_namespace;
    bool detaches_actors = false;
  };
  abi::Code InitDriver(const abi::Config& config);
  Status Connect(const std::string& session, const abi::Config& config,
                 const std::vector<std::string>& native_worker);
  void Close();
  void AbandonAfterFork();
  abi::Code GetSettings(Settings* out);

  std::mutex mutex_;  // Init and Shutdown
  std::atomic<CoreWorker*> core_{nullptr};
  std::unique_ptr<CoreWorker> owned_;
  Embedded embedded_;
  std::optional<Settings> settings_;  // of a worker: when asked for
  std::atomic<uint64_t> epoch_{0};
  std::atomic<bool> closing_{false};
  std::atomic<int> inside_{0};
  bool is_worker_ = false;
};

// Held by a thread that is inside the core.
class InCore {
 public:
  InCore() : session_(Session::Get()) {
    session_.inside_.fetch_add(1);
    core_ = session_.core();
  }
  ~InCore() { session_.inside_.fetch_sub(1); }
  InCore(const InCore&) = delete;
  InCore& operator=(const InCore&) = delete;

  explicit operator bool() const { return core_ != nullptr; }
  CoreWorker* operator->() const { return core_; }
  CoreWorker* get() const { return core_; }

 private:
  Session& session_;
  CoreWorker* core_;
};

// The failure of every call without a connection.
abi::Code FailNotConnected();

// Handles are Refs whose one count the caller holds.
inline Ref Adopt(abi::Handle h) { return Ref::Adopt(static_cast<core::Entry*>(h)); }

// The Ref of a handle that stays the caller's.
class BorrowedRef {
 public:
  explicit BorrowedRef(abi::Handle h) : ref_(Adopt(h)) {}
  BorrowedRef(const BorrowedRef&) = delete;
  BorrowedRef& operator=(const BorrowedRef&) = delete;
  ~BorrowedRef() { (void)ref_.Release(); }
  const Ref& operator*() const { return ref_; }

 private:
  Ref ref_;
};

// Refs of handles that stay the caller's.
class BorrowedRefs {
 public:
  BorrowedRefs(const abi::Handle* handles, uint64_t count) {
    refs_.reserve(count);
    for (uint64_t i = 0; i < count; ++i) refs_.push_back(Adopt(handles[i]));
  }
  BorrowedRefs(const BorrowedRefs&) = delete;
  BorrowedRefs& operator=(const BorrowedRefs&) = delete;
  ~BorrowedRefs() {
    for (Ref& ref : refs_) (void)ref.Release();
  }
  // Counts of their own.
  std::vector<Ref> Copies() const { return refs_; }
  const Ref& operator[](size_t i) const { return refs_[i]; }
  size_t size() const { return refs_.size(); }

 private:
  std::vector<Ref> refs_;
};

// Waits until so many are ready and on this node. kOk also when the time is over, or (stop_at_error) one of
// them is an error: look at `ready`. Fails when Shutdown or the task's cancel ends the waiting.
abi::Code WaitFor(CoreWorker* core, std::span<const Ref* const> refs, size_t num_ready, TimeNs deadline,
                  bool stop_at_error, size_t* ready);
abi::Code WaitForRoom(CoreWorker* core);  // until more calls may be submitted
// Milliseconds to a deadline; negative: never.
TimeNs DeadlineOf(int64_t timeout_ms);

// Copies the pieces of a value to its place.
void Gather(const abi::ValueIn& in, std::byte* dest);
uint64_t SizeOf(const abi::ValueIn& in);

}  // namespace rmpi::cpp
