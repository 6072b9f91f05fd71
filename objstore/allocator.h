// SPDX-License-Identifier: Apache-2.0
// Allocator: which ranges of an arena are free. Pure logic over offsets, no memory is touched. Owned by the
// raylet's control thread.
//
// Fresh pages cost ten times a copy, so a free piece is either warm (its pages exist) or cold, and warm
// pieces go first. Warm pieces lie in size classes (four per power of two), the most recently freed at the
// front of each, so that memory still in caches and page tables is used again at once. Neighbours of the same
// warmth are always one piece; a request that no single warm piece holds may take a run of adjacent warm and
// cold pieces. Hence Allocate fails only if no contiguous free span is large enough.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "objstore/interval_set.h"
#include "objstore/locator.h"

namespace rmpi::objstore {

class Allocator {
 public:
  explicit Allocator(uint64_t arena_bytes);
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // A range of `bytes` (rounded up to kAlignment; 0 counts as 1), or nothing when no free span is that long.
  std::optional<uint64_t> Allocate(uint64_t bytes);
  // Takes exactly this range if all of it is free.
  bool AllocateAt(Range range);
  // Gives back an allocated range or any aligned part of one. A range that is not wholly allocated is a fault
  // of the caller that would hand the same memory out twice: it aborts.
  void Free(Range range);

  // Its pages exist now (prefaulted, or written by an object). Whole pages are marked.
  void MarkWarm(Range range);
  // The lowest free cold range, at most `max_bytes` of it.
  std::optional<Range> NextCold(uint64_t max_bytes) const;

  uint64_t capacity_bytes() const { return capacity_bytes_; }
  uint64_t free_bytes() const { return free_bytes_; }
  uint64_t used_bytes() const { return capacity_bytes_ - free_bytes_; }
  uint64_t cold_bytes() const { return cold_.bytes(); }  // free or not
  uint64_t largest_free() const;                         // the longest contiguous free span
  size_t pieces() const { return pieces_.size(); }

 private:
  struct Piece {
    uint64_t offset;
    uint64_t bytes;
    bool cold;
    Piece* prev = nullptr;  // in its size class; warm pieces only
    Piece* next = nullptr;
    uint64_t end() const { return offset + bytes; }
  };
  using Pieces = std::map<uint64_t, Piece>;
  static constexpr size_t kClasses = 256;

  static size_t ClassOf(uint64_t bytes);
  Piece* FindWarm(uint64_t bytes) const;
  std::optional<Range> FindRun(uint64_t bytes, uint64_t* longest) const;
  void Insert(Range range, bool cold);
  void Erase(Pieces::iterator it);
  void TakeOut(Range range);  // REQUIRES: all of it is free
  void Link(Piece* piece);
  void Unlink(Piece* piece);

  const uint64_t capacity_bytes_;
  uint64_t free_bytes_ = 0;
  Pieces pieces_;                   // every free piece, by offset
  std::set<uint64_t> cold_pieces_;  // offsets of the cold ones
  IntervalSet cold_;                // bytes never touched, free or allocated
  std::array<Piece*, kClasses> classes_{};
  std::array<uint64_t, kClasses / 64> nonempty_{};
};

}  // namespace rmpi::objstore
