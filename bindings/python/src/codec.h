// SPDX-License-Identifier: Apache-2.0
// Values as bytes, in the form of value_tags.h, which all languages share.
//
// The fast tags are used where they keep Ray's meaning: exact types only, and nothing mutable inside a tuple
// (a list or dict loses its identity in them as in Ray; instances of classes go through pickle and keep it).
// For a reader in another language there is no pickle: what has no fast tag is msgpack (foreign.h).
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "bindings/cpp/include/ray/api/value_tags.h"
#include "bindings/python/src/py.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::python {

using ray::internal::Tag;

// Encodes values into one run of bytes. Small things are copied at once; the data of big buffers stays where
// it is, held, until Write. Made and destroyed with the GIL held; Write needs no GIL.
class Encoder {
 public:
  Encoder() = default;
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void Value(PyObject* o);
  // The same for a reader in another language; TypeError for what only Python can read.
  void ForeignValue(PyObject* o);
  size_t size() const { return head_size_ + data_size_; }
  void Write(std::byte* dest) const;
  std::vector<Ref>& refs() { return refs_; }  // all refs inside the values

  // A point to go back to: what was appended after it is dropped.
  struct Mark {
    size_t head, data, pieces, held, refs;
  };
  Mark mark() const { return {head_size_, data_size_, pieces_.size(), held_.size(), refs_.size()}; }
  void Rewind(const Mark& m);

  // Writes how many bytes follow a u64 put at `at`. REQUIRES: no pieces since.
  void PatchLength(size_t at);

  void PutTag(Tag tag) { Put(static_cast<uint8_t>(tag)); }
  template <typename T>
  void Put(T value) {
    std::memcpy(Grow(sizeof(T)), &value, sizeof(T));
  }
  void PutBytes(const void* data, size_t size) {
    std::byte* dest = Grow(size);
    if (size != 0) std::memcpy(dest, data, size);
  }

 private:
  struct Piece {
    size_t head_end;  // bytes of head_ that stand before it
    const std::byte* data;
    size_t size;
  };

  bool Fast(PyObject* o, int depth, bool immutable_only);
  bool FastList(PyObject* o, int depth);
  bool FastTuple(PyObject* o, int depth);
  bool FastDict(PyObject* o, int depth);
  bool Array(PyObject* o);
  void Pickle(PyObject* o);
  void Align();
  // Data of a buffer: copied when small, else a piece; `view` is taken over.
  void TakeBuffer(Py_buffer&& view);
  void TakeBytes(PyObject* owner, const void* data, size_t size);
  std::byte* Grow(size_t n) {
    if (head_size_ + n > head_capacity_) Reserve(head_size_ + n);
    std::byte* p = head_ + head_size_;
    head_size_ += n;
    return p;
  }
  void Reserve(size_t capacity);

  static constexpr size_t kSmall = 1024;
  std::byte small_[kSmall];
  std::byte* head_ = small_;
  size_t head_size_ = 0;
  size_t head_capacity_ = kSmall;
  size_t data_size_ = 0;  // sum of the pieces
  std::vector<Piece> pieces_;
  std::vector<Py_buffer> held_;
  std::vector<Ref> refs_;
};

// Reads values back. Without a keep_alive the bytes need only live as long as the decoder: arrays are copied.
// `outer` is the object whose value this is (nil: none): it protects the refs inside.
class Decoder {
 public:
  Decoder(Bytes bytes, const std::shared_ptr<const void>& keep_alive, const Ref& outer)
      : begin_(bytes.data()),
        at_(begin_),
        end_(begin_ + bytes.size()),
        keep_alive_(keep_alive),
        outer_(outer) {}

  nb::object Value();
  bool at_end() const { return at_ == end_; }
  Tag PeekTag() const { return at_ == end_ ? Tag::kNone : static_cast<Tag>(*at_); }
  template <typename T>
  T Take() {
    T value;
    std::memcpy(&value, Advance(sizeof(T)), sizeof(T));
    return value;
  }
  const std::byte* Advance(size_t n) {
    if (n > static_cast<size_t>(end_ - at_)) Truncated();
    const std::byte* p = at_;
    at_ += n;
    return p;
  }

 private:
  [[noreturn]] static void Truncated();
  nb::object Array();
  nb::object Pickle();
  nb::object Dict();
  const std::byte* Aligned(size_t n);

  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  const std::shared_ptr<const void>& keep_alive_;
  const Ref& outer_;
};

// Raises again what pickling `value` raised; a TypeError says in addition which part of `what` it was.
[[noreturn]] void ExplainUnserializable(nb::python_error& error, const char* what, PyObject* value);

// The Python object of a stored value.
nb::object DecodeView(const ValueView& view, const Ref& outer);
// A source that writes what `encoder` holds; `encoder` must outlive it.
ValueSource SourceOf(Encoder& encoder, ValueKind kind = ValueKind::kValue);

}  // namespace rmpi::python
