// SPDX-License-Identifier: Apache-2.0
// Streams for Python: what ObjectRefGenerator asks about the items of its task, and, in async actors, how an
// event loop sends them. Generators that run in a thread are in worker_loop.cc.
#include "bindings/python/src/get.h"
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"
#include "bindings/python/src/worker_loop.h"

namespace rmpi::python {
namespace {

// _stream_next(ref, timeout: float | None): the next item's ref; None: the stream has ended; False: not yet.
PyObject* NextSlot(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  return Guard<PyObject*>(nullptr, [&] {
    if (nargs != 2 || !IsObjectRef(args[0]))
      Raise(PyExc_TypeError, "_stream_next() wants a ref and a timeout");
    Ref item;
    StatusCode why_not = StatusCode::kOk;
    if (NextItem(LiveRef(args[0]), DeadlineOf(args[1]), &item, &why_not))
      return WrapRef(std::move(item)).release().ptr();
    return nb::borrow(why_not == StatusCode::kNotFound ? Py_None : Py_False).release().ptr();
  });
}

// May be called by a destructor: at any time, also when the session has ended.
void Close(nb::handle ref) {
  if (!IsObjectRef(ref.ptr())) return;
  const auto* r = reinterpret_cast<PyObjectRef*>(ref.ptr());
  Session& session = Session::Get();
  if (session.connected() && r->epoch == session.epoch() && !r->ref.nil())
    session.core()->CloseStream(r->ref);
}

nb::object Peek(nb::handle ref, uint32_t ahead) {
  Ref item;
  CheckStatus(Session::Get().core()->PeekItem(LiveRef(ref.ptr()), ahead, &item));
  return WrapRef(std::move(item));
}

const ExecTask& TaskOf(const nb::capsule& call) { return *static_cast<const ExecTask*>(call.data()); }

nb::tuple AsTuple(const ItemPlan& plan) { return nb::make_tuple(plan.send, plan.wait, plan.stop); }

// The plan for the item after this one.
nb::tuple YieldItem(const nb::capsule& call, nb::handle value, bool send) {
  WorkerLoop loop(Session::Get().core());
  ItemPlan plan;
  plan.send = send;
  return AsTuple(loop.Yield(TaskOf(call), value.ptr(), plan));
}

PyMethodDef g_functions[] = {
    {"_stream_next", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&NextSlot)), METH_FASTCALL,
     nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void InitStreams(nb::module_& m) {
  Check(PyModule_AddFunctions(m.ptr(), g_functions) == 0);
  m.def("_stream_close", &Close, "ref"_a.none());
  m.def("_stream_peek", &Peek, "ref"_a, "ahead"_a, "The ref of an item that may not have come.");
  m.def(
      "_stream_state",
      [](nb::handle ref) {
        return static_cast<int>(Session::Get().core()->LookAtStream(LiveRef(ref.ptr())));
      },
      "ref"_a, "0: its next item has not come, 1: it has, 2: there is none, 3: none, and the task failed.");
  m.def(
      "_plan_item",
      [](const nb::capsule& call) { return AsTuple(Session::Get().core()->PlanItem(TaskOf(call))); },
      "call"_a, "(send the next item, wait before it, stop)");
  m.def("_yield_item", &YieldItem, "call"_a, "value"_a.none(), "send"_a);
}

}  // namespace rmpi::python
