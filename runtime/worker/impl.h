// SPDX-License-Identifier: Apache-2.0
// The inside of CoreWorker.
//
// Threads. `mutex_` is the core lock: it guards core_, port_ (but for what port.h allows), client_ and the
// maps here. At most one thread *drives* (drains the port, sleeps on it): whoever waits in a call; others
// that wait at the same time sleep on progress_. While nobody waits, the background thread is rung by
// incoming mail. What a thread changes by itself (a cancel) rings nobody: FlushLanes, at the end of every
// call, wakes whom it concerns.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "objstore/arena.h"
#include "objstore/client.h"
#include "objstore/copy.h"
#include "objstore/pin_table.h"
#include "runtime/core/core.h"
#include "runtime/devices/devices.h"
#include "runtime/lane/board.h"
#include "runtime/lane/claim_writer.h"
#include "runtime/lane/port.h"
#include "runtime/raylet/handshake.h"
#include "runtime/worker/core_worker.h"
#include "runtime/worker/log_printer.h"

namespace rmpi {

constexpr TimeNs kAnswerPatience = 60 * kSecond;  // with the GCS
constexpr char kRuntimeGone[] = "the ray-mpi runtime of this node is gone";

Blob BytesOf(const TaskArgs& args);

struct PreparedTemplate {
  std::shared_ptr<core::Template> tmpl;
  bool inherits = false;
  mutable std::map<uint32_t, std::shared_ptr<core::Template>> captured;  // by group: the same in there
};

struct CoreWorker::Impl : public Outbox, public core::Core::Host {
  Impl() : core_(this, this) {}

  // ---- connection (connect.cc)
  Status Connect(const Options& options);
  void Disconnect();
  bool RayletGone();  // looks at the socket

  // ---- Outbox
  void Post(const Address& to, MsgType type, Bytes body) override;

  // ---- driving (drive.cc)
  // Drains a batch and acts on it. Lock held. Returns how many messages there were.
  size_t DrainLocked();
  // Waits until pred() (called with the lock held). kTimeout, kInterrupted, kUnavailable as core_worker.h
  // says.
  template <class Pred>
  Status WaitUntil(std::unique_lock<std::mutex>& lock, TimeNs deadline, bool in_task, Pred&& pred,
                   const std::function<bool()>& go_on = {});
  Status SleepOnce(std::unique_lock<std::mutex>& lock, TimeNs deadline, bool* spun);
  // Runs go_on as a thread that does not wait would.
  bool StepOut(std::unique_lock<std::mutex>& lock, const std::function<bool()>& go_on);
  void Leave();
  void WakeOthers();
  void BecomeGone();
  // The thread that main() runs in, to which the kernel delivers signals.
  static bool OnProcessMain();
  bool OnMainThread() const { return has_main_thread_ && pthread_equal(main_thread_, pthread_self()) != 0; }
  void Background();
  // Callbacks that became due, run without the lock.
  void RunDue(std::unique_lock<std::mutex>& lock);
  void FlushLanes();  // and wakes who must see what was changed

  // ---- objects
  bool Ready(core::Entry* e, bool fetch);
  void WhenReady(const Ref& ref, std::function<void()> fn);
  void RequestFetch(core::Entry* e);
  Status StoreValue(const ValueSource& source, const ObjectId& id, uint32_t attempt,
                    std::unique_lock<std::mutex>& lock, objstore::Locator* at);
  Status GetExtent(uint64_t bytes, std::unique_lock<std::mutex>& lock);
  Ref Handle(core::Entry* e);
  Status Pinned(const ObjectId& id, uint32_t attempt, const Place& place, uint64_t size, ValueView* out);
  template <class Request, class Reply>
  Status Call(const Address& to, MsgType type, Request request, TimeNs deadline, Reply* reply);
  Status Ask(std::unique_lock<std::mutex>& lock, uint64_t nonce, TimeNs deadline, Blob* reply);

  // ---- tasks (tasks.cc)
  // What this thread runs; of a thread that user code made: what its process runs, if that is one task.
  const core::ExecItem* Current() const;
  bool InTask() const { return mode_ == Mode::kWorker && OnMainThread() && Current() != nullptr; }
  core::Task* NewTask(TaskKind kind, const PreparedTemplate& t, Blob bytes, const TaskArgs& args);
  void WakeForNext();
  Status NextTask(ExecTask* out, uint32_t group, bool wait);
  bool Leaving();
  void TakeReturns(core::Task* task, std::vector<Ref>* returns);
  void Started(TimeNs now);
  bool RoomNow() const;  // as HasRoom() should say
  void HandleOwnMail();  // what this process sent to itself

