// SPDX-License-Identifier: Apache-2.0
// CoreWorker: submitting and executing tasks.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "runtime/base/host_name.h"
#include "runtime/worker/impl.h"

namespace rmpi {

using core::Entry;

namespace {

// Tasks that one process has submitted and that are not done: about 3 GB.
constexpr size_t kMostPending = 10'000'000;
constexpr size_t kMostUnsent = 64 << 20;    // bytes that receivers, or their raylets, have not read yet
constexpr size_t kInlineResults = 8 << 20;  // of one task
constexpr char kToldToEnd[] = "this worker has been told to end";

std::optional<std::string> FromEnvironment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

// An error that stands for all returns, and is too large for a message: one for each, which can be stored.
std::vector<ValueSource> OneForEach(const ValueSource& error, uint32_t returns) {
  const std::shared_ptr<std::byte[]> bytes(new std::byte[error.size]);
  error.write(bytes.get());
  ValueSource copy = error;
  copy.write = [bytes, size = error.size](std::byte* dest) { std::memcpy(dest, bytes.get(), size); };
  return std::vector<ValueSource>(returns, copy);
}

}  // namespace

TemplateHandle CoreWorker::Prepare(const TaskTemplate& t) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  auto prepared = std::make_shared<PreparedTemplate>();
  prepared->tmpl = impl_->core_.tasks().Prepare(t);
  prepared->inherits = t.inherits;
  return prepared;
}

Blob BytesOf(const TaskArgs& args) {
  if (args.size == 0) return {};
  Blob bytes = Blob::Allocate(args.size);
  args.write(bytes.mutable_data());
  return bytes;
}

core::Task* CoreWorker::Impl::NewTask(TaskKind kind, const PreparedTemplate& t, Blob bytes,
                                      const TaskArgs& args) {
  auto& objects = core_.objects();
  std::vector<Entry*> refs;
  if (!args.refs.empty() || !args.nested.empty()) {
    refs.reserve(args.refs.size() + args.nested.size());
    for (const Ref& r : args.refs) refs.push_back(r.entry());
    for (const Ref& r : args.nested) refs.push_back(r.entry());
    for (Entry* e : refs) objects.AddHold(e);
  }
  const core::ExecItem* current = Current();
  const uint32_t depth = current == nullptr ? 0 : current->depth + 1;
  return core_.tasks().New(kind, TemplateHere(t), std::move(bytes), std::move(refs),
                           static_cast<uint32_t>(args.refs.size()), depth,
                           current == nullptr ? 0 : current->serial);
}

void CoreWorker::Impl::TakeReturns(core::Task* task, std::vector<Ref>* returns) {
  returns->clear();
  for (uint32_t i = 0; i < task->record->returns; ++i) {
    returns->push_back(Handle(core_.objects().ReturnOf(task->record, i)));
  }
}

void CoreWorker::Impl::Started(TimeNs now) {
  core_.Settle(now);
  FlushLanes();
}

bool CoreWorker::Impl::RoomNow() const {
  return core_.tasks().pending_count() < kMostPending && port_->total_backlog_bytes() < kMostUnsent;
}

bool CoreWorker::HasRoom() const { return impl_->has_room_.load(std::memory_order_relaxed); }

Status CoreWorker::WaitForRoom(const WaitHooks* hooks) {
  Impl& impl = *impl_;
  std::unique_lock<std::mutex> lock(impl.mutex_);
  return impl.WaitUntil(
      lock, kNever, impl.InTask(), [&] { return impl.RoomNow(); }, hooks != nullptr ? hooks->go_on : nullptr);
}

Status CoreWorker::Submit(const TemplateHandle& t, const TaskArgs& args, std::vector<Ref>* returns) {
  Impl& impl = *impl_;
  Blob bytes = BytesOf(args);
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  if (impl.gone_) return Status::Unavailable(kRuntimeGone);
  core::Task* task = impl.NewTask(TaskKind::kNormal, *t, std::move(bytes), args);
  impl.TakeReturns(task, returns);
  const TimeNs now = MonotonicNow();
  impl.core_.submitter().Start(task, now);
  impl.Started(now);
  return Status::Ok();
}

Status CoreWorker::Cancel(const Ref& ref, bool force, bool recursive) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->core_.Cancel(ref.entry(), force, recursive);
  impl_->core_.Settle(MonotonicNow());
  impl_->FlushLanes();
  return Status::Ok();
}

// ---- devices ----------------------------------------------------------------------------------------------

Status CoreWorker::Impl::ReadDeviceNames() {
  if (Status s = DecodeDevices(FromEnvironment(kDevicesVariable).value_or("[]"), &devices_); !s.ok())
    return s;
  without_devices_ = NoDeviceVariables(devices_, FromEnvironment);
  return Status::Ok();
}

