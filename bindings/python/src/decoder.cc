// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "bindings/python/src/buffer.h"
#include "bindings/python/src/codec.h"
#include "bindings/python/src/foreign.h"
#include "bindings/python/src/numpy_types.h"
#include "bindings/python/src/object_ref.h"

namespace rmpi::python {
namespace {

Imported g_loads("ray_mpi._serialization", "loads");

}  // namespace

void Decoder::Truncated() {
  Raise(PyExc_ValueError,
        "a stored value ends before it should: it was written by something else than ray-mpi");
}

const std::byte* Decoder::Aligned(size_t n) {
  const size_t rest = static_cast<size_t>(at_ - begin_) % kBufferAlignment;
  if (rest != 0) Advance(kBufferAlignment - rest);
  return Advance(n);
}

nb::object Decoder::Value() {
  const Tag tag = static_cast<Tag>(Take<uint8_t>());
  switch (tag) {
    case Tag::kNone:
      return nb::none();
    case Tag::kTrue:
      return nb::borrow(Py_True);
    case Tag::kFalse:
      return nb::borrow(Py_False);
    case Tag::kInt8:
      return Steal(PyLong_FromLong(Take<int8_t>()));
    case Tag::kInt64:
      return Steal(PyLong_FromLongLong(Take<int64_t>()));
    case Tag::kFloat:
      return Steal(PyFloat_FromDouble(Take<double>()));
    case Tag::kStr: {
      const auto n = Take<uint32_t>();
      return Steal(PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(Advance(n)), n, nullptr));
    }
    case Tag::kBytes: {
      const auto n = Take<uint64_t>();
      return BytesOf(Advance(n), n);
    }
    case Tag::kTuple: {
      const auto n = Take<uint32_t>();
      nb::object tuple = Steal(PyTuple_New(n));
      for (uint32_t i = 0; i < n; ++i) PyTuple_SET_ITEM(tuple.ptr(), i, Value().release().ptr());
      return tuple;
    }
    case Tag::kList: {
      const auto n = Take<uint32_t>();
      nb::object list = Steal(PyList_New(n));
      for (uint32_t i = 0; i < n; ++i) PyList_SET_ITEM(list.ptr(), i, Value().release().ptr());
      return list;
    }
    case Tag::kDict:
      return Dict();
    case Tag::kRef: {
      ObjectId id;
      if (!FromBinary({reinterpret_cast<const char*>(Advance(kObjectIdSize)), kObjectIdSize}, &id))
        Truncated();
      OuterRef outer(&outer_);
      return LoadRef(id);
    }
    case Tag::kArray:
      return Array();
    case Tag::kPickle:
      return Pickle();
    case Tag::kMsgpack: {
      const auto n = Take<uint64_t>();
      return UnpackMsgpack(Advance(n), n, outer_);
    }
    case Tag::kArgument:
    case Tag::kError:
      break;
  }
  Raise(PyExc_ValueError,
        "a stored value has a form that is not known: it was written by something else than this version of "
        "ray-mpi");
}

nb::object Decoder::Dict() {
  const auto n = Take<uint32_t>();
  nb::object dict = Steal(PyDict_New());
  for (uint32_t i = 0; i < n; ++i) {
    nb::object key = Value();
    nb::object value = Value();
    Check(PyDict_SetItem(dict.ptr(), key.ptr(), value.ptr()) == 0);
  }
  return dict;
}

nb::object Decoder::Array() {
  const char dtype = Take<char>();
  const char order = Take<char>();
  const auto dimensions = Take<uint8_t>();
  nb::object shape = Steal(PyTuple_New(dimensions));
  size_t count = 1;
  for (uint8_t i = 0; i < dimensions; ++i) {
    const auto n = Take<uint64_t>();
    count *= n;
    PyTuple_SET_ITEM(shape.ptr(), i, Steal(PyLong_FromUnsignedLongLong(n)).release().ptr());
  }
  const size_t size = count * DtypeSize(dtype);
  nb::object buffer = MakeAlignedBuffer(Aligned(size), size, keep_alive_);
  return MakeArray(shape.ptr(), dtype, buffer.ptr(), order);
}

nb::object Decoder::Pickle() {
  const auto count = Take<uint32_t>();
  const auto size = Take<uint64_t>();
  const std::byte* sizes = Advance(size_t{count} * sizeof(uint64_t));
  nb::object body = MakeBuffer(Advance(size), size, keep_alive_);
  nb::object buffers = Steal(PyList_New(count));
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t n = 0;
    std::memcpy(&n, sizes + i * sizeof n, sizeof n);
    PyList_SET_ITEM(buffers.ptr(), i, MakeAlignedBuffer(Aligned(n), n, keep_alive_).release().ptr());
  }
  OuterRef outer(&outer_);
  return Steal(PyObject_CallFunctionObjArgs(g_loads.get(), body.ptr(), buffers.ptr(), nullptr));
}

nb::object DecodeView(const ValueView& view, const Ref& outer) {
  return Decoder(view.bytes, view.keep_alive, outer).Value();
}

}  // namespace rmpi::python
