// SPDX-License-Identifier: Apache-2.0
// ray.wait, after its arguments were checked in Python: the look over a list of refs must cost some ten
// nanoseconds each, since programs call it in a loop over a shrinking list.
#include <algorithm>
#include <utility>

#include "bindings/python/src/get.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"

namespace rmpi::python {
namespace {

// A set of entries for finding duplicates, open addressing, emptied by raising the epoch.
class EntrySet {
 public:
  void Start(size_t count) {
    size_t slots = 64;
    while (slots < count * 2) slots *= 2;
    if (slots > slots_.size()) {
      slots_.assign(slots, Slot{});
      epoch_ = 0;
    }
    ++epoch_;
    mask_ = slots - 1;
  }
  bool Insert(const core::Entry* entry) {
    size_t at = static_cast<size_t>(Mix(reinterpret_cast<uintptr_t>(entry))) & mask_;
    while (slots_[at].epoch == epoch_) {
      if (slots_[at].entry == entry) return false;
      at = (at + 1) & mask_;
    }
    slots_[at] = {entry, epoch_};
    return true;
  }

 private:
  struct Slot {
    const core::Entry* entry = nullptr;
    uint64_t epoch = 0;
  };
  std::vector<Slot> slots_;
  uint64_t epoch_ = 0;
  size_t mask_ = 0;
};

std::vector<const Ref*> CheckedRefs(PyObject* list) {
  thread_local EntrySet seen;
  const auto n = static_cast<size_t>(PyList_GET_SIZE(list));
  std::vector<const Ref*> refs(n);
  seen.Start(n);
  for (size_t i = 0; i < n; ++i) {
    PyObject* item = PyList_GET_ITEM(list, static_cast<Py_ssize_t>(i));
    if (!IsObjectRef(item)) {
      PyErr_Format(
          PyExc_TypeError,
          "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got list containing %R",
          reinterpret_cast<PyObject*>(Py_TYPE(item)));
      nb::raise_python_error();
    }
    refs[i] = &LiveRef(item);
    if (!seen.Insert(refs[i]->entry()))
      Raise(PyExc_ValueError, "Wait requires a list of unique ray_waitables.");
  }
  return refs;
}

// Marks up to `want` refs that are ready now (fetch: and on this node), in their order. Returns how many.
size_t MarkReady(const std::vector<const Ref*>& refs, size_t want, bool fetch, std::vector<bool>* marks) {
  CoreWorker* core = Session::Get().core();
  size_t found = 0;
  for (size_t i = 0; i < refs.size() && found < want; ++i) {
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
    (*marks)[i] = true;
    ++found;
  }
  return found;
}

nb::object Split(PyObject* list, const std::vector<bool>& marks, size_t found) {
  const auto n = static_cast<size_t>(PyList_GET_SIZE(list));
  nb::object ready = Steal(PyList_New(static_cast<Py_ssize_t>(found)));
  nb::object rest = Steal(PyList_New(static_cast<Py_ssize_t>(n - found)));
  Py_ssize_t at[2] = {0, 0};
  for (size_t i = 0; i < n; ++i) {
    PyObject* item = PyList_GET_ITEM(list, static_cast<Py_ssize_t>(i));
    Py_INCREF(item);
    PyObject* target = marks[i] ? ready.ptr() : rest.ptr();
    PyList_SET_ITEM(target, at[marks[i] ? 0 : 1]++, item);
  }
  return Steal(PyTuple_Pack(2, ready.ptr(), rest.ptr()));
}

}  // namespace

// _wait(refs: list, num_returns: int, timeout: float | None, fetch_local: bool)
PyObject* WaitSlot(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  return Guard<PyObject*>(nullptr, [&] {
    if (nargs != 4 || !PyList_Check(args[0]))
      Raise(PyExc_TypeError, "_wait() wants a list and three more arguments");
    // A copy: the user's list may change while we wait without the GIL.
    nb::object list = Steal(PyList_GetSlice(args[0], 0, PyList_GET_SIZE(args[0])));
    const auto want = static_cast<size_t>(PyLong_AsSsize_t(args[1]));
    Check(PyErr_Occurred() == nullptr);
    const TimeNs deadline = DeadlineOf(args[2]);
    const bool fetch = PyObject_IsTrue(args[3]) == 1;
    const std::vector<const Ref*> refs = CheckedRefs(list.ptr());
    std::vector<bool> marks(refs.size());
    size_t found = MarkReady(refs, want, fetch, &marks);
    while (found < want) {
      const size_t ready = WaitFor(refs, want, deadline, fetch);
      std::fill(marks.begin(), marks.end(), false);
      found = MarkReady(refs, want, fetch, &marks);
      if (ready < want) break;  // the time is over
    }
    return Split(list.ptr(), marks, found).release().ptr();
  });
}

}  // namespace rmpi::python