std::vector<HeldDevices> CoreWorker::Impl::DevicesOf(uint64_t lease) const {
  const SlotNotes& notes = notes_[self_.slot];
  if (notes.device_lease.load(std::memory_order_acquire) != lease) return {};
  std::vector<uint32_t> numbers;
  for (uint32_t d = 0; d < kMaxDevices; ++d) {
    if ((notes.devices[d / 64] >> (d % 64) & 1) != 0) numbers.push_back(d);
  }
  return NameDevices(devices_, numbers);
}

std::vector<TaskDevices> CoreWorker::current_devices() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  std::vector<TaskDevices> out;
  const core::ExecItem* item = impl_->Current();
  if (item == nullptr || impl_->mode_ != Mode::kWorker) return out;
  for (HeldDevices& held : impl_->DevicesOf(item->lease)) {
    out.push_back({held.kind->resource, held.kind->masked, std::move(held.ids)});
  }
  return out;
}

// ---- execution --------------------------------------------------------------------------------------------

bool CoreWorker::Impl::Claim(core::ExecItem& item) {
  if (item.task.kind() == TaskKind::kActorCreation) actor_group_ = {item.tmpl->group, item.tmpl->capture};
  auto entry = claims_->Put({item.task, item.attempt});
  if (!entry) {
    FlushLanes();  // all are taken: tell that what was answered is answered
    entry = claims_->Put({item.task, item.attempt});
  }
  if (entry) item.claim = *entry;
  return entry.has_value();
}

bool CoreWorker::Impl::PinArgs(core::ExecItem& item) {
  arg_views_.clear();
  for (size_t i = 0; i < item.resolved.size(); ++i) {
    const WireValue& v = item.resolved[i].value;
    ValueView view;
    if (v.state == ValueState::kStored) {
      if (!Pinned(item.resolved[i].id, v.attempt, item.local[i], v.size, &view).ok()) {
        arg_views_.clear();  // those before it are not pinned for a task that does not start
        return false;
      }
      read_in_place_ += v.size;
    } else {
      view.bytes = v.bytes.bytes();
      view.keep_alive = std::make_shared<Blob>(v.bytes);
    }
    arg_views_.push_back(std::move(view));
  }
  return true;
}

void CoreWorker::Impl::Interrupt(const core::ExecItem& item) {
  if (item.of_actor()) {  // only the binding knows whether and how
    if (on_cancel_call_) core_.objects().AddDue([this, task = item.task] { on_cancel_call_(task); });
    return;
  }
  cancel_requested_.store(true);
  if (!has_main_thread_) return;
  pthread_kill(main_thread_, SIGINT);
  if (driving_) port_->Kick(lane::Sleeper::kMain);  // the signal may come just before it sleeps
}

namespace {

thread_local core::ExecItem* t_item = nullptr;  // between NextTask and FinishTask
// When this thread finished its last task, if it has not waited since: the next one starts then. (Reading the
// clock is a good part of a short call.)
thread_local TimeNs t_finished = 0;

}  // namespace

const core::ExecItem* CoreWorker::Impl::Current() const {
  return t_item != nullptr ? t_item : core_.executor().current();
}

// Threads that wait for a next task learn that a finished one has made room for it, or that there will be
// none.
void CoreWorker::Impl::WakeForNext() {
  const core::Executor& executor = core_.executor();
  if (!executor.has_ready() && (!exit_requested_ || executor.running() != 0)) return;
  if (waiters_ != 0) progress_.notify_all();
  if (driving_) port_->Kick(lane::Sleeper::kMain);
}

bool CoreWorker::HasTask(uint32_t group) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return impl_->core_.executor().has_ready(group);
}

// Objects that others still use keep this process, without tasks, until nobody does (R7).
bool CoreWorker::Impl::Leaving() {
  const core::Executor& executor = core_.executor();
  return (executor.retiring() || exit_requested_) && executor.running() == 0 && executor.unsettled() == 0 &&
         core_.objects().owned_count() == 0 && core_.tasks().pending_count() == 0 &&
         core_.submitter().lease_count() == 0;
}

Status CoreWorker::WaitForTask(TimeNs deadline) {
  Impl& impl = *impl_;
  std::unique_lock<std::mutex> lock(impl.mutex_);
  const core::Executor& executor = impl.core_.executor();
  t_finished = 0;
  const Status s = impl.WaitUntil(lock, deadline, false,
                                  [&] { return impl.rung_ || executor.has_ready() || impl.Leaving(); });
  impl.rung_ = false;
  if (s.code() == StatusCode::kTimeout) return Status::Ok();
  if (s.ok() && !executor.has_ready() && impl.Leaving()) return Status::Unavailable(kToldToEnd);
  return s;
}

