// SPDX-License-Identifier: Apache-2.0
// Values and errors of other languages: what is encoded as msgpack, because the reader is no Python.
#pragma once

#include <cstddef>
#include <string>

#include "bindings/cpp/src/task_error.h"
#include "bindings/python/src/codec.h"

namespace rmpi::python {

// Appends `o` as a msgpack value: None, bool, int (of 64 bits), float, str, bytes, list, tuple, dict,
// ObjectRef, and numpy's scalars and arrays. TypeError names the type that has no such form.
void PackMsgpack(Encoder& encoder, PyObject* o);

// The Python object of msgpack bytes: maps are dicts, arrays lists. `outer` protects the refs inside.
nb::object UnpackMsgpack(const std::byte* data, size_t size, const Ref& outer);

// Raises the CrossLanguageError (or TaskCancelledError) of a task in another language.
[[noreturn]] void RaiseForeign(const TaskError& error);

}  // namespace rmpi::python
