// SPDX-License-Identifier: Apache-2.0
// Reading objects: waiting, raising what a failed one stands for, decoding.
#pragma once

#include "bindings/python/src/py.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::python {

// Seconds from a Python number, or None for ever. Negative: for ever too (as Ray's get).
TimeNs DeadlineOf(PyObject* timeout);

// The values of refs, in their order. Raises the first error that shows up, without waiting for the rest, and
// GetTimeoutError when the deadline passes.
std::vector<nb::object> GetValues(std::span<const Ref* const> refs, TimeNs deadline);

PyObject* GetSlot(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names);
PyObject* WaitSlot(PyObject*, PyObject* const* args, Py_ssize_t nargs);

}  // namespace rmpi::python
