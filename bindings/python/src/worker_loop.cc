// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/worker_loop.h"

#include <unistd.h>

#include <deque>
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
Imported g_split_results("ray_mpi._worker_main", "split_results");

bool g_in_task = false;  // main thread only: user code of a task is running
constexpr size_t kKeepGilBelow = 64 * 1024;

// A program in another language named the function; it cannot read pickles.
bool CalledFromElsewhere(const ExecTask& task) { return task.function_id.starts_with("py:"); }

// While it lives, a cancel's signal interrupts Python code.
class InTask {
 public:
  InTask() { g_in_task = true; }
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
    {
      GilRelease release;
      status = core_->NextTask(&task);
    }
    if (status.code() == StatusCode::kInterrupted) {
      Check(PyErr_CheckSignals() == 0);
      continue;
    }
    if (!status.ok()) return;
    Execute(task);
  }
}

void WorkerLoop::Execute(ExecTask& task) {
  nb::object result;
  try {
    Enter(task);
    Function& function = Load(task);
    CountCall(task, function);
    const CallArgs args = DecodeArgs(task.args, task.values);
    result = Call(function, args);
  } catch (nb::python_error& e) {
    e.restore();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  if (PyErr_Occurred() == nullptr) {
    // A cancel that came too late leaves a pending signal behind: handled here, it cannot reach the next
    // task.
    if (PyErr_CheckSignals() != 0) PyErr_Clear();
    try {
      Succeed(task, std::move(result));
      return;
    } catch (nb::python_error& e) {
      e.restore();  // the result does not pickle, or there are too many or too few
    }
  }
  Fail(task);
}

void WorkerLoop::Enter(const ExecTask& task) {
  // An actor's lines bear its class, which its creation named.
  if (task.id.kind() != TaskKind::kActorCall) SetOutputName(task.name);
  double cpus = 0;
  for (const auto& [name, amount] : task.resources) {
    if (name == "CPU") cpus = amount;
  }
  if (task.id.job.value != job_) {
    Steal(PyObject_CallFunction(g_enter_job.get(), "I", static_cast<unsigned>(task.id.job.value)));
    job_ = task.id.job.value;
  }
  if (cpus != cpus_ && task.id.kind() != TaskKind::kActorCall) {
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

nb::object WorkerLoop::Call(const Function& function, const CallArgs& args) {
  std::vector<PyObject*> stack(args.values.size() + 1);
  for (size_t i = 0; i < args.values.size(); ++i) stack[i + 1] = args.values[i].ptr();
  InTask in_task;
  if (core_->CancelRequested()) {  // while the arguments were being read
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    nb::raise_python_error();
  }
  return Steal(PyObject_Vectorcall(function.callable.ptr(), stack.data() + 1,
                                   args.positional | PY_VECTORCALL_ARGUMENTS_OFFSET, args.names.ptr()));
}

void WorkerLoop::Succeed(ExecTask& task, nb::object result) {
  std::deque<Encoder> encoders;
  std::vector<ValueSource> sources;
  if (CalledFromElsewhere(task)) {
    encoders.emplace_back().ForeignValue(result.ptr());
  } else if (task.num_returns == 1) {
    encoders.emplace_back().Value(result.ptr());
  } else if (task.num_returns > 1) {
    nb::object list =
        Steal(PyObject_CallFunction(g_split_results.get(), "OI", result.ptr(), task.num_returns));
    for (uint32_t i = 0; i < task.num_returns; ++i)
      encoders.emplace_back().Value(PyList_GET_ITEM(list.ptr(), i));
  }
  sources.reserve(encoders.size());
  for (Encoder& encoder : encoders) sources.push_back(SourceOf(encoder));
  Finish(task, sources, false);
}

void WorkerLoop::Fail(ExecTask& task) {
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
  const std::string head = EncodeTaskError(neutral);
  Encoder encoder;
  encoder.PutBytes(head.data(), head.size());
  encoder.Value(PyTuple_GET_ITEM(made.ptr(), 0));
  const ValueSource source = SourceOf(encoder, ValueKind::kAppError);
  Finish(task, {&source, 1}, PyTuple_GET_ITEM(made.ptr(), 1) == Py_True);
  if (PyTuple_GET_ITEM(made.ptr(), 6) == Py_True) core_->ExitActor();
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
