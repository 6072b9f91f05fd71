// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/worker_loop.h"

#include <unistd.h>

#include <chrono>
#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "bindings/python/src/foreign.h"
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/output.h"
#include "bindings/python/src/session.h"

namespace rmpi::python {
namespace {

Imported g_enter_job("ray_mpi._worker_main", "enter_job");
Imported g_set_threads("ray_mpi._worker_main", "set_threads");
Imported g_set_variables("ray_mpi._worker_main", "set_variables");
Imported g_load_function("ray_mpi._worker_main", "load_function");
Imported g_make_error("ray_mpi._worker_main", "make_error");
Imported g_actor_constructor("ray_mpi._worker_main", "actor_constructor");
Imported g_actor_method("ray_mpi._worker_main", "actor_method");
Imported g_actor_mode("ray_mpi._worker_main", "actor_mode");
Imported g_start_call("ray_mpi._worker_main", "start_call");
Imported g_run_loop("ray_mpi._worker_main", "run_loop");
Imported g_start_thread("ray_mpi._worker_main", "start_thread");
Imported g_cancel_call("ray_mpi._worker_main", "cancel_call");
Imported g_take_results("ray_mpi._worker_main", "take_results");

Imported g_dynamic_generator("ray_mpi._generators", "DynamicObjectRefGenerator");

// How this process's actor runs its calls; set, with the GIL, before its creation is answered.
struct ActorMode {
  struct Group {
    uint32_t most = 1;     // calls at once; without an event loop: threads, made when they are needed
    uint32_t threads = 1;  // that run a WorkerLoop
    uint32_t idle = 0;     // of those, in NextTask
  };
  bool async = false;     // calls run in event loops, each group's in one of its own
  bool own_loop = false;  // and there is one only: it is the main thread's, and waits in Serve()
  std::deque<Group> groups = std::deque<Group>(1);
} g_mode;

bool g_in_task = false;  // main thread only: user code of a task is running
constexpr size_t kKeepGilBelow = 64 * 1024;
constexpr std::chrono::milliseconds kNap{1};
constexpr int kCallsAtOnce = 64;                                 // begun before the event loop has a turn
constexpr char kCancelled[] = "ray::RayTaskCancelledException";  // make_error's word for it

// A program in another language named the function; it cannot read pickles.
bool CalledFromElsewhere(const ExecTask& task) { return task.function_id.starts_with("py:"); }

// While it lives, a cancel's signal interrupts Python code. Raises if the cancel came before.
class InTask {
 public:
  explicit InTask(CoreWorker* core) {
    g_in_task = true;
    if (!core->CancelRequested()) return;
    g_in_task = false;
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    nb::raise_python_error();
  }
  ~InTask() { g_in_task = false; }
  InTask(const InTask&) = delete;
  InTask& operator=(const InTask&) = delete;
};

}  // namespace

PyObject* OnInterrupt(PyObject*, PyObject*) {
  Session& session = Session::Get();
  if (g_in_task && session.connected() && session.core()->CancelRequested()) {
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return nullptr;
  }
  Py_RETURN_NONE;
}

void WorkerLoop::Run() {
  for (;;) {
    ExecTask task;
    Status status;
    ActorMode::Group& pool = g_mode.groups[group_ == kAnyGroup ? 0 : group_];
    ++pool.idle;
    if (g_mode.async && core_->HasTask(group_)) {
      // The event loop would take the GIL, and we wait for it, once for each call.
      status = core_->NextTask(&task, group_);
    } else {
      GilRelease release;
      status = core_->NextTask(&task, group_);
    }
    --pool.idle;
    if (status.code() == StatusCode::kInterrupted) {
      Check(PyErr_CheckSignals() == 0);
      continue;
    }
    if (!status.ok()) return;
    if (!g_mode.async && pool.idle == 0 && pool.threads < pool.most) StartThread(task.group);
    Execute(task);
    if (g_mode.own_loop) {
      const nb::object serve =
          nb::cpp_function([this](double timeout_s) { return static_cast<int>(Serve(timeout_s)); });
      Steal(PyObject_CallOneArg(g_run_loop.get(), serve.ptr()));
      return;
    }
  }
}

WorkerLoop::Served WorkerLoop::Serve(double timeout_s) {
  Status status;
  if (timeout_s == 0) {
    status = core_->WaitForTask(0);
  } else if (!core_->HasTask(kAnyGroup)) {
    // A day and a century are the same to an event loop, not to a clock of nanoseconds.
    const auto bounded_ns = static_cast<TimeNs>(std::min(timeout_s, 86400.0) * kSecond);
    GilRelease release;
    status = core_->WaitForTask(timeout_s < 0 ? kNever : MonotonicNow() + bounded_ns);
  }
  if (status.code() == StatusCode::kInterrupted) {
    Check(PyErr_CheckSignals() == 0);
    return Served::kInterrupted;
  }
  if (!status.ok()) return Served::kOver;
  for (int n = 0; n < kCallsAtOnce && core_->HasTask(kAnyGroup); ++n) {
    ExecTask task;
    // Not waiting: the GIL is held, and other calls go on meanwhile.
    if (!core_->TryNextTask(&task).ok()) {
      GilRelease release;
      if (core_->HasTask(kAnyGroup)) std::this_thread::sleep_for(kNap);  // results are stuck on their way out
      break;
    }
    Execute(task);
  }
  return Served::kOk;
}

void WorkerLoop::StartThread(uint32_t group) {
  ++g_mode.groups[group].threads;
  Steal(PyObject_CallFunction(g_start_thread.get(), "I", group));
}

// After its class is loaded, and before anybody can call it.
void WorkerLoop::EnterActor() {
  nb::object mode = Steal(PyObject_CallNoArgs(g_actor_mode.get()));  // (async, most, [(group, most)])
  g_mode.async = nb::cast<bool>(mode[0]);
  g_mode.groups[0].most = nb::cast<uint32_t>(mode[1]);
  std::vector<ConcurrencyGroup> named;
  for (nb::handle group : nb::cast<nb::list>(mode[2])) {
    named.push_back({nb::cast<std::string>(group[0]), nb::cast<uint32_t>(group[1])});
    g_mode.groups.push_back({named.back().most, 0, 0});
  }
  g_mode.own_loop = g_mode.async && named.empty();
  core_->SetConcurrency(g_mode.groups[0].most, named);
  if (!g_mode.async) {
    group_ = 0;
    for (uint32_t group = 1; group < g_mode.groups.size(); ++group) StartThread(group);
  }
  core_->OnCallCancelled([](const TaskId& task) {
    const PyGILState_STATE gil = PyGILState_Ensure();
    const auto id = ToBinary(task);
    PyObject* done =
        PyObject_CallFunction(g_cancel_call.get(), "y#", id.data(), static_cast<Py_ssize_t>(id.size()));
    if (done == nullptr) PyErr_WriteUnraisable(nullptr);
    Py_XDECREF(done);
    PyGILState_Release(gil);
  });
}

// Hands a call to the event loop of its group, which ends it with finish_call().
void WorkerLoop::StartCall(ExecTask& task, const Function& function, const CallArgs& args) {
  nb::object positional = Steal(PyTuple_New(static_cast<Py_ssize_t>(args.positional)));
  for (size_t i = 0; i < args.positional; ++i) {
    PyTuple_SET_ITEM(positional.ptr(), static_cast<Py_ssize_t>(i),
                     nb::borrow(args.values[i]).release().ptr());
  }
  nb::dict keywords;
  for (size_t i = args.positional; i < args.values.size(); ++i) {
    keywords[nb::handle(PyTuple_GET_ITEM(args.names.ptr(), static_cast<Py_ssize_t>(i - args.positional)))] =
        args.values[i];
  }
  core_->LeaveTask();
  PyObject* streams = task.stream != StreamKind::kNone ? Py_True : Py_False;
  const auto id = ToBinary(task.id);
  nb::bytes name(reinterpret_cast<const char*>(id.data()), id.size());
  const uint32_t group = task.group;
  nb::capsule call(new ExecTask(std::move(task)), [](void* p) noexcept { delete static_cast<ExecTask*>(p); });
  nb::object number = Steal(PyLong_FromUnsignedLong(group));
  PyObject* args_of_start[] = {
      number.ptr(), function.callable.ptr(), positional.ptr(), keywords.ptr(), call.ptr(), name.ptr(),
      streams};
  Steal(PyObject_Vectorcall(g_start_call.get(), args_of_start, std::size(args_of_start), nullptr));
}

bool WorkerLoop::FinishCall(const nb::capsule& call, nb::object result, nb::object error) {
  auto& task = *static_cast<ExecTask*>(call.data());
  if (!error.is_none()) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    return Fail(task);
  }
  return Complete(task, std::move(result));
}

