// SPDX-License-Identifier: Apache-2.0
// ray.wait, after its arguments were checked in Python: the look over a list of refs must cost some ten
// nanoseconds each, since programs call it in a loop over a shrinking list.
#include <deque>
#include <utility>

#include "bindings/python/src/get.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"
#include "runtime/core/entry.h"

namespace rmpi::python {
namespace {

Imported g_generator("ray_mpi._generators", "ObjectRefGenerator");

// A generator stands for its next item: a ref to that, which may not have come.
nb::object NextOf(PyObject* item) {
  if (Py_TYPE(item) != reinterpret_cast<PyTypeObject*>(g_generator.get())) {
    PyErr_Format(PyExc_TypeError,
                 "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got list containing %R",
                 reinterpret_cast<PyObject*>(Py_TYPE(item)));
    nb::raise_python_error();
  }
  nb::object stream = Steal(PyObject_GetAttrString(item, "_generator_ref"));
  Ref next;
  CheckStatus(Session::Get().core()->PeekItem(LiveRef(stream.ptr()), 0, &next));
  return WrapRef(std::move(next));
}

// The refs of a list, once it is known that all are refs, alive, and no two the same. `held` keeps those that
// generators stand for.
std::vector<const Ref*> CheckedRefs(PyObject* list, std::deque<nb::object>* held) {
  // Each entry remembers the last wait that met it; the GIL makes us the only one.
  static uint64_t last_wait = 0;
  const uint64_t this_wait = ++last_wait;
  const auto n = static_cast<size_t>(PyList_GET_SIZE(list));
  PyObject** items = PySequence_Fast_ITEMS(list);
  std::vector<const Ref*> refs(n);
  for (size_t i = 0; i < n; ++i) {
    refs[i] = &LiveRef(IsObjectRef(items[i]) ? items[i] : held->emplace_back(NextOf(items[i])).ptr());
    std::atomic<uint64_t>& mark = refs[i]->entry()->mark;
    if (mark.load(std::memory_order_relaxed) == this_wait) {
      Raise(PyExc_ValueError, "Wait requires a list of unique ray_waitables.");
    }
    mark.store(this_wait, std::memory_order_relaxed);
  }
  return refs;
}

// The positions of up to `want` refs that are ready now (fetch: and on this node), in order.
std::vector<size_t> FindReady(const std::vector<const Ref*>& refs, size_t want, bool fetch) {
  CoreWorker* core = Session::Get().core();
  std::vector<size_t> found;
  for (size_t i = 0; i < refs.size() && found.size() < want; ++i) {
    if (!refs[i]->ready()) continue;
    if (fetch) {
      size_t local = 0;
      const Ref* one[] = {refs[i]};
      const Status status = core->Wait(one, 1, 0, true, &local);  // a deadline in the past: only a look
      if (local == 0) {
        if (!status.ok() && status.code() != StatusCode::kTimeout &&
            status.code() != StatusCode::kInterrupted) {
          RaiseStatus(status);
        }
        continue;
      }
    }
    found.push_back(i);
  }
  return found;
}

// (list of those at the positions, list of the others).
nb::object Split(PyObject* list, const std::vector<size_t>& ready_at) {
  const auto n = static_cast<size_t>(PyList_GET_SIZE(list));
  nb::object ready = Steal(PyList_New(static_cast<Py_ssize_t>(ready_at.size())));
  nb::object rest = Steal(PyList_New(static_cast<Py_ssize_t>(n - ready_at.size())));
  PyObject** from = PySequence_Fast_ITEMS(list);
  PyObject** to = PySequence_Fast_ITEMS(rest.ptr());
  size_t next = 0;
  const auto take = [&] {
    Py_INCREF(from[next]);
    return from[next++];
  };
  const auto move_rest = [&](size_t end) {
    while (next < end) *to++ = take();
  };
  for (size_t i = 0; i < ready_at.size(); ++i) {
    move_rest(ready_at[i]);
    PyList_SET_ITEM(ready.ptr(), static_cast<Py_ssize_t>(i), take());
  }
  move_rest(n);
  return Steal(PyTuple_Pack(2, ready.ptr(), rest.ptr()));
}

}  // namespace

// _wait(refs: list, num_returns: int, timeout: float | None, fetch_local: bool)
PyObject* WaitSlot(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  return Guard<PyObject*>(nullptr, [&] {
    if (nargs != 4 || !PyList_Check(args[0]))
      Raise(PyExc_TypeError, "_wait() wants a list and three more arguments");
    const auto want = static_cast<size_t>(PyLong_AsSsize_t(args[1]));
    Check(PyErr_Occurred() == nullptr);
    const TimeNs deadline = DeadlineOf(args[2]);
    const bool fetch = PyObject_IsTrue(args[3]) == 1;
    std::deque<nb::object> held;
    std::vector<const Ref*> refs = CheckedRefs(args[0], &held);
    std::vector<size_t> found = FindReady(refs, want, fetch);
    if (found.size() == want) return Split(args[0], found).release().ptr();
    // A copy: the user's list may change while we wait without the GIL.
    nb::object list = Steal(PyList_GetSlice(args[0], 0, PyList_GET_SIZE(args[0])));
    for (bool time_left = true; time_left && found.size() < want;) {
      time_left = WaitFor(refs, want, deadline, fetch) >= want;
      found = FindReady(refs, want, fetch);
    }
    return Split(list.ptr(), found).release().ptr();
  });
}

}  // namespace rmpi::python
