// SPDX-License-Identifier: Apache-2.0
// The module's functions of worker processes, and what a task can ask about itself.
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/process.h"
#include "bindings/python/src/session.h"
#include "bindings/python/src/worker_loop.h"

namespace rmpi::python {
namespace {

PyMethodDef g_on_interrupt = {"_on_interrupt", &OnInterrupt, METH_VARARGS, "SIGINT handler of a worker."};

void RunWorker(uint32_t group) { WorkerLoop(Session::Get().core(), group).Run(); }

nb::bytes CurrentTask() {
  const auto id = ToBinary(Session::Get().core()->current_task());
  return nb::bytes(reinterpret_cast<const char*>(id.data()), id.size());
}

nb::dict CurrentResources() {
  nb::dict out;
  for (const auto& [name, amount] : Session::Get().core()->current_resources()) out[name.c_str()] = amount;
  return out;
}

// [(resource, whether the ids are those of the node's mask, [ids])]
nb::list CurrentDevices() {
  nb::list out;
  for (const TaskDevices& devices : Session::Get().core()->current_devices()) {
    nb::list ids;
    for (const std::string& id : devices.ids) ids.append(id);
    out.append(nb::make_tuple(devices.resource, devices.masked, ids));
  }
  return out;
}

// Pickles made inside of `body()` may contain refs: they are held until the job ends.
nb::object CallPinningRefs(nb::object body) {
  std::vector<Ref> refs;
  nb::object result;
  {
    RefCollector collector(&refs);
    result = Steal(PyObject_CallNoArgs(body.ptr()));
  }
  for (const Ref& ref : refs) Session::Get().core()->PinForJob(ref);
  return result;
}

}  // namespace

void InitWorker(nb::module_& m) {
  nb::object name = Str("ray_mpi._core");
  m.attr("_on_interrupt") = Steal(PyCFunction_NewEx(&g_on_interrupt, nullptr, name.ptr()));
  m.def("run_worker", &RunWorker, "group"_a = kAnyGroup,
        "Runs tasks until the runtime is gone or this worker was told to go.");
  m.def(
      "finish_call",
      [](const nb::capsule& call, const nb::object& result, const nb::object& error) {
        return WorkerLoop(Session::Get().core()).FinishCall(call, result, error);
      },
      "call"_a, "result"_a.none(), "error"_a.none());
  m.def(
      "ring", [] { Session::Get().core()->Ring(); },
      "Wakes the event loop that waits in the main thread of an async actor's worker. Any thread.");
  m.def("fork_worker", &ForkWorker, "out_fd"_a, "err_fd"_a, "keeper"_a,
        "Zygote: the pid of a new worker; 0 in the worker; -errno on failure.");
  m.def("current_task", &CurrentTask, "The id of the running task, or the driver's own.");
  m.def("current_task_name", [] { return Session::Get().core()->current_task_name(); });
  m.def("current_function_name", [] { return Session::Get().core()->current_function_name(); });
  m.def("current_resources", &CurrentResources);
  m.def("current_devices", &CurrentDevices, "What the running task holds: [(resource, masked, [ids])].");
  m.def("cancel_requested", [] { return Session::Get().core()->CancelRequested(); });
  m.def("call_pinning_refs", &CallPinningRefs, "body"_a);
}

}  // namespace rmpi::python