void WorkerLoop::Execute(ExecTask& task) {
  nb::object result;
  try {
    Enter(task);
    Function& function = Load(task);
    CountCall(task, function);
    const CallArgs args = DecodeArgs(task.args, task.values);
    if (task.id.kind() == TaskKind::kActorCreation) EnterActor();
    if (g_mode.async) return StartCall(task, function, args);
    const bool may_be_cancelled = task.id.kind() == TaskKind::kNormal;
    result = Call(function, args, may_be_cancelled);
    if (task.stream != StreamKind::kNone) Stream(task, std::move(result), may_be_cancelled);
  } catch (nb::python_error& e) {
    e.restore();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  // A method is not interrupted: it may ask is_canceled(), and what it returns then is of no use.
  const bool in_vain = PyErr_Occurred() == nullptr && task.id.kind() == TaskKind::kActorCall;
  if (in_vain && core_->CancelRequested()) PyErr_SetNone(PyExc_KeyboardInterrupt);
  if (PyErr_Occurred() == nullptr) {
    // A cancel that came too late leaves a pending signal behind: handled here, it cannot reach the next
    // task.
    if (PyErr_CheckSignals() != 0) PyErr_Clear();
    Complete(task, std::move(result));
  } else {
    Fail(task);
  }
}

// True: the actor is to end.
bool WorkerLoop::Complete(ExecTask& task, nb::object result) {
  try {
    Succeed(task, std::move(result));
    return false;
  } catch (nb::python_error& e) {
    e.restore();  // the result does not pickle, or there are too many or too few
  }
  return Fail(task);
}

void WorkerLoop::Enter(const ExecTask& task) {
  if (task.id.kind() == TaskKind::kActorCall) return;  // all is as its creation left it
  SetOutputName(task.name);
  double cpus = 0;
  for (const auto& [name, amount] : task.resources) {
    if (name == "CPU") cpus = amount;
  }
  if (task.id.job.value != job_) {
    Steal(PyObject_CallFunction(g_enter_job.get(), "I", static_cast<unsigned>(task.id.job.value)));
    job_ = task.id.job.value;
  }
  if (cpus != cpus_) {
    Steal(PyObject_CallFunction(g_set_threads.get(), "d", cpus));
    cpus_ = cpus;
  }
  if (!task.variables.empty()) {
    nb::dict variables;
    for (const auto& [name, value] : task.variables) variables[name.c_str()] = value;
    Steal(PyObject_CallOneArg(g_set_variables.get(), variables.ptr()));
  }
}

// What an actor is made with, its method, or a remote function.
nb::object WorkerLoop::LoadCallable(const ExecTask& task) {
  const char* id = task.function_id.c_str();
  switch (task.id.kind()) {
    case TaskKind::kActorCreation:
      return Steal(PyObject_CallFunction(g_actor_constructor.get(), "ssy#", id, task.function_name.c_str(),
                                         task.retry_list.data(),
                                         static_cast<Py_ssize_t>(task.retry_list.size())));
    case TaskKind::kActorCall:
      return Steal(PyObject_CallFunction(g_actor_method.get(), "s", id));
    default:
      return Steal(PyObject_CallFunction(g_load_function.get(), "ss", id, task.function_name.c_str()));
  }
}

WorkerLoop::Function& WorkerLoop::Load(const ExecTask& task) {
  const auto it = functions_.find(task.function_id);
  if (it != functions_.end()) return it->second;
  nb::object callable = LoadCallable(task);
  return functions_.emplace(task.function_id, Function{std::move(callable), 0}).first->second;
}

void WorkerLoop::CountCall(const ExecTask& task, Function& function) {
  ++function.calls;
  if (task.max_calls != 0 && function.calls >= task.max_calls) core_->RetireAfterThisTask();
}

nb::object WorkerLoop::Call(const Function& function, const CallArgs& args, bool may_be_cancelled) {
  std::vector<PyObject*> stack(args.values.size() + 1);
  for (size_t i = 0; i < args.values.size(); ++i) stack[i + 1] = args.values[i].ptr();
  std::optional<InTask> in_task;
  if (may_be_cancelled) in_task.emplace(core_);
  return Steal(PyObject_Vectorcall(function.callable.ptr(), stack.data() + 1,
                                   args.positional | PY_VECTORCALL_ARGUMENTS_OFFSET, args.names.ptr()));
}

void WorkerLoop::Succeed(ExecTask& task, nb::object result) {
  if (task.stream != StreamKind::kNone) result = StreamResult(task);
  const bool foreign = CalledFromElsewhere(task);
  if (foreign && (PyGen_CheckExact(result.ptr()) || PyAsyncGen_CheckExact(result.ptr()))) {
    PyErr_Format(PyExc_TypeError, "%s is a generator: only Python can call those; let it return a list",
                 task.function_name.c_str());
    nb::raise_python_error();
  }
  if (!foreign && (task.num_returns > 1 || (task.num_returns == 1 && PyGen_CheckExact(result.ptr()))))
    return SplitResult(task, std::move(result));
  std::optional<Encoder> encoder;
  std::vector<ValueSource> sources;
  if (foreign) {
    encoder.emplace().ForeignValue(result.ptr());
  } else if (task.num_returns == 1) {
    encoder.emplace().Value(result.ptr());
  }
  if (encoder) sources.push_back(SourceOf(*encoder));
  Finish(task, sources, false);
}

// Several returns, or the first value of a generator. It may raise in the middle: what came before counts.
void WorkerLoop::SplitResult(ExecTask& task, nb::object result) {
  nb::object taken = Steal(PyObject_CallFunction(g_take_results.get(), "OI", result.ptr(), task.num_returns));
  PyObject* values = PyTuple_GET_ITEM(taken.ptr(), 0);
  PyObject* error = PyTuple_GET_ITEM(taken.ptr(), 1);
  std::deque<Encoder> encoders;
  std::vector<ValueSource> sources;
  sources.reserve(task.num_returns);
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(values); ++i) {
    encoders.emplace_back().Value(PyList_GET_ITEM(values, i));
    sources.push_back(SourceOf(encoders.back()));
  }
  if (error == Py_None) return Finish(task, sources, false);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  Failure failure;
  Describe(task, &failure);
  if (failure.retry || failure.cancelled || failure.ends_actor) sources.clear();
  const size_t returns = sources.empty() ? 1 : task.num_returns;
  while (sources.size() < returns) sources.push_back(SourceOf(failure.encoder, ValueKind::kAppError));
  Finish(task, sources, failure.retry);
  if (failure.ends_actor) core_->ExitActor();
}

