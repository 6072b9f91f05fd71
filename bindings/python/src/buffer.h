// SPDX-License-Identifier: Apache-2.0
// Buffer: a read-only Python buffer over bytes of a stored value. It holds the value's keep_alive, so arrays
// and memory views made from it pin the object store's memory exactly as long as Python can see them.
#pragma once

#include <cstddef>
#include <memory>

#include "bindings/python/src/py.h"

namespace rmpi::python {

constexpr size_t kBufferAlignment = 64;

void InitBuffer(nb::module_& m);

nb::object MakeBuffer(const std::byte* data, size_t size, std::shared_ptr<const void> keep_alive);
// The same, over a copy at a 64-byte boundary when `data` is not at one (values inside a message) or belongs
// to nobody (no keep_alive).
nb::object MakeAlignedBuffer(const std::byte* data, size_t size,
                             const std::shared_ptr<const void>& keep_alive);

}  // namespace rmpi::python