void CoreWorker::Ring() {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->rung_ = true;
  if (impl_->waiters_ != 0) impl_->progress_.notify_all();
  if (impl_->driving_) impl_->port_->Kick(lane::Sleeper::kMain);
}

void CoreWorker::LeaveTask() { t_item = nullptr; }

Status CoreWorker::NextTask(ExecTask* out, uint32_t group) { return impl_->NextTask(out, group, true); }

Status CoreWorker::TryNextTask(ExecTask* out) { return impl_->NextTask(out, kAnyGroup, false); }

Status CoreWorker::Impl::NextTask(ExecTask* out, uint32_t group, bool wait) {
  Impl& impl = *this;
  t_item = nullptr;
  std::unique_lock<std::mutex> lock(impl.mutex_);
  if (!impl.has_main_thread_) {
    impl.main_thread_ = pthread_self();
    impl.has_main_thread_ = true;
  }
  core::Executor& executor = impl.core_.executor();
  core::ExecItem* item = nullptr;
  while (item == nullptr) {
    if (!executor.has_ready(group)) {
      if (!wait) return Status::Timeout("there is no task");
      t_finished = 0;
      Status s =
          impl.WaitUntil(lock, kNever, false, [&] { return executor.has_ready(group) || impl.Leaving(); });
      if (!s.ok()) return s;
      if (!executor.has_ready(group)) return Status::Unavailable(kToldToEnd);
    }
    const TimeNs finished = std::exchange(t_finished, 0);
    item = executor.Take(finished == 0 ? MonotonicNow() : finished, group);
    if (item == nullptr && executor.has_ready(group)) {  // 256 results are stuck on their way out
      if (!wait) return Status::Timeout("no task can begin");
      Status s = impl.WaitUntil(lock, MonotonicNow() + kMillisecond, false, [] { return false; });
      if (s.code() == StatusCode::kUnavailable) return s;
    }
  }
  impl.cancel_requested_.store(false);
  impl.cancel_reported_ = false;
  // An actor's lines bear its class, which its creation named; it is as old as that.
  if (item->task.kind() != TaskKind::kActorCall) {
    impl.BindFor(item->lease);
    SlotNotes& slot = impl.notes_[impl.self_.slot];
    slot.started_ns.store(static_cast<uint64_t>(item->started), std::memory_order_relaxed);
    slot.retriable.store(item->retries_left != 0, std::memory_order_relaxed);
    slot.actor.store(item->task.kind() == TaskKind::kActorCreation, std::memory_order_relaxed);
    if (item->tmpl.get() != impl.named_) {
      impl.named_ = item->tmpl.get();
      std::strncpy(slot.name, item->tmpl->name.c_str(), sizeof slot.name - 1);
    }
  }
  out->id = item->task;
  out->attempt = item->attempt;
  out->function_id = item->tmpl->function_id;
  out->function_name = item->tmpl->function_name;
  out->name = item->tmpl->name;
  out->retry_list = item->tmpl->retry_list;
  out->num_returns = item->tmpl->num_returns;
  out->max_calls = item->tmpl->max_calls;
  out->stream = item->tmpl->stream;
  out->retry_exceptions = item->tmpl->retry_exceptions;
  out->retries_left = item->retries_left;
  out->group = item->group;
  out->args = item->args.bytes();
  out->resources.clear();
  for (const auto& [name, amount] : item->tmpl->resources) {
    out->resources.emplace_back(name, static_cast<double>(amount) / 10000);
  }
  out->variables = impl.without_devices_;
  if (impl.notes_[impl.self_.slot].device_lease.load(std::memory_order_acquire) == item->lease) {
    out->variables = DeviceVariables(impl.DevicesOf(item->lease), FromEnvironment);
  }
  if (item->resolved.empty()) {
    out->values.clear();
  } else {
    if (item->local.empty()) impl.PinArgs(*item);  // all inline
    out->values = std::move(impl.arg_views_);
    impl.arg_views_.clear();
  }
  out->internal = item;
  t_item = item;
  return Status::Ok();
}

