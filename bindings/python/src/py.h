// SPDX-License-Identifier: Apache-2.0
// What every file of the extension needs from CPython: owning references that throw, the GIL let go for a
// while, C++ exceptions turned into Python's at the edge of a C slot.
//
// Convention: a function that returns nb::object throws nb::python_error; a function that returns PyObject*
// is a slot of CPython's (nullptr: an error is set).
#pragma once

#include <nanobind/nanobind.h>
#include <structmember.h>  // after Python.h, which nanobind brings

#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace rmpi::python {

namespace nb = nanobind;

// Takes over a new reference, or throws the error that is set.
inline nb::object Steal(PyObject* p) {
  if (p == nullptr) nb::raise_python_error();
  return nb::steal<nb::object>(p);
}
inline void Check(bool ok) {
  if (!ok) nb::raise_python_error();
}
[[noreturn]] inline void Raise(PyObject* type, const std::string& text) {
  PyErr_SetString(type, text.c_str());
  nb::raise_python_error();
}

inline nb::object Str(std::string_view s) {
  return Steal(PyUnicode_FromStringAndSize(s.data(), static_cast<Py_ssize_t>(s.size())));
}
inline nb::object BytesOf(const void* data, size_t size) {
  return Steal(PyBytes_FromStringAndSize(static_cast<const char*>(data), static_cast<Py_ssize_t>(size)));
}

// Runs the body of a C slot: whatever it throws becomes the Python error of the call.
template <typename R, typename Body>
R Guard(R failure, Body&& body) noexcept {
  try {
    return body();
  } catch (nb::python_error& e) {
    e.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return failure;
}

// Lets other Python threads run while this one waits in the core.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() { PyEval_RestoreThread(state_); }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// An attribute of an importable module, looked up once per process. Kept for ever on purpose: at interpreter
// exit nobody may run code any more.
class Imported {
 public:
  constexpr Imported(const char* module, const char* name) : module_(module), name_(name) {}
  PyObject* get() {
    if (object_ == nullptr) {
      nb::object module = Steal(PyImport_ImportModule(module_));
      object_ = PyObject_GetAttrString(module.ptr(), name_);
      if (object_ == nullptr) nb::raise_python_error();
    }
    return object_;
  }

 private:
  const char* module_;
  const char* name_;
  PyObject* object_ = nullptr;
};

// Raises the Python exception that stands for a failed call of the core.
[[noreturn]] void RaiseStatus(const Status& status);
inline void CheckStatus(const Status& status) {
  if (!status.ok()) RaiseStatus(status);
}

}  // namespace rmpi::python
