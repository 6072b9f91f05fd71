// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/numpy_types.h"

#include <complex>
#include <cstring>
#include <string_view>

namespace rmpi::python {
namespace {

Imported g_ndarray("numpy", "ndarray");
Imported g_dtype("numpy", "dtype");
PyTypeObject* g_array_type = nullptr;
PyObject* g_dtypes[128] = {};  // by character; numpy's singletons, kept

}  // namespace

bool IsArray(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  if (g_array_type != nullptr) return type == g_array_type;
  // Nobody can have an array unless numpy is imported; its type's name spares the look-up for all others.
  if (std::strcmp(type->tp_name, "numpy.ndarray") != 0) return false;
  g_array_type = reinterpret_cast<PyTypeObject*>(g_ndarray.get());
  return type == g_array_type;
}

char DtypeCharacter(const char* format) {
  if (format == nullptr) return 0;
  const std::string_view f(format);
  if (f.size() == 1 && std::string_view("?bBhHiIlLqQefdg").find(f[0]) != std::string_view::npos) return f[0];
  if (f == "Zf") return 'F';
  if (f == "Zd") return 'D';
  if (f == "Zg") return 'G';
  return 0;
}

size_t DtypeSize(char dtype) {
  switch (dtype) {
    case '?':
    case 'b':
    case 'B':
      return 1;
    case 'h':
    case 'H':
    case 'e':
      return 2;
    case 'i':
    case 'I':
      return sizeof(int);
    case 'f':
      return sizeof(float);
    case 'l':
    case 'L':
      return sizeof(long);
    case 'q':
    case 'Q':
      return sizeof(long long);
    case 'd':
      return sizeof(double);
    case 'g':
      return sizeof(long double);
    case 'F':
      return sizeof(std::complex<float>);
    case 'D':
      return sizeof(std::complex<double>);
    case 'G':
      return sizeof(std::complex<long double>);
    default:
      Raise(PyExc_ValueError, std::string("a stored array has the unknown type '") + dtype + "'");
  }
}

nb::object MakeArray(PyObject* shape, char dtype, PyObject* buffer, char order) {
  PyObject*& type = g_dtypes[static_cast<size_t>(dtype) % 128];
  if (type == nullptr) {
    type = PyObject_CallFunction(g_dtype.get(), "s#", &dtype, static_cast<Py_ssize_t>(1));
    if (type == nullptr) nb::raise_python_error();
  }
  if (order == 'C') return Steal(PyObject_CallFunctionObjArgs(g_ndarray.get(), shape, type, buffer, nullptr));
  nb::object zero = Steal(PyLong_FromLong(0));
  nb::object order_name = Str("F");
  return Steal(PyObject_CallFunctionObjArgs(g_ndarray.get(), shape, type, buffer, zero.ptr(), Py_None,
                                            order_name.ptr(), nullptr));
}

}  // namespace rmpi::python