Status CoreWorker::FinishTask(ExecTask& task, std::span<const ValueSource> results, bool retryable_error) {
  Impl& impl = *impl_;
  std::vector<ValueSource> for_each;
  if (results.size() == 1 && task.num_returns > 1 && results[0].size > kInlineResults) {
    for_each = OneForEach(results[0], task.num_returns);
    results = for_each;
  }
  std::vector<WireValue> values(results.size());
  // What one message carries is bounded: of many small results the later ones are stored, too. An error
  // stands for all of a task's returns, which cannot be told with the place of one object.
  size_t inline_bytes = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const bool for_all =
        results.size() == 1 && (task.num_returns > 1 || task.id.kind() == TaskKind::kActorCreation);
    values[i].kind = static_cast<uint8_t>(results[i].kind);
    for (const Ref& r : results[i].contained) values[i].contained.push_back(r.id());
    if (!for_all && (results[i].size > kInlineLimit || inline_bytes + results[i].size > kInlineResults)) {
      values[i].state = ValueState::kStored;
      continue;
    }
    inline_bytes += results[i].size;
    Blob b = Blob::Allocate(results[i].size);
    results[i].write(b.mutable_data());
    values[i].bytes = std::move(b);
  }
  // What a constructor returns is of no use; where it ran is, for what is said of the actor's death.
  if (task.id.kind() == TaskKind::kActorCreation && !results.empty() &&
      results[0].kind == ValueKind::kValue) {
    const std::string where =
        std::string(core::kWhereItRuns) + std::to_string(::getpid()) + "\n\thost: " + HostName();
    values[0].bytes = Blob::Copy({reinterpret_cast<const std::byte*>(where.data()), where.size()});
    values[0].contained.clear();
  }
  std::unique_lock<std::mutex> lock(impl.mutex_);
  task.values.clear();  // unpins the arguments
  Status status;
  for (size_t i = 0; i < results.size() && status.ok(); ++i) {
    if (values[i].state != ValueState::kStored) continue;
    objstore::Locator at;
    status = impl.StoreValue(results[i], {task.id, static_cast<uint32_t>(i), 0}, task.attempt, lock, &at);
    if (!status.ok()) break;
    values[i].attempt = task.attempt;
    values[i].size = at.size;
    values[i].places = {{impl.self_.node, at.segment, at.offset}};
  }
  std::vector<Entry*> contained;
  if (!status.ok()) {                             // the result has no room: that is the task's result
    for (size_t i = 0; i < values.size(); ++i) {  // those before it had
      if (values[i].places.empty()) continue;
      FreeObject free;
      free.id = {task.id, static_cast<uint32_t>(i), 0};
      free.attempt = task.attempt;
      impl.Send(RayletOf(impl.self_.node), MsgType::kFree, free);
    }
    values.assign(1, WireValue{});
    values[0].kind = static_cast<uint8_t>(ValueKind::kSystemError);
    const bool full = status.code() == StatusCode::kStoreFull || status.code() == StatusCode::kOutOfDisk;
    const auto type = full ? ErrorType::kObjectStoreFull : ErrorType::kWorkerCrashed;
    values[0].bytes = core::EncodeSystemError(static_cast<uint8_t>(type), status.message(), Hex(task.id));
  } else {
    for (const ValueSource& r : results) {
      for (const Ref& ref : r.contained) {
        impl.core_.objects().AddHold(ref.entry());
        contained.push_back(ref.entry());
      }
    }
  }
  auto* item = static_cast<core::ExecItem*>(task.internal);
  if (t_item == item) t_item = nullptr;
  t_finished = MonotonicNow();
  impl.core_.executor().Finish(item, std::move(values), std::move(contained), retryable_error && status.ok(),
                               t_finished);
  impl.cancel_requested_.store(false);
  impl.cancel_reported_ = false;
  task.internal = nullptr;
  if (impl.retire_) impl.core_.executor().Retire();
  impl.FlushLanes();
  impl.WakeForNext();
  return Status::Ok();
}

TaskId CoreWorker::current_task() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  if (const core::ExecItem* item = impl_->Current()) return item->task;
  return {impl_->core_.objects().job(), impl_->self_, TaskId::Sequence(TaskKind::kDriver, 0)};
}

bool CoreWorker::CancelRequested() const {
  if (t_item == nullptr || !t_item->of_actor())
    return impl_->cancel_requested_.load(std::memory_order_relaxed);
  const std::lock_guard<std::mutex> lock(impl_->mutex_);  // of several calls, this thread's
  return t_item->cancelled;
}

std::string CoreWorker::current_task_name() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  const core::ExecItem* item = impl_->Current();
  return item == nullptr ? "" : item->tmpl->name;
}

std::string CoreWorker::current_function_name() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  const core::ExecItem* item = impl_->Current();
  return item == nullptr ? "" : item->tmpl->function_name;
}

ResourceList CoreWorker::current_resources() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  ResourceList out;
  if (const core::ExecItem* item = impl_->Current()) {
    for (const auto& [name, amount] : item->tmpl->resources)
      out.emplace_back(name, static_cast<double>(amount) / 10000);
  }
  return out;
}

void CoreWorker::RetireAfterThisTask() {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->retire_ = true;
}

}  // namespace rmpi