  // ---- placement groups (groups.cc)
  Status AskForGroups(GroupOp op, GroupRecord about, GroupReply* reply);
  void OnGroupReady(Bytes body);
  CurrentGroup GroupOfThis() const;
  const std::shared_ptr<core::Template>& TemplateHere(const PreparedTemplate& t);

  // ---- streams (streams.cc)
  ItemPlan PlanItem(const core::StreamRun& stream) const;
  Status SendItem(const ExecTask& task, const ValueSource& value, std::unique_lock<std::mutex>& lock);

  // ---- devices (tasks.cc)
  Status ReadDeviceNames();
  std::vector<HeldDevices> DevicesOf(uint64_t lease) const;

  // ---- CPUs (binding.cc)
  void BindFor(uint64_t lease);

  // ---- core::Core::Host
  bool Claim(core::ExecItem& item) override;
  void Answered(uint32_t claim) override { answered_.push_back(claim); }
  void Interrupt(const core::ExecItem& item) override;
  void CancelChildren(uint32_t serial, bool force) override { core_.CancelChildren(serial, force); }
  bool PinArgs(core::ExecItem& item) override;
  void OnPullReply(const PullReply& m) override;
  void OnExtentReply(const ExtentReply& m) override { extents_[m.nonce] = m; }
  void OnExtentReclaim() override;
  void OnExit() override { exit_requested_ = true; }
  void OnLogLines(const Address& from, LogLines m) override;
  void OnReply(MsgType type, Bytes body) override;

  std::mutex mutex_;
  std::condition_variable progress_;
  core::Core core_;
  Address self_;
  uint64_t run_id_ = 0;
  std::string session_;
  Mode mode_ = Mode::kDriver;
  uint32_t epoch_ = 0;
  UniqueFd socket_;
  UniqueFd raylet_bell_;
  std::unique_ptr<lane::Board> board_;
  std::unique_ptr<lane::Port> port_;
  std::shared_ptr<objstore::Arena> arena_;  // values that the program still uses keep the mapping
  std::unique_ptr<objstore::PinTable> pins_;
  std::unique_ptr<objstore::Client> client_;
  SlotNotes* notes_ = nullptr;
  uint64_t bound_lease_ = 0;     // that the binding was looked up for
  std::vector<int> bound_cpus_;  // that this process is bound to; none: it runs where its node may
  std::vector<int> node_cpus_;   // where that is
  size_t notes_bytes_ = 0;
  std::unique_ptr<LogPrinter> printer_;

  bool driving_ = false;      // some thread in WaitUntil spins or sleeps on the port
  bool driver_rung_ = false;  // it has been kicked out of its sleep
  TimeNs driver_until_ = 0;   // it sleeps at most so long
  // The process's main thread is in WaitUntil: it drives, since signals reach it alone.
  bool main_waits_ = false;
  uint64_t seen_changes_ = 0;  // of core_.objects().changes()
  uint32_t foreground_ = 0;    // threads in WaitUntil
  uint32_t waiters_ = 0;       // of those, on progress_
  std::thread background_;
  std::atomic<bool> stop_{false};
  std::atomic<TimeNs> background_deadline_{kNever};
  bool gone_ = false;  // the raylet is
  std::deque<std::pair<MessageHeader, Blob>> to_self_;
  std::deque<std::pair<MessageHeader, Blob>> eofs_;  // until the dead process's lane is read

  uint64_t next_nonce_ = 1;
  std::unordered_map<uint64_t, Blob> replies_;  // to calls that wait
  std::unordered_map<uint64_t, bool> asked_;    // nonces that somebody waits for
  std::unordered_map<uint64_t, ExtentReply> extents_;
  struct AwaitedGroup {
    core::Entry* entry = nullptr;  // one hold
    Blob value;
  };
  std::unordered_map<uint32_t, AwaitedGroup> awaited_groups_;
  CurrentGroup actor_group_;                              // of this worker's actor
  std::unordered_map<ObjectId, std::string> fetch_full_;  // gets that found no room here
  std::vector<core::Entry*> pinned_for_job_;

