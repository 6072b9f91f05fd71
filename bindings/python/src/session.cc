// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/session.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "bindings/cpp/src/task_error.h"
#include "bindings/python/src/garbage.h"
#include "runtime/worker/pressure.h"

namespace rmpi::python {
namespace {

Imported g_auto_init("ray_mpi._worker", "auto_init");
Imported g_status_error("ray_mpi._errors", "status_error");

constexpr TimeNs kShutdownPatience = 3 * kSecond;

Garbage* g_garbage = new Garbage;  // outlives every static destructor, as the session does

bool RecordsOrigins() {
  const char* value = std::getenv("RAY_record_ref_creation_sites");
  return value != nullptr && (std::string_view(value) == "1" || std::string_view(value) == "true");
}

}  // namespace

void RaiseStatus(const Status& status) {
  nb::object error = Steal(PyObject_CallFunction(g_status_error.get(), "is", static_cast<int>(status.code()),
                                                 status.message().c_str()));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  nb::raise_python_error();
}

Session& Session::Get() {
  static Session* session = new Session;  // outlives every static destructor: refs are dropped late
  return *session;
}

void Session::Connect(const CoreWorker::Options& options) {
  if (core_ != nullptr) Raise(PyExc_RuntimeError, "this process is connected to a runtime already");
  std::unique_ptr<CoreWorker> core;
  Status status;
  {
    GilRelease release;
    CoreWorker::Options with_errors = options;
    with_errors.on_unread_error = SayUnhandled;
    OnStorePressure([] { g_garbage->Ask(); });
    status = CoreWorker::Connect(with_errors, &core);
  }
  CheckStatus(status);
  core_ = std::move(core);
  records_origins_ = RecordsOrigins();
  closing_.store(false);
  ++epoch_;
}

void Session::Disconnect() {
  if (core_ == nullptr) return;
  closing_.store(true);
  std::unique_ptr<CoreWorker> core = std::move(core_);
  GilRelease release;
  OnStorePressure(nullptr);
  g_garbage->Stop();
  // A thread that waits looks at closing() several times a second. One that does not come back keeps the core
  // alive: a leak at exit is harmless, a use after free is not.
  const TimeNs give_up = MonotonicNow() + kShutdownPatience;
  while (waiting_.load() > 0 && MonotonicNow() < give_up) {
    const timespec nap{0, 1'000'000};
    nanosleep(&nap, nullptr);
  }
  if (waiting_.load() > 0) {
    (void)core.release();
  } else {
    core.reset();
  }
}

void Session::AbandonAfterFork() {
  OnStorePressure(nullptr);
  g_garbage = new Garbage;  // the thread of the other one is the parent's
  (void)core_.release();
  waiting_.store(0);
}

CoreWorker* Session::core() {
  if (core_ == nullptr) {
    RaiseStatus(Status::Unavailable("Ray has not been started yet: call ray.init() first."));
  }
  return core_.get();
}

CoreWorker* Session::CoreOrStart() {
  if (core_ == nullptr) Steal(PyObject_CallNoArgs(g_auto_init.get()));
  return core();
}

namespace {

// What a thread does while it waits: it handles signals, and leaves when the session closes.
WaitHooks Hooks() {
  WaitHooks hooks;
  hooks.go_on = [] {
    const PyGILState_STATE gil = PyGILState_Ensure();
    const bool fine = PyErr_CheckSignals() == 0;  // else what a handler raised is kept for us
    PyGILState_Release(gil);
    return fine && !Session::Get().closing();
  };
  return hooks;
}

// After a wait with these hooks.
void CheckWait(const Status& status) {
  Check(PyErr_Occurred() == nullptr);
  if (status.code() == StatusCode::kInterrupted) {
    RaiseStatus(Status::Unavailable("ray.shutdown() was called while this thread waited."));
  }
  if (!status.ok() && status.code() != StatusCode::kTimeout) RaiseStatus(status);
}

}  // namespace

size_t WaitFor(std::span<const Ref* const> refs, size_t num_ready, TimeNs deadline, bool fetch,
               bool stop_at_error) {
  CoreWorker* core = Session::Get().core();
  InCore guard;
  WaitHooks hooks = Hooks();
  hooks.stop_at_error = stop_at_error;
  size_t ready = 0;
  Status status;
  {
    GilRelease release;
    status = core->Wait(refs, num_ready, deadline, fetch, &ready, &hooks);
  }
  CheckWait(status);
  return ready;
}

void WaitForReader(CoreWorker* core, const ExecTask& task, ItemPlan* plan) {
  InCore guard;
  const WaitHooks hooks = Hooks();
  Status status;
  {
    GilRelease release;
    status = core->WaitForReader(task, plan, &hooks);
  }
  CheckWait(status);
}

bool NextItem(const Ref& stream, TimeNs deadline, Ref* item, StatusCode* why_not) {
  CoreWorker* core = Session::Get().core();
  Status status = core->NextItem(stream, 0, item);  // only a look
  if (status.code() == StatusCode::kTimeout && deadline != 0) {
    InCore guard;
    const WaitHooks hooks = Hooks();
    GilRelease release;
    status = core->NextItem(stream, deadline, item, &hooks);
  }
  *why_not = status.code();
  if (status.code() != StatusCode::kNotFound) CheckWait(status);
  return status.ok();
}

void WaitForRoom(CoreWorker* core) {
  InCore guard;
  const WaitHooks hooks = Hooks();
  Status status;
  {
    GilRelease release;
    status = core->WaitForRoom(&hooks);
  }
  CheckWait(status);
}

}  // namespace rmpi::python
