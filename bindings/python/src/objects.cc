// SPDX-License-Identifier: Apache-2.0
// The module's functions on objects: get, put, wait, cancel; and encode/decode, the codec by itself (used by
// the tests, and by code that stores values of its own in key/value).
#include "bindings/python/src/args.h"
#include "bindings/python/src/get.h"
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/session.h"

namespace rmpi::python {
namespace {

Imported g_check_put("ray_mpi._errors", "check_put");

nb::object Put(PyObject* value) {
  CoreWorker* core = Session::Get().CoreOrStart();
  try {
    Ref ref = PutValue(core, value);
    NoteOrigin("put object", ref);
    return WrapRef(std::move(ref));
  } catch (nb::python_error& e) {
    ExplainUnserializable(e, "the put value", value);
  }
}

PyObject* PutSlot(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return Guard<PyObject*>(nullptr, [&] {
    if (nargs != 1 || names != nullptr || IsObjectRef(args[0])) {
      // Keywords and everything that is refused: Python says how. What it returns is what to store.
      nb::object positional = Steal(PyTuple_New(nargs));
      for (Py_ssize_t i = 0; i < nargs; ++i)
        PyTuple_SET_ITEM(positional.ptr(), i, nb::borrow(args[i]).release().ptr());
      nb::object keywords = Steal(PyDict_New());
      for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); ++i) {
        Check(PyDict_SetItem(keywords.ptr(), PyTuple_GET_ITEM(names, i), args[nargs + i]) == 0);
      }
      nb::object value = Steal(PyObject_Call(g_check_put.get(), positional.ptr(), keywords.ptr()));
      return Put(value.ptr()).release().ptr();
    }
    return Put(args[0]).release().ptr();
  });
}

void Cancel(nb::handle ref, bool force, bool recursive) {
  if (!IsObjectRef(ref.ptr())) Raise(PyExc_TypeError, "cancel() wants an ObjectRef");
  CheckStatus(Session::Get().core()->Cancel(LiveRef(ref.ptr()), force, recursive));
}

nb::object Encode(nb::handle value) {
  Encoder encoder;
  encoder.Value(value.ptr());
  nb::object bytes = Steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(encoder.size())));
  encoder.Write(reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes.ptr())));
  return bytes;
}

// The value in a buffer of Python's; the buffer is held as long as the value refers to it.
nb::object Decode(nb::handle buffer) {
  auto view = std::make_unique<Py_buffer>();
  Check(PyObject_GetBuffer(buffer.ptr(), view.get(), PyBUF_SIMPLE) == 0);
  const Bytes bytes(static_cast<const std::byte*>(view->buf), static_cast<size_t>(view->len));
  const std::shared_ptr<const void> owner(view.release(), [](const void* p) {
    const PyGILState_STATE gil = PyGILState_Ensure();
    auto* held = const_cast<Py_buffer*>(static_cast<const Py_buffer*>(p));
    PyBuffer_Release(held);
    delete held;
    PyGILState_Release(gil);
  });
  return Decoder(bytes, owner, Ref{}).Value();
}

PyMethodDef g_functions[] = {
    {"get", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&GetSlot)),
     METH_FASTCALL | METH_KEYWORDS,
     "get(object_refs, *, timeout=None)\n--\n\n"
     "The value of an ObjectRef, or the list of values of a list of them.\n\n"
     "Waits until all are there. A failed task's exception is raised as soon as it is known; "
     "GetTimeoutError\n"
     "after `timeout` seconds (0: only look). Arrays are read-only views of the object store."},
    {"put", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&PutSlot)),
     METH_FASTCALL | METH_KEYWORDS, "put(value)\n--\n\nStores a value and returns its ObjectRef."},
    {"_wait", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&WaitSlot)), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void InitObjects(nb::module_& m) {
  Check(PyModule_AddFunctions(m.ptr(), g_functions) == 0);
  m.def("cancel", &Cancel, "ref"_a, "force"_a, "recursive"_a);
  m.def("encode", &Encode, "value"_a.none(), "A value in the form in which it is stored.");
  m.def("decode", &Decode, "buffer"_a, "The value of a stored form.");
}

}  // namespace rmpi::python
