// SPDX-License-Identifier: Apache-2.0
// The wire codec: little-endian, no alignment, lengths before bytes. One description per message: a struct's
// `template <class C> void Fields(C& c)` lists its fields, and Writer and Reader both walk it, so that what
// is written and what is read cannot drift apart. A Reader never trusts its input: any overrun turns it bad,
// every later read yields zeros, and the caller looks at ok() once at the end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/ids/ids.h"

namespace rmpi {

class Writer {
 public:
  void Clear() { size_ = 0; }
  Bytes bytes() const { return {out_.get(), size_}; }
  size_t size() const { return size_; }

  void Raw(const void* p, size_t n) {
    if (n != 0) std::memcpy(Extend(n), p, n);
  }
  // Room for n bytes to be filled by the caller before the next write.
  std::byte* Extend(size_t n) {
    if (capacity_ - size_ < n) Grow(n);
    size_ += n;
    return out_.get() + size_ - n;
  }

  template <class... T>
  void operator()(const T&... v) {
    (Put(v), ...);
  }

 private:
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void Put(const T& v) { Raw(&v, sizeof v); }
  void Put(const Address& a) { Raw(&a, sizeof a); }
  void Put(const JobId& j) { Raw(&j, sizeof j); }
  void Put(const TaskId& t) {
    const auto b = ToBinary(t);
    Raw(b.data(), b.size());
  }
  void Put(const ObjectId& o) {
    Put(o.task);
    Put(o.index);
  }
  void Put(Bytes b) {
    Put(static_cast<uint32_t>(b.size()));
    Raw(b.data(), b.size());
  }
  void Put(const Blob& b) { Put(b.bytes()); }
  void Put(const std::string& s) { Put(Bytes(reinterpret_cast<const std::byte*>(s.data()), s.size())); }
  template <class A, class B>
  void Put(const std::pair<A, B>& p) {
    Put(p.first);
    Put(p.second);
  }
  template <class T>
  void Put(const std::vector<T>& v) {
    Put(static_cast<uint32_t>(v.size()));
    for (const T& x : v) Put(x);
  }
  template <class T>
  requires requires(T t, Writer& w) { t.Fields(w); }
  void Put(const T& v) {
    const_cast<T&>(v).Fields(*this);  // Fields is one function for both directions; a Writer only reads
  }

  void Grow(size_t n) {
    capacity_ = std::max<size_t>({2 * capacity_, size_ + n, 256});
    auto bigger = std::make_unique_for_overwrite<std::byte[]>(capacity_);
    if (size_ != 0) std::memcpy(bigger.get(), out_.get(), size_);
    out_ = std::move(bigger);
  }

  std::unique_ptr<std::byte[]> out_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

class Reader {
 public:
  explicit Reader(Bytes in) : p_(in.data()), end_(in.data() + in.size()) {}
  bool ok() const { return ok_; }
  bool Done() const { return ok_ && p_ == end_; }
  size_t left() const { return static_cast<size_t>(end_ - p_); }

  // The next n bytes in place; empty and bad when there are fewer.
  Bytes Take(size_t n) {
    if (n > left()) {
      ok_ = false;
      p_ = end_;
      return {};
    }
    const std::byte* b = p_;
    p_ += n;
    return {b, n};
  }

  template <class... T>
  void operator()(T&... v) {
    (Get(v), ...);
  }

 private:
  void Raw(void* p, size_t n) {
    const Bytes b = Take(n);
    if (b.size() == n && n != 0) {
      std::memcpy(p, b.data(), n);
    } else if (n != 0) {
      std::memset(p, 0, n);
    }
  }
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void Get(T& v) {
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t b = 0;
      Raw(&b, 1);
      v = b != 0;
    } else {
      Raw(&v, sizeof v);
    }
  }
  void Get(Address& a) { Raw(&a, sizeof a); }
  void Get(JobId& j) { Raw(&j, sizeof j); }
  void Get(TaskId& t) {
    Get(t.sequence);
    Get(t.owner);
    Get(t.job);
  }
  void Get(ObjectId& o) {
    Get(o.task);
    Get(o.index);
    o.reserved = 0;
  }
  void Get(Bytes& b) {
    uint32_t n = 0;
    Get(n);
    b = Take(n);
  }
  void Get(Blob& b) {
    Bytes in;
    Get(in);
    b = Blob::Copy(in);
  }
  void Get(std::string& s) {
    Bytes in;
    Get(in);
    s.assign(reinterpret_cast<const char*>(in.data()), in.size());
  }
  template <class A, class B>
  void Get(std::pair<A, B>& p) {
    Get(p.first);
    Get(p.second);
  }
  template <class T>
  void Get(std::vector<T>& v) {
    uint32_t n = 0;
    Get(n);
    v.clear();
    if (n > left()) {  // every element takes at least one byte: a larger count is a lie
      ok_ = false;
      p_ = end_;
      return;
    }
    // An element is larger in memory than on the wire: what the count claims is not taken at its word.
    v.reserve(std::min<size_t>(n, 1 + left() / sizeof(T)));
    for (uint32_t i = 0; i < n && ok_; ++i) Get(v.emplace_back());
  }
  template <class T>
  requires requires(T t, Reader& r) { t.Fields(r); }
  void Get(T& v) { v.Fields(*this); }

  const std::byte* p_;
  const std::byte* end_;
  bool ok_ = true;
};

}  // namespace rmpi
