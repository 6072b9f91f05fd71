// SPDX-License-Identifier: Apache-2.0
// Blob: an immutable, reference-counted run of bytes (an inlined value, a task's argument bytes). Copying a
// Blob copies a pointer. The count is atomic: a blob may be dropped by any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <utility>

namespace rmpi {

using Bytes = std::span<const std::byte>;

class Blob {
 public:
  Blob() = default;
  // A blob of `size` bytes to be filled through mutable_data() before it is shared. 16-byte aligned.
  static Blob Allocate(size_t size) {
    void* p = std::malloc(sizeof(Rep) + size);
    if (p == nullptr) throw std::bad_alloc();
    auto* rep = new (p) Rep{};
    rep->size = static_cast<uint32_t>(size);
    return Blob(rep);
  }
  static Blob Copy(Bytes bytes) {
    Blob b = Allocate(bytes.size());
    if (!bytes.empty()) std::memcpy(b.mutable_data(), bytes.data(), bytes.size());
    return b;
  }

  Blob(const Blob& o) : rep_(o.rep_) {
    if (rep_) rep_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  Blob(Blob&& o) noexcept : rep_(std::exchange(o.rep_, nullptr)) {}
  Blob& operator=(Blob o) noexcept {
    std::swap(rep_, o.rep_);
    return *this;
  }
  ~Blob() {
    if (rep_ && rep_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(rep_);
  }

  bool empty() const { return rep_ == nullptr || rep_->size == 0; }
  explicit operator bool() const { return rep_ != nullptr; }
  size_t size() const { return rep_ ? rep_->size : 0; }
  const std::byte* data() const { return rep_ ? rep_->bytes() : nullptr; }
  std::byte* mutable_data() { return rep_->bytes(); }
  Bytes bytes() const { return {data(), size()}; }

 private:
  struct alignas(16) Rep {
    std::atomic<uint32_t> refs{1};
    uint32_t size = 0;
    std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }
  };
  explicit Blob(Rep* rep) : rep_(rep) {}
  Rep* rep_ = nullptr;
};

}  // namespace rmpi
