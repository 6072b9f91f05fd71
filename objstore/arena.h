// SPDX-License-Identifier: Apache-2.0
// Arena: one mapping of a node's shared memory segment (a memfd; nothing of it is ever visible in a file
// system). Every process of the run on this node maps the same memfd, each at an address of its own.
//
// Thread safe: the mapping never changes after Map. Populate remembers, per process, which pages this mapping
// already has.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "objstore/locator.h"
#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::objstore {

class Arena {
 public:
  struct Options {
    uint64_t bytes = 0;
    bool huge_pages = true;  // use reserved huge pages when the system has enough of them, else normal ones
    std::string numa_nodes;  // e.g. "0" or "0-1": bind the memory there (hwloc list syntax); empty: the
                             // system's policy
  };
  // The segment as a sealed memfd: its size can no longer change.
  static Status CreateFd(const Options& options, UniqueFd* fd);
  static Status Map(int fd, uint32_t segment, std::unique_ptr<Arena>* arena);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* data(uint64_t offset) const { return base_ + offset; }
  ObjectHeader* header(uint64_t data_offset) const {
    return reinterpret_cast<ObjectHeader*>(base_ + data_offset - kHeaderBytes);
  }
  uint64_t size() const { return bytes_; }
  uint32_t segment() const { return segment_; }
  uint64_t page_bytes() const { return page_bytes_; }

  // Whether the locator (from a message, perhaps) names an aligned range inside this segment, header
  // included.
  bool Contains(const Locator& l) const {
    return l.segment == segment_ && l.offset >= kHeaderBytes && l.offset % kAlignment == 0 &&
           l.offset <= bytes_ && l.size <= bytes_ - l.offset &&
           RoundUp(l.size, kAlignment) <= bytes_ - l.offset;
  }
  // Whether the range is aligned, not empty and inside this segment.
  bool ContainsRange(Range r) const {
    return r.offset % kAlignment == 0 && r.bytes % kAlignment == 0 && r.bytes > 0 && r.offset <= bytes_ &&
           r.bytes <= bytes_ - r.offset;
  }

  // Maps the pages of [offset, offset + bytes) into this process ahead of use, allocating those that do not
  // exist yet. Remembered by a bit per page, so that a warm range costs a look at a bitmap. Any thread.
  // Only a hint: where the kernel cannot do it, the accesses themselves fault as always.
  void Populate(uint64_t offset, uint64_t bytes);
  bool Populated(uint64_t offset, uint64_t bytes) const;

  static constexpr uint64_t kLeastBytes = 64 << 10;

 private:
  Arena(std::byte* base, uint64_t bytes, uint32_t segment, uint64_t page_bytes);
  using Word = std::atomic<uint64_t>;
  struct FreeWords {
    void operator()(Word* words) const { std::free(words); }
  };
  bool Marked(uint64_t page) const {
    return populated_[page / 64].load(std::memory_order_relaxed) >> (page % 64) & 1;
  }
  uint64_t SkipMarked(uint64_t page, uint64_t last) const;
  void Mark(uint64_t page, uint64_t last);

  std::byte* const base_;
  const uint64_t bytes_;
  const uint32_t segment_;
  const uint64_t page_bytes_;
  std::unique_ptr<Word[], FreeWords> populated_;  // bit: page is mapped in this process
};

}  // namespace rmpi::objstore
