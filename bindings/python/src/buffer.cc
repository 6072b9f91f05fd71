// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/buffer.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace rmpi::python {
namespace {

struct Buffer {
  PyObject_HEAD const std::byte* data;
  Py_ssize_t size;
  std::shared_ptr<const void> keep_alive;
};

PyTypeObject* g_type = nullptr;

void Dealloc(PyObject* self) {
  auto* b = reinterpret_cast<Buffer*>(self);
  b->keep_alive.~shared_ptr();
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

int GetBuffer(PyObject* self, Py_buffer* view, int flags) {
  auto* b = reinterpret_cast<Buffer*>(self);
  return PyBuffer_FillInfo(view, self, const_cast<std::byte*>(b->data), b->size, /*readonly=*/1, flags);
}

Py_ssize_t Length(PyObject* self) { return reinterpret_cast<Buffer*>(self)->size; }

PyType_Slot g_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(&GetBuffer)},
    {Py_sq_length, reinterpret_cast<void*>(&Length)},
    {Py_tp_doc, const_cast<char*>("Read-only bytes of a stored value.")},
    {0, nullptr},
};
PyType_Spec g_spec = {"ray_mpi._core.Buffer", sizeof(Buffer), 0, Py_TPFLAGS_DEFAULT, g_slots};

}  // namespace

void InitBuffer(nb::module_& m) {
  nb::object type = Steal(PyType_FromSpec(&g_spec));
  g_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  g_type->tp_new = nullptr;  // made by the codec only
  m.attr("Buffer") = type;
  (void)type.release();
}

nb::object MakeBuffer(const std::byte* data, size_t size, std::shared_ptr<const void> keep_alive) {
  auto* b = PyObject_New(Buffer, g_type);
  if (b == nullptr) nb::raise_python_error();
  b->data = data;
  b->size = static_cast<Py_ssize_t>(size);
  new (&b->keep_alive) std::shared_ptr<const void>(std::move(keep_alive));
  return Steal(reinterpret_cast<PyObject*>(b));
}

nb::object MakeAlignedBuffer(const std::byte* data, size_t size,
                             const std::shared_ptr<const void>& keep_alive) {
  if (keep_alive != nullptr && reinterpret_cast<uintptr_t>(data) % kBufferAlignment == 0) {
    return MakeBuffer(data, size, keep_alive);
  }
  const size_t rounded = (size + kBufferAlignment) / kBufferAlignment * kBufferAlignment;
  void* copy = std::aligned_alloc(kBufferAlignment, rounded);
  if (copy == nullptr) throw std::bad_alloc();
  std::shared_ptr<const void> owner(copy, [](const void* p) { std::free(const_cast<void*>(p)); });
  if (size != 0) std::memcpy(copy, data, size);
  return MakeBuffer(static_cast<const std::byte*>(copy), size, std::move(owner));
}

}  // namespace rmpi::python
