// SPDX-License-Identifier: Apache-2.0
/// \file
/// Encoder: values into bytes. Small things are copied at once; the data of big buffers stays where it is
/// until the library has copied it to its place, so the values must outlive the call that takes them from
/// here. It is also a stream for msgpack's packer.
#pragma once

#include <ray/api/runtime.h>
#include <ray/api/value_tags.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace ray {
inline namespace v5 {
namespace internal {

/// Counted handles in a row; the first few need no memory of their own.
class Handles {
 public:
  Handles() = default;
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  ~Handles() { Resize(0); }

  /// Takes over one count.
  void Add(abi::Handle h) {
    if (size_ < kFew) {
      few_[size_++] = h;
      return;
    }
    if (size_ == kFew) many_.assign(few_.begin(), few_.end());
    many_.push_back(h);
    ++size_;
  }
  void Resize(size_t size) {
    const abi::Api& api = GetApi();
    while (size_ > size) {
      api.ref_drop(data()[size_ - 1]);
      if (size_-- > kFew) many_.pop_back();
    }
  }
  const abi::Handle* data() const { return size_ > kFew ? many_.data() : few_.data(); }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kFew = 4;
  std::array<abi::Handle, kFew> few_ = {};
  std::vector<abi::Handle> many_;
  size_t size_ = 0;
};

class Encoder {
 public:
  Encoder() = default;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  ~Encoder() {
    if (head_ != small_.data()) std::free(head_);
  }

  size_t size() const { return head_size_ + data_size_; }

  void PutTag(Tag tag) { Put(static_cast<uint8_t>(tag)); }
  template <typename T>
  void Put(T value) {
    std::memcpy(Grow(sizeof(T)), &value, sizeof(T));
  }
  void PutBytes(const void* data, size_t size) {
    unsigned char* const dest = Grow(size);
    if (size != 0) std::memcpy(dest, data, size);
  }
  /// The data of a buffer: copied when small or when the value is a temporary, else where it is.
  void PutData(const void* data, size_t size) {
    if (size < kPieceMin || copy_data_) return PutBytes(data, size);
    pieces_.push_back({data, size, nullptr, nullptr});
    head_ends_.push_back(head_size_);
    data_size_ += size;
  }
  /// The data of a buffer that is made where it will lie: `write(context, dest)` does it, if it comes to
  /// that.
  void PutLater(size_t size, void (*make)(void* context, void* dest), void* context) {
    pieces_.push_back({nullptr, size, make, context});
    head_ends_.push_back(head_size_);
    data_size_ += size;
  }
  void Align() {
    const size_t rest = size() % kDataAlignment;
    if (rest != 0) std::memset(Grow(kDataAlignment - rest), 0, kDataAlignment - rest);
  }
  /// Packs one value with msgpack: `pack(stream)` does it.
  template <typename F>
  void Msgpack(F&& pack) {
    PutTag(Tag::kMsgpack);
    const size_t at = head_size_;
    Put(uint64_t{0});
    Encoder* const outer = Current();
    Current() = this;
    try {
      pack(*this);
    } catch (...) {
      Current() = outer;
      throw;
    }
    Current() = outer;
    const uint64_t length = head_size_ - at - sizeof(uint64_t);
    std::memcpy(head_ + at, &length, sizeof length);
  }
  /// msgpack's packer writes here.
  void write(const char* data, size_t size) { PutBytes(data, size); }

  /// A ref inside the values. Takes over one count.
  void AddRef(abi::Handle h) { refs_.Add(h); }
  const Handles& refs() const { return refs_; }

  /// The encoder that packs with msgpack on this thread now, or null: then a ref leaves by a way of the
  /// user's own.
  static Encoder*& Current() {
    thread_local Encoder* current = nullptr;
    return current;
  }

  /// While set, data is copied: the value does not live long enough.
  void set_copy_data(bool copy) { copy_data_ = copy; }

  /// A point to go back to: what was put after it is dropped.
  struct Mark {
    size_t head, data, pieces, refs;
  };
  Mark mark() const { return {head_size_, data_size_, pieces_.size(), refs_.size()}; }
  void Rewind(const Mark& m) {
    head_size_ = m.head;
    data_size_ = m.data;
    pieces_.resize(m.pieces);
    head_ends_.resize(m.pieces);
    refs_.Resize(m.refs);
  }

  /// All of it, as the library takes it. Valid until the next change.
  abi::ValueIn Take() {
    abi::ValueIn in;
    in.refs = refs_.data();
    in.ref_count = refs_.size();
    if (pieces_.empty()) {
      whole_ = {head_, head_size_, nullptr, nullptr};
      in.pieces = &whole_;
      in.piece_count = 1;
      return in;
    }
    all_.clear();
    size_t head_at = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      all_.push_back({head_ + head_at, head_ends_[i] - head_at, nullptr, nullptr});
      all_.push_back(pieces_[i]);
      head_at = head_ends_[i];
    }
    all_.push_back({head_ + head_at, head_size_ - head_at, nullptr, nullptr});
    in.pieces = all_.data();
    in.piece_count = all_.size();
    return in;
  }

 private:
  static constexpr size_t kSmall = 512;
  static constexpr size_t kPieceMin = 2048;  // from here on data is not copied twice

  unsigned char* Grow(size_t n) {
    if (head_size_ + n > capacity_) Reserve(head_size_ + n);
    unsigned char* const p = head_ + head_size_;
    head_size_ += n;
    return p;
  }
  void Reserve(size_t capacity) {
    if (capacity < capacity_ * 2) capacity = capacity_ * 2;
    const bool was_small = head_ == small_.data();
    auto* const bigger = static_cast<unsigned char*>(std::realloc(was_small ? nullptr : head_, capacity));
    if (bigger == nullptr) throw std::bad_alloc();
    if (was_small) std::memcpy(bigger, small_.data(), head_size_);
    head_ = bigger;
    capacity_ = capacity;
  }

  std::array<unsigned char, kSmall> small_;
  unsigned char* head_ = small_.data();
  size_t head_size_ = 0;
  size_t capacity_ = kSmall;
  size_t data_size_ = 0;  // sum of the pieces
  bool copy_data_ = false;
  std::vector<abi::Piece> pieces_;
  std::vector<size_t> head_ends_;  // of each piece: bytes of head_ that stand before it
  std::vector<abi::Piece> all_;
  abi::Piece whole_;
  Handles refs_;
};

}  // namespace internal
}  // namespace v5
}  // namespace ray