  // execution
  pthread_t main_thread_{};
  bool has_main_thread_ = false;
  std::vector<ValueView> arg_views_;  // of the item whose arguments PinArgs just pinned
  std::unique_ptr<lane::ClaimWriter> claims_;
  std::vector<uint32_t> answered_;  // claims whose results are posted, and perhaps not yet in their lanes
  std::function<void(const TaskId&)> on_cancel_call_;  // of an actor's running method; without the lock
  std::unordered_map<ObjectId, std::vector<std::function<void()>>>
      local_callbacks_;                  // OnReady, until fetched
  DeviceKinds devices_;                  // of this node
  Variables without_devices_;            // for tasks that hold none
  const WireTemplate* named_ = nullptr;  // whose name stands in notes_
  std::atomic<bool> cancel_requested_{false};
  bool cancel_reported_ = false;  // a wait of the main thread has ended for it
  bool exit_requested_ = false;
  bool rung_ = false;  // Ring(), not yet seen by WaitForTask
  std::atomic<bool> has_room_{true};
  bool retire_ = false;
  std::atomic<uint64_t> read_in_place_{0};
};

constexpr TimeNs kFirstLook = 20 * kMillisecond;  // at go_on: a signal may come just before we sleep
constexpr TimeNs kLastLook = 250 * kMillisecond;

template <class Pred>
Status CoreWorker::Impl::WaitUntil(std::unique_lock<std::mutex>& lock, TimeNs deadline, bool in_task,
                                   Pred&& pred, const std::function<bool()>& go_on) {
  ++foreground_;
  const bool main = OnProcessMain();
  const bool outer_main = main_waits_;  // a signal handler may wait inside a wait
  main_waits_ |= main;
  bool spun = false, blocked = false;
  TimeNs look_every = kFirstLook, next_look = go_on ? MonotonicNow() + look_every : kNever;
  Status status;
  for (;;) {
    if (DrainLocked() != 0) spun = false;
    RunDue(lock);
    if (pred()) break;
    if (gone_) {
      status =
          Status::Unavailable("the ray-mpi runtime of this node is gone (its raylet or keeper has ended)");
      break;
    }
    if (cancel_requested_.load(std::memory_order_relaxed) && !cancel_reported_ && OnMainThread()) {
      cancel_reported_ = true;  // once: a task may catch the interrupt and wait again
      status = {StatusCode::kInterrupted, "the task was cancelled"};
    } else if (deadline != kNever && MonotonicNow() >= deadline) {
      status = Status::Timeout("the deadline has passed");
      break;
    } else {
      if (in_task && spun && !core_.executor().blocked()) {
        blocked = true;
        core_.executor().Block();
      }
      FlushLanes();
      status = SleepOnce(lock, std::min(deadline, next_look), &spun);
    }
    const bool interrupted = status.code() == StatusCode::kInterrupted;
    if (interrupted && !go_on) break;
    if (!interrupted && (next_look == kNever || MonotonicNow() < next_look)) continue;
    if (!StepOut(lock, go_on)) {
      status = {StatusCode::kInterrupted, "the caller asked to stop"};
      break;
    }
    status = Status::Ok();
    look_every = std::min(2 * look_every, kLastLook);
    next_look = MonotonicNow() + look_every;
  }
  if (blocked) core_.executor().Unblock();
  --foreground_;
  main_waits_ = outer_main;
  Leave();
  return status;
}

// A call to the raylet or the GCS: sends, waits for the answer that carries the same nonce, decodes it.
template <class Request, class Reply>
Status CoreWorker::Impl::Call(const Address& to, MsgType type, Request request, TimeNs deadline,
                              Reply* reply) {
  std::unique_lock<std::mutex> lock(mutex_);
  request.nonce = next_nonce_++;
  asked_[request.nonce] = true;
  Send(to, type, request);
  Blob bytes;
  Status s;
  do {
    s = Ask(lock, request.nonce, deadline, &bytes);
  } while (s.code() == StatusCode::kInterrupted);
  if (!s.ok()) return s;
  Reader reader(bytes.bytes());
  reader(*reply);
  return reader.Done() ? Status::Ok() : Status::Internal("an answer of the runtime could not be read");
}

}  // namespace rmpi