// True: the actor is to end.
bool WorkerLoop::Fail(ExecTask& task) {
  Failure failure;
  Describe(task, &failure);
  const ValueSource source = SourceOf(failure.encoder, ValueKind::kAppError);
  // An exception of a generator is its last item, unless the whole task is to be done once more.
  const bool again = failure.retry && task.retries_left != 0;
  if (task.stream != StreamKind::kNone && !again && !failure.cancelled && !failure.ends_actor) {
    const bool send = core_->PlanItem(task).send;
    ItemPlan next;
    if (core_->Yield(task, send ? &source : nullptr, &next).ok()) {  // else there is no room for it
      Succeed(task, nb::none());
      return false;
    }
  }
  Finish(task, {&source, 1}, failure.retry);
  if (failure.ends_actor) core_->ExitActor();
  return failure.ends_actor;
}

void WorkerLoop::Describe(const ExecTask& task, Failure* failure) {
  // make_error lets SystemExit through; for all else it returns (exception to store, may be retried).
  nb::python_error raised;
  nb::object made = Steal(PyObject_CallFunction(
      g_make_error.get(), "OOssy#iy#i", raised.value().ptr(),
      raised.traceback().is_valid() ? raised.traceback().ptr() : Py_None, task.function_name.c_str(),
      task.name.c_str(), task.retry_list.data(), static_cast<Py_ssize_t>(task.retry_list.size()),
      task.retry_exceptions ? 1 : 0, ToBinary(task.id).data(), static_cast<Py_ssize_t>(kTaskIdSize),
      static_cast<int>(task.id.kind())));
  // In front of the exception itself: what a reader in another language is told.
  const auto field = [&made](Py_ssize_t i) {
    return nb::cast<std::string>(nb::handle(PyTuple_GET_ITEM(made.ptr(), i)));
  };
  TaskError neutral;
  neutral.language = "Python";
  neutral.function = task.function_name;
  neutral.task = task.name;
  neutral.type = field(2);
  neutral.message = field(3);
  neutral.host = field(4);
  neutral.pid = ::getpid();
  neutral.text = field(5);
  neutral.in_constructor = task.id.kind() == TaskKind::kActorCreation;
  const std::string head = EncodeTaskError(neutral);
  failure->encoder.PutBytes(head.data(), head.size());
  failure->encoder.Value(PyTuple_GET_ITEM(made.ptr(), 0));
  failure->retry = PyTuple_GET_ITEM(made.ptr(), 1) == Py_True;
  failure->ends_actor = PyTuple_GET_ITEM(made.ptr(), 6) == Py_True;
  failure->cancelled = neutral.type == kCancelled;
}

