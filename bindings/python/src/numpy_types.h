// SPDX-License-Identifier: Apache-2.0
// numpy without its C headers: an array is recognised by its exact type once numpy has been imported by
// somebody, read through the buffer protocol, and rebuilt by its constructor over a read-only buffer. numpy
// is imported by us only when a value needs it (never in the zygote).
#pragma once

#include "bindings/python/src/py.h"

namespace rmpi::python {

// Exactly numpy.ndarray, not a subclass.
bool IsArray(PyObject* o);
// numpy's type character for a buffer format; 0: none of the plain native types.
char DtypeCharacter(const char* format);
size_t DtypeSize(char dtype);
nb::object MakeArray(PyObject* shape, char dtype, PyObject* buffer, char order);

}  // namespace rmpi::python
