// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "bindings/python/src/buffer.h"
#include "bindings/python/src/codec.h"
#include "bindings/python/src/foreign.h"
#include "bindings/python/src/numpy_types.h"
#include "bindings/python/src/object_ref.h"
#include "objstore/copy.h"

namespace rmpi::python {
namespace {

constexpr int kMaxDepth = 16;             // deeper, or cyclic: pickle's business
constexpr size_t kPieceMin = 2048;        // from here on data is not copied twice
constexpr size_t kStreamMin = 32 * 1024;  // from here on the store's own copy is better than memcpy

Imported g_dumps("ray_mpi._serialization", "dumps");
Imported g_explain("ray_mpi._serialization", "explain");

}  // namespace

Encoder::~Encoder() {
  for (Py_buffer& view : held_) PyBuffer_Release(&view);
  if (head_ != small_) std::free(head_);
}

void Encoder::Reserve(size_t capacity) {
  capacity = std::max(capacity, head_capacity_ * 2);
  auto* bigger = static_cast<std::byte*>(std::realloc(head_ == small_ ? nullptr : head_, capacity));
  if (bigger == nullptr) throw std::bad_alloc();
  if (head_ == small_) std::memcpy(bigger, small_, head_size_);
  head_ = bigger;
  head_capacity_ = capacity;
}

void Encoder::Rewind(const Mark& m) {
  head_size_ = m.head;
  data_size_ = m.data;
  pieces_.resize(m.pieces);
  for (size_t i = m.held; i < held_.size(); ++i) PyBuffer_Release(&held_[i]);
  held_.resize(m.held);
  refs_.resize(m.refs);
}

void Encoder::Align() {
  const size_t rest = size() % kBufferAlignment;
  if (rest != 0) std::memset(Grow(kBufferAlignment - rest), 0, kBufferAlignment - rest);
}

void Encoder::TakeBuffer(Py_buffer&& view) {
  const auto n = static_cast<size_t>(view.len);
  if (n < kPieceMin) {
    PutBytes(view.buf, n);
    PyBuffer_Release(&view);
    return;
  }
  held_.push_back(view);
  pieces_.push_back({head_size_, static_cast<const std::byte*>(view.buf), n});
  data_size_ += n;
}

void Encoder::TakeBytes(PyObject* owner, const void* data, size_t n) {
  if (n < kPieceMin) return PutBytes(data, n);
  Py_buffer view;
  Check(PyBuffer_FillInfo(&view, owner, const_cast<void*>(data), static_cast<Py_ssize_t>(n), 1,
                          PyBUF_SIMPLE) == 0);
  TakeBuffer(std::move(view));
}

void Encoder::Write(std::byte* dest) const {
  size_t head_at = 0;
  for (const Piece& piece : pieces_) {
    std::memcpy(dest, head_ + head_at, piece.head_end - head_at);
    dest += piece.head_end - head_at;
    head_at = piece.head_end;
    if (piece.size >= kStreamMin) {
      objstore::CopyIn(dest, piece.data, piece.size);
    } else {
      std::memcpy(dest, piece.data, piece.size);
    }
    dest += piece.size;
  }
  std::memcpy(dest, head_ + head_at, head_size_ - head_at);
}

void Encoder::Value(PyObject* o) {
  const Mark start = mark();
  if (Fast(o, 0, false)) return;
  Rewind(start);
  if (IsArray(o)) {
    if (Array(o)) return;
    Rewind(start);
  }
  Pickle(o);
}

void Encoder::ForeignValue(PyObject* o) {
  const Mark start = mark();
  if (Fast(o, 0, false)) return;
  Rewind(start);
  if (IsArray(o)) {
    if (Array(o)) return;
    Rewind(start);
  }
  PackMsgpack(*this, o);
}

void Encoder::PatchLength(size_t at) {
  const size_t head_at = at - data_size_;
  const uint64_t length = head_size_ - head_at - sizeof length;
  std::memcpy(head_ + head_at, &length, sizeof length);
}

bool Encoder::Fast(PyObject* o, int depth, bool immutable_only) {
  PyTypeObject* type = Py_TYPE(o);
  if (o == Py_None) {
    PutTag(Tag::kNone);
  } else if (type == &PyLong_Type) {
    int overflow = 0;
    const int64_t value = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow != 0) return false;
    if (value == static_cast<int8_t>(value)) {
      PutTag(Tag::kInt8);
      Put(static_cast<int8_t>(value));
    } else {
      PutTag(Tag::kInt64);
      Put(value);
    }
  } else if (type == &PyFloat_Type) {
    PutTag(Tag::kFloat);
    Put(PyFloat_AS_DOUBLE(o));
  } else if (type == &PyUnicode_Type) {
    Py_ssize_t n = 0;
    const char* text = PyUnicode_AsUTF8AndSize(o, &n);
    if (text == nullptr || n > INT32_MAX) {  // lone surrogates: pickle knows how
      PyErr_Clear();
      return false;
    }
    PutTag(Tag::kStr);
    Put(static_cast<uint32_t>(n));
    TakeBytes(o, text, static_cast<size_t>(n));
  } else if (type == &PyBytes_Type) {
    PutTag(Tag::kBytes);
    Put(static_cast<uint64_t>(PyBytes_GET_SIZE(o)));
    TakeBytes(o, PyBytes_AS_STRING(o), static_cast<size_t>(PyBytes_GET_SIZE(o)));
  } else if (type == &PyBool_Type) {
    PutTag(o == Py_True ? Tag::kTrue : Tag::kFalse);
  } else if (type == &PyTuple_Type) {
    return FastTuple(o, depth);
  } else if (type == &PyList_Type) {
    return !immutable_only && FastList(o, depth);
  } else if (type == &PyDict_Type) {
    return !immutable_only && FastDict(o, depth);
  } else if (type == g_object_ref_type && !RefOf(o).nil()) {
    const auto id = ToBinary(LiveRef(o).id());
    PutTag(Tag::kRef);
    PutBytes(id.data(), id.size());
    refs_.push_back(RefOf(o));
  } else {
    return false;
  }
  return true;
}