// ---- generators -------------------------------------------------------------------------------------------

void WorkerLoop::Stream(ExecTask& task, nb::object generator, bool may_be_cancelled) {
  if (PyIter_Check(generator.ptr()) == 0) {
    PyErr_Format(PyExc_ValueError, "%s was called as a generator, but returned a %.100s",
                 task.function_name.c_str(), Py_TYPE(generator.ptr())->tp_name);
    nb::raise_python_error();
  }
  std::optional<InTask> in_task;
  if (may_be_cancelled) in_task.emplace(core_);
  ItemPlan plan = core_->PlanItem(task);
  for (;;) {
    if (plan.wait) WaitForReader(core_, task, &plan);
    if (plan.stop) return;  // the end of this reference closes the generator
    PyObject* value = PyIter_Next(generator.ptr());
    if (value == nullptr) break;
    const nb::object held = Steal(value);
    plan = Yield(task, value, plan);
  }
  if (PyErr_Occurred() != nullptr) nb::raise_python_error();
}

ItemPlan WorkerLoop::Yield(const ExecTask& task, PyObject* value, const ItemPlan& plan) {
  ItemPlan next;
  if (!plan.send) {
    CheckStatus(core_->Yield(task, nullptr, &next));
    return next;
  }
  Encoder encoder;
  encoder.Value(value);
  const ValueSource source = SourceOf(encoder);
  Status status;
  if (source.size < kKeepGilBelow) {
    status = core_->Yield(task, &source, &next);
  } else {
    GilRelease release;
    status = core_->Yield(task, &source, &next);
  }
  CheckStatus(status);
  return next;
}

