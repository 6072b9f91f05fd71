// SPDX-License-Identifier: Apache-2.0
// OverflowLog: messages that did not fit their lane yet, in order, as one run of bytes in chunks. Owned by a
// Port, used by its thread. A message costs its bytes and 8 more. Unbounded by itself: what may wait (a
// worker's output) is held back by looking at Port::backlog_bytes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>

#include "runtime/base/blob.h"
#include "runtime/lane/layout.h"

namespace rmpi::lane {

class OverflowLog {
 public:
  bool empty() const { return messages_ == 0; }
  size_t bytes() const { return bytes_; }

  // Room for a message at the end. It stays where it is until popped.
  std::byte* Append(size_t size) {
    const size_t need = sizeof(uint64_t) + Align8(size);
    if (chunks_.empty() || chunks_.back().capacity - chunks_.back().used < need) {
      if (messages_ == 0) chunks_.clear();  // the kept one, too small; Front() must not find it
      const size_t wanted = chunks_.empty() ? kFirstChunk : kChunk;
      const size_t capacity = need > wanted ? need : wanted;
      chunks_.push_back({std::make_unique_for_overwrite<uint64_t[]>(capacity / 8), capacity / 8 * 8, 0});
    }
    Chunk& c = chunks_.back();
    std::byte* at = reinterpret_cast<std::byte*>(c.words.get()) + c.used;
    const uint64_t stored = size;
    std::memcpy(at, &stored, sizeof(stored));
    c.used += need;
    bytes_ += need;
    ++messages_;
    return at + sizeof(stored);
  }

  Bytes Front() const {  // REQUIRES: !empty()
    const std::byte* at = reinterpret_cast<const std::byte*>(chunks_.front().words.get()) + read_;
    uint64_t size;
    std::memcpy(&size, at, sizeof(size));
    return {at + sizeof(size), size};
  }

  void Pop() {  // REQUIRES: !empty()
    const size_t taken = sizeof(uint64_t) + Align8(Front().size());
    read_ += taken;
    bytes_ -= taken;
    --messages_;
    if (read_ < chunks_.front().used) return;
    read_ = 0;
    if (chunks_.size() > 1 || chunks_.front().capacity > kChunk) {
      chunks_.pop_front();
    } else {
      chunks_.front().used = 0;  // keep one for the next time
    }
  }

  void Clear() { *this = OverflowLog(); }

 private:
  static constexpr size_t kFirstChunk = 4 << 10;
  static constexpr size_t kChunk = 60 << 10;  // below malloc's mmap threshold: no fresh pages for each
  struct Chunk {
    std::unique_ptr<uint64_t[]> words;
    size_t capacity, used;
  };
  std::deque<Chunk> chunks_;
  size_t read_ = 0;  // in the first chunk
  size_t bytes_ = 0;
  size_t messages_ = 0;
};

}  // namespace rmpi::lane
