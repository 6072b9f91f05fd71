// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/get.h"

#include <algorithm>
#include <utility>

#include "bindings/python/src/codec.h"
#include "bindings/python/src/foreign.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"

namespace rmpi::python {
namespace {

Imported g_raise_value("ray_mpi._errors", "raise_value");
Imported g_raise_system("ray_mpi._errors", "raise_system");
Imported g_raise_timeout("ray_mpi._errors", "raise_get_timeout");
Imported g_bad_ref("ray_mpi._errors", "raise_bad_get");
Imported g_ray_error("ray_mpi.exceptions", "RayError");

[[noreturn]] void RaiseError(const ValueView& view, const Ref& ref) {
  if (view.kind == ValueKind::kSystemError) {
    const SystemError e = DecodeSystemError(view.bytes);
    const std::string hex = Hex(ref.id());
    Steal(PyObject_CallFunction(g_raise_system.get(), "isss", static_cast<int>(e.type), e.message.c_str(),
                                e.context.c_str(), hex.c_str()));
  } else {
    Decoder decoder(view.bytes, view.keep_alive, ref);
    if (decoder.PeekTag() == Tag::kError) {
      // What every language reads; then, if it was Python, the exception itself.
      TaskError neutral;
      Bytes own;
      if (!DecodeTaskError(view.bytes, &neutral, &own)) Raise(PyExc_ValueError, "a stored error is damaged");
      if (own.empty()) RaiseForeign(neutral);
      decoder.Advance(view.bytes.size() - own.size());
    }
    nb::object error = decoder.Value();
    Steal(PyObject_CallOneArg(g_raise_value.get(), error.ptr()));
  }
  Raise(PyExc_SystemError, "an error object raised nothing");
}

nb::object ValueOf(const ValueView& view, const Ref& ref) {
  if (view.kind != ValueKind::kValue) RaiseError(view, ref);
  Decoder decoder(view.bytes, view.keep_alive, ref);
  const bool pickled = decoder.PeekTag() >= Tag::kPickle;
  nb::object value = decoder.Value();
  // Ray: an error that a task returned as its value is raised, too.
  if (pickled && PyObject_TypeCheck(value.ptr(), reinterpret_cast<PyTypeObject*>(g_ray_error.get()))) {
    Steal(PyObject_CallOneArg(g_raise_value.get(), value.ptr()));
  }
  return value;
}

// Reads what is there. False: not ready, not local, or lost since.
bool TryRead(CoreWorker* core, const Ref& ref, ValueView* view) {
  if (!ref.ready()) return false;
  const Status status = core->Read(ref, view);
  if (status.ok()) return true;
  if (status.code() != StatusCode::kUnavailable) RaiseStatus(status);
  return false;
}

// Fills `views` until all are there; keeps what it has read between rounds.
class Reader {
 public:
  explicit Reader(std::span<const Ref* const> refs) : refs_(refs), views_(refs.size()), done_(refs.size()) {}

  // Reads everything readable; an error among it is raised at once.
  void Sweep() {
    CoreWorker* core = Session::Get().core();
    for (size_t i = 0; i < refs_.size(); ++i) {
      if (done_[i] || !TryRead(core, *refs_[i], &views_[i])) continue;
      done_[i] = true;
      ++count_;
      if (views_[i].kind != ValueKind::kValue) RaiseError(views_[i], *refs_[i]);
    }
  }
  bool complete() const { return count_ == refs_.size(); }
  std::vector<const Ref*> Missing() const {
    std::vector<const Ref*> missing;
    for (size_t i = 0; i < refs_.size(); ++i) {
      if (!done_[i]) missing.push_back(refs_[i]);
    }
    return missing;
  }
  nb::object Decode(size_t i) {
    nb::object value = ValueOf(views_[i], *refs_[i]);
    views_[i] = ValueView{};
    return value;
  }