// "dynamic": what has refs to all items. Else None: the items were all.
nb::object WorkerLoop::StreamResult(const ExecTask& task) {
  if (task.stream != StreamKind::kDynamic) return nb::none();
  nb::list refs;
  const uint32_t n = core_->ItemsYielded(task);
  for (uint32_t i = 0; i < n; ++i) {
    Ref ref;
    CheckStatus(core_->RefToItem(task, i, &ref));
    refs.append(WrapRef(std::move(ref)));
  }
  return Steal(PyObject_CallOneArg(g_dynamic_generator.get(), refs.ptr()));
}

void WorkerLoop::Finish(ExecTask& task, std::span<const ValueSource> results, bool retryable) {
  FlushOutput();  // what the task printed is there before its result is
  size_t bytes = 0;
  for (const ValueSource& source : results) bytes += source.size;
  Status status;
  do {
    if (bytes < kKeepGilBelow) {
      status = core_->FinishTask(task, results, retryable);
    } else {
      GilRelease release;
      status = core_->FinishTask(task, results, retryable);
    }
    // SIGINT is ours here (see OnInterrupt), others may have handlers of the user's.
    if (status.code() == StatusCode::kInterrupted && PyErr_CheckSignals() != 0) PyErr_Clear();
  } while (status.code() == StatusCode::kInterrupted);
  CheckStatus(status);
}

}  // namespace rmpi::python
