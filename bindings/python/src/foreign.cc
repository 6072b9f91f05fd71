// SPDX-License-Identifier: Apache-2.0
#include "bindings/python/src/foreign.h"

#include <nanobind/stl/string.h>

#include <msgpack.hpp>
#include <string_view>

#include "bindings/python/src/numpy_types.h"
#include "bindings/python/src/object_ref.h"

namespace rmpi::python {
namespace {

Imported g_raise_foreign("ray_mpi._errors", "raise_foreign");
Imported g_foreign_parts("ray_mpi.actor", "foreign_parts");
Imported g_foreign_handle("ray_mpi.actor", "foreign_handle");

constexpr int kMaxDepth = 100;

struct Stream {
  Encoder& encoder;
  void write(const char* data, size_t size) { encoder.PutBytes(data, size); }
};
using Packer = msgpack::packer<Stream>;

void PackOne(Encoder& encoder, Packer& packer, PyObject* o, int depth);

void PackNumber(Packer& packer, PyObject* o) {
  int overflow = 0;
  const int64_t value = PyLong_AsLongLongAndOverflow(o, &overflow);
  if (overflow == 0) {
    Check(!(value == -1 && PyErr_Occurred() != nullptr));
    packer.pack_int64(value);
    return;
  }
  const uint64_t large = PyLong_AsUnsignedLongLong(o);
  if (PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    PyErr_Format(PyExc_OverflowError, "%R does not fit the 64 bits that integers have in other languages", o);
    nb::raise_python_error();
  }
  packer.pack_uint64(large);
}

void PackBuffer(Packer& packer, PyObject* o) {
  Py_buffer view;
  Check(PyObject_GetBuffer(o, &view, PyBUF_SIMPLE) == 0);
  if (view.len <= UINT32_MAX) {
    packer.pack_bin(static_cast<uint32_t>(view.len));
    packer.pack_bin_body(static_cast<const char*>(view.buf), static_cast<uint32_t>(view.len));
  }
  const bool fits = view.len <= UINT32_MAX;
  PyBuffer_Release(&view);
  if (!fits)
    Raise(PyExc_OverflowError, "bytes of 4 GiB and more go to another language as an argument of their own");
}

void PackSequence(Encoder& encoder, Packer& packer, PyObject* o, int depth) {
  nb::object items = Steal(PySequence_Fast(o, "a list or tuple"));
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(items.ptr());
  packer.pack_array(static_cast<uint32_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i)
    PackOne(encoder, packer, PySequence_Fast_GET_ITEM(items.ptr(), i), depth + 1);
}

void PackDict(Encoder& encoder, Packer& packer, PyObject* o, int depth) {
  packer.pack_map(static_cast<uint32_t>(PyDict_GET_SIZE(o)));
  Py_ssize_t at = 0;
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  while (PyDict_Next(o, &at, &key, &value)) {
    PackOne(encoder, packer, key, depth + 1);
    PackOne(encoder, packer, value, depth + 1);
  }
}

void PackRef(Encoder& encoder, Packer& packer, PyObject* o) {
  const auto id = ToBinary(LiveRef(o).id());
  packer.pack_ext(static_cast<uint32_t>(id.size()), ray::internal::kRefExtension);
  packer.pack_ext_body(reinterpret_cast<const char*>(id.data()), static_cast<uint32_t>(id.size()));
  encoder.refs().push_back(RefOf(o));
}

// An actor's handle; false: it is none.
bool PackHandle(Encoder& encoder, Packer& packer, PyObject* o) {
  nb::object parts = Steal(PyObject_CallOneArg(g_foreign_parts.get(), o));
  if (parts.is_none()) return false;
  PyObject* ref = PyTuple_GET_ITEM(parts.ptr(), 0);
  const auto id = ToBinary(LiveRef(ref).id());
  std::string body(reinterpret_cast<const char*>(id.data()), id.size());
  body.push_back(PyTuple_GET_ITEM(parts.ptr(), 1) == Py_True ? '\1' : '\0');
  body += nb::cast<std::string>(nb::handle(PyTuple_GET_ITEM(parts.ptr(), 2)));
  packer.pack_ext(body.size(), ray::internal::kActorExtension);
  packer.pack_ext_body(body.data(), static_cast<uint32_t>(body.size()));
  encoder.refs().push_back(RefOf(ref));
  return true;
}

// numpy's own objects as the plain ones that they stand for; or nothing.
nb::object Plain(PyObject* o) {
  if (std::string_view(Py_TYPE(o)->tp_name).substr(0, 6) != "numpy.") return {};
  return Steal(PyObject_CallMethod(o, "tolist", nullptr));
}

void PackOne(Encoder& encoder, Packer& packer, PyObject* o, int depth) {
  if (depth > kMaxDepth)
    Raise(PyExc_ValueError, "values for other languages nest at most 100 deep (is this one inside itself?)");
  if (o == Py_None) {
    packer.pack_nil();
  } else if (PyBool_Check(o)) {
    o == Py_True ? packer.pack_true() : packer.pack_false();
  } else if (PyLong_Check(o)) {
    PackNumber(packer, o);
  } else if (PyFloat_Check(o)) {
    packer.pack_double(PyFloat_AS_DOUBLE(o));
  } else if (PyUnicode_Check(o)) {
    Py_ssize_t n = 0;
    const char* text = PyUnicode_AsUTF8AndSize(o, &n);
    Check(text != nullptr);
    packer.pack_str(static_cast<uint32_t>(n));
    packer.pack_str_body(text, static_cast<uint32_t>(n));
  } else if (PyBytes_Check(o) || PyByteArray_Check(o) || PyMemoryView_Check(o)) {
    PackBuffer(packer, o);
  } else if (PyList_Check(o) || PyTuple_Check(o)) {
    PackSequence(encoder, packer, o, depth);
  } else if (PyDict_Check(o)) {
    PackDict(encoder, packer, o, depth);
  } else if (IsObjectRef(o) && !RefOf(o).nil()) {
    PackRef(encoder, packer, o);
  } else if (nb::object plain = Plain(o); plain.is_valid()) {
    PackOne(encoder, packer, plain.ptr(), depth + 1);
  } else if (!PackHandle(encoder, packer, o)) {
    PyErr_Format(PyExc_TypeError,
                 "a %.200s has no form that other languages read: use None, bool, int, float, str, bytes, "
                 "list, tuple, dict, ObjectRef, handles of actors or numpy arrays",
                 Py_TYPE(o)->tp_name);
    nb::raise_python_error();
  }
}

nb::object Make(const msgpack::object& o);

nb::object MakeDict(const msgpack::object& o) {
  nb::object dict = Steal(PyDict_New());
  for (uint32_t i = 0; i < o.via.map.size; ++i) {
    const msgpack::object_kv& item = o.via.map.ptr[i];
    nb::object key = Make(item.key);
    if (PyList_CheckExact(key.ptr())) key = Steal(PyList_AsTuple(key.ptr()));  // a key must not change
    nb::object value = Make(item.val);
    Check(PyDict_SetItem(dict.ptr(), key.ptr(), value.ptr()) == 0);
  }
  return dict;
}

nb::object MakeExtension(const msgpack::object& o) {
  const auto& ext = o.via.ext;
  ObjectId id;
  if (ext.type() == ray::internal::kRefExtension && FromBinary({ext.data(), ext.size}, &id))
    return LoadRef(id);
  const std::string_view body(ext.data(), ext.size);
  constexpr size_t kId = ray::internal::kRefIdSize;
  if (ext.type() == ray::internal::kActorExtension && body.size() > kId &&
      FromBinary(body.substr(0, kId), &id)) {
    const nb::object ref = LoadRef(id);
    const std::string_view class_id = body.substr(kId + 1);
    return Steal(PyObject_CallFunction(g_foreign_handle.get(), "OOs#", ref.ptr(),
                                       body[kId] != 0 ? Py_True : Py_False, class_id.data(),
                                       static_cast<Py_ssize_t>(class_id.size())));
  }
  PyErr_Format(PyExc_ValueError,
               "the value has a msgpack extension of type %d, which Python has no object for", ext.type());
  nb::raise_python_error();
}

nb::object Make(const msgpack::object& o) {
  switch (o.type) {
    case msgpack::type::NIL:
      return nb::none();
    case msgpack::type::BOOLEAN:
      return nb::borrow(o.via.boolean ? Py_True : Py_False);
    case msgpack::type::POSITIVE_INTEGER:
      return Steal(PyLong_FromUnsignedLongLong(o.via.u64));
    case msgpack::type::NEGATIVE_INTEGER:
      return Steal(PyLong_FromLongLong(o.via.i64));
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      return Steal(PyFloat_FromDouble(o.via.f64));
    case msgpack::type::STR:
      return Steal(PyUnicode_DecodeUTF8(o.via.str.ptr, o.via.str.size, nullptr));
    case msgpack::type::BIN:
      return BytesOf(o.via.bin.ptr, o.via.bin.size);
    case msgpack::type::ARRAY: {
      nb::object list = Steal(PyList_New(o.via.array.size));
      for (uint32_t i = 0; i < o.via.array.size; ++i) {
        PyList_SET_ITEM(list.ptr(), i, Make(o.via.array.ptr[i]).release().ptr());
      }
      return list;
    }
    case msgpack::type::MAP:
      return MakeDict(o);
    case msgpack::type::EXT:
      return MakeExtension(o);
  }
  Raise(PyExc_ValueError, "the value is of a msgpack type that is not known");
}

}  // namespace

void PackMsgpack(Encoder& encoder, PyObject* o) {
  encoder.PutTag(Tag::kMsgpack);
  const size_t at = encoder.size();
  encoder.Put(uint64_t{0});
  Stream stream{encoder};
  Packer packer(stream);
  PackOne(encoder, packer, o, 0);
  encoder.PatchLength(at);
}

nb::object UnpackMsgpack(const std::byte* data, size_t size, const Ref& outer) {
  msgpack::zone zone;
  msgpack::object o;
  try {
    o = msgpack::unpack(zone, reinterpret_cast<const char*>(data), size,
                        [](msgpack::type::object_type, size_t, void*) { return true; });
  } catch (const msgpack::unpack_error& e) {
    Raise(PyExc_ValueError, std::string("the msgpack form of a value is damaged: ") + e.what());
  }
  const OuterRef scope(&outer);
  return Make(o);
}

void RaiseForeign(const TaskError& e) {
  const bool actor_died = e.in_constructor || e.type == kActorExitType;
  Steal(PyObject_CallFunction(g_raise_foreign.get(), "ssssOOs", e.language.c_str(), e.function.c_str(),
                              e.type.c_str(), e.message.c_str(),
                              e.type == kCancelledType ? Py_True : Py_False, actor_died ? Py_True : Py_False,
                              e.text.c_str()));
  Raise(PyExc_SystemError, "an error of another language raised nothing");
}

}  // namespace rmpi::python