 private:
  std::span<const Ref* const> refs_;
  std::vector<ValueView> views_;
  std::vector<bool> done_;
  size_t count_ = 0;
};

nb::object GetOne(const Ref& ref, TimeNs deadline) {
  CoreWorker* core = Session::Get().core();
  ValueView view;
  while (!TryRead(core, ref, &view)) {
    const Ref* one[] = {&ref};
    if (WaitFor(one, 1, deadline, true) < 1) Steal(PyObject_CallFunction(g_raise_timeout.get(), "ii", 1, 1));
  }
  return ValueOf(view, ref);
}

const Ref& CheckedRef(PyObject* o) {
  if (!IsObjectRef(o)) Steal(PyObject_CallFunction(g_bad_ref.get(), "Oi", o, 1));
  return LiveRef(o);
}

nb::object Get(PyObject* what, TimeNs deadline) {
  if (IsObjectRef(what)) return GetOne(CheckedRef(what), deadline);
  if (!PyList_Check(what)) {
    // A generator is handed back as it is, anything else refused: the rare cases are Python's.
    return Steal(PyObject_CallFunction(g_bad_ref.get(), "Oi", what, 0));
  }
  std::vector<const Ref*> refs;
  std::vector<nb::object> held;  // the list may change while we wait without the GIL
  const Py_ssize_t n = PyList_GET_SIZE(what);
  refs.reserve(static_cast<size_t>(n));
  held.reserve(static_cast<size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = PyList_GET_ITEM(what, i);
    refs.push_back(&CheckedRef(item));
    held.push_back(nb::borrow(item));
  }
  std::vector<nb::object> values = GetValues(refs, deadline);
  nb::object list = Steal(PyList_New(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyList_SET_ITEM(list.ptr(), i, values[static_cast<size_t>(i)].release().ptr());
  }
  return list;
}

}  // namespace

TimeNs DeadlineOf(PyObject* timeout) {
  if (timeout == nullptr || timeout == Py_None) return kNever;
  const double seconds = PyFloat_AsDouble(timeout);
  Check(!(seconds == -1.0 && PyErr_Occurred() != nullptr));
  if (seconds < 0 || seconds > 1e9) return kNever;
  return MonotonicNow() + static_cast<TimeNs>(seconds * static_cast<double>(kSecond));
}

std::vector<nb::object> GetValues(std::span<const Ref* const> refs, TimeNs deadline) {
  Reader reader(refs);
  for (reader.Sweep(); !reader.complete(); reader.Sweep()) {  // raises an error that it finds
    const std::vector<const Ref*> missing = reader.Missing();
    const size_t ready = WaitFor(missing, missing.size(), deadline, true, true);
    if (ready < missing.size() && deadline != kNever && MonotonicNow() >= deadline) {
      reader.Sweep();
      if (reader.complete()) break;
      Steal(PyObject_CallFunction(g_raise_timeout.get(), "nn",
                                  static_cast<Py_ssize_t>(reader.Missing().size()),
                                  static_cast<Py_ssize_t>(refs.size())));
    }
  }
  std::vector<nb::object> values;
  values.reserve(refs.size());
  for (size_t i = 0; i < refs.size(); ++i) values.push_back(reader.Decode(i));
  return values;
}

PyObject* GetSlot(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return Guard<PyObject*>(nullptr, [&] {
    PyObject* refs = nargs > 0 ? args[0] : nullptr;
    PyObject* timeout = Py_None;
    const Py_ssize_t keywords = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    if (nargs > 1) Raise(PyExc_TypeError, "get() takes 1 positional argument: pass timeout by name");
    for (Py_ssize_t i = 0; i < keywords; ++i) {
      PyObject* name = PyTuple_GET_ITEM(names, i);
      if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
        timeout = args[nargs + i];
      } else if (PyUnicode_CompareWithASCIIString(name, "object_refs") == 0 && refs == nullptr) {
        refs = args[nargs + i];
      } else if (PyUnicode_CompareWithASCIIString(name, "_use_object_store") != 0) {
        PyErr_Format(PyExc_TypeError, "get() got an unexpected keyword argument '%U'", name);
        nb::raise_python_error();
      }
    }
    if (refs == nullptr)
      Raise(PyExc_TypeError, "get() missing 1 required positional argument: 'object_refs'");
    Session::Get().CoreOrStart();
    return Get(refs, DeadlineOf(timeout)).release().ptr();
  });
}

}  // namespace rmpi::python