bool Encoder::FastTuple(PyObject* o, int depth) {
  const Py_ssize_t n = PyTuple_GET_SIZE(o);
  if (depth >= kMaxDepth || n > INT32_MAX) return false;
  PutTag(Tag::kTuple);
  Put(static_cast<uint32_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (!Fast(PyTuple_GET_ITEM(o, i), depth + 1, true)) return false;
  }
  return true;
}

bool Encoder::FastList(PyObject* o, int depth) {
  const Py_ssize_t n = PyList_GET_SIZE(o);
  if (depth >= kMaxDepth || n > INT32_MAX) return false;
  PutTag(Tag::kList);
  Put(static_cast<uint32_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (!Fast(PyList_GET_ITEM(o, i), depth + 1, false)) return false;
  }
  return true;
}

bool Encoder::FastDict(PyObject* o, int depth) {
  const Py_ssize_t n = PyDict_GET_SIZE(o);
  if (depth >= kMaxDepth || n > INT32_MAX) return false;
  PutTag(Tag::kDict);
  Put(static_cast<uint32_t>(n));
  Py_ssize_t at = 0;
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  while (PyDict_Next(o, &at, &key, &value)) {
    if (!Fast(key, depth + 1, true) || !Fast(value, depth + 1, false)) return false;
  }
  return true;
}

bool Encoder::Array(PyObject* o) {
  Py_buffer view;
  if (PyObject_GetBuffer(o, &view, PyBUF_ANY_CONTIGUOUS | PyBUF_FORMAT) != 0) {
    PyErr_Clear();  // not contiguous, or a dtype without a buffer form (dates, objects)
    return false;
  }
  const char dtype = DtypeCharacter(view.format);
  if (dtype == 0 || view.ndim > UINT8_MAX) {
    PyBuffer_Release(&view);
    return false;
  }
  PutTag(Tag::kArray);
  Put(dtype);
  Put(PyBuffer_IsContiguous(&view, 'C') ? 'C' : 'F');
  Put(static_cast<uint8_t>(view.ndim));
  for (int i = 0; i < view.ndim; ++i) Put(static_cast<uint64_t>(view.shape[i]));
  Align();
  TakeBuffer(std::move(view));
  return true;
}

void Encoder::Pickle(PyObject* o) {
  nb::object pickled;
  {
    RefCollector collector(&refs_);
    pickled = Steal(PyObject_CallOneArg(g_dumps.get(), o));  // (pickle, [buffers])
  }
  PyObject* buffers = PyTuple_GET_ITEM(pickled.ptr(), 1);
  const Py_ssize_t n = PyList_GET_SIZE(buffers);
  Py_buffer body;
  Check(PyObject_GetBuffer(PyTuple_GET_ITEM(pickled.ptr(), 0), &body, PyBUF_SIMPLE) == 0);
  PutTag(Tag::kPickle);
  Put(static_cast<uint32_t>(n));
  Put(static_cast<uint64_t>(body.len));
  std::vector<Py_buffer> views(static_cast<size_t>(n));
  Py_ssize_t got = 0;
  while (got < n && PyObject_GetBuffer(PyList_GET_ITEM(buffers, got), &views[static_cast<size_t>(got)],
                                       PyBUF_ANY_CONTIGUOUS) == 0) {
    ++got;
  }
  if (got < n) {
    for (Py_ssize_t i = 0; i < got; ++i) PyBuffer_Release(&views[static_cast<size_t>(i)]);
    PyBuffer_Release(&body);
    nb::raise_python_error();
  }
  for (const Py_buffer& view : views) Put(static_cast<uint64_t>(view.len));
  TakeBuffer(std::move(body));
  for (Py_buffer& view : views) {
    Align();
    TakeBuffer(std::move(view));
  }
}

void ExplainUnserializable(nb::python_error& error, const char* what, PyObject* value) {
  if (error.matches(PyExc_TypeError)) {
    nb::object text = Steal(PyObject_CallFunction(g_explain.get(), "sOO", what, value, error.value().ptr()));
    PyErr_SetObject(PyExc_TypeError, text.ptr());
    nb::raise_python_error();
  }
  error.restore();
  nb::raise_python_error();
}

ValueSource SourceOf(Encoder& encoder, ValueKind kind) {
  ValueSource source;
  source.size = encoder.size();
  source.write = [&encoder](std::byte* dest) { encoder.Write(dest); };
  source.contained = encoder.refs();
  source.kind = kind;
  return source;
}

}  // namespace rmpi::python
