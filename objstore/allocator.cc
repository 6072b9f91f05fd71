// SPDX-License-Identifier: Apache-2.0
#include "objstore/allocator.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace rmpi::objstore {
namespace {

constexpr uint64_t kPage = 4096;
constexpr int kBestOf = 16;  // pieces of one class compared before the first larger class is taken

[[noreturn]] void Die(const char* what, Range r) {
  std::fprintf(stderr,
               "objstore allocator: %s: offset %" PRIu64 ", %" PRIu64 " bytes; this is a bug in ray-mpi\n",
               what, r.offset, r.bytes);
  std::abort();
}

}  // namespace

Allocator::Allocator(uint64_t arena_bytes) : capacity_bytes_(arena_bytes / kAlignment * kAlignment) {
  if (capacity_bytes_ == 0) return;
  cold_.Add({0, capacity_bytes_});
  Insert({0, capacity_bytes_}, true);
  free_bytes_ = capacity_bytes_;
}

size_t Allocator::ClassOf(uint64_t bytes) {
  const uint64_t units = bytes / kAlignment;
  if (units < 4) return static_cast<size_t>(units);
  const int msb = 63 - std::countl_zero(units);
  return static_cast<size_t>(msb) * 4 + ((units >> (msb - 2)) & 3);
}

void Allocator::Link(Piece* piece) {
  if (piece->cold) {
    cold_pieces_.insert(piece->offset);
    return;
  }
  const size_t c = ClassOf(piece->bytes);
  piece->prev = nullptr;
  piece->next = classes_[c];
  if (piece->next != nullptr) piece->next->prev = piece;
  classes_[c] = piece;
  nonempty_[c / 64] |= uint64_t{1} << (c % 64);
}

void Allocator::Unlink(Piece* piece) {
  if (piece->cold) {
    cold_pieces_.erase(piece->offset);
    return;
  }
  if (piece->next != nullptr) piece->next->prev = piece->prev;
  if (piece->prev != nullptr) {
    piece->prev->next = piece->next;
    return;
  }
  const size_t c = ClassOf(piece->bytes);
  classes_[c] = piece->next;
  if (piece->next == nullptr) nonempty_[c / 64] &= ~(uint64_t{1} << (c % 64));
}

void Allocator::Erase(Pieces::iterator it) {
  Unlink(&it->second);
  pieces_.erase(it);
}

void Allocator::Insert(Range range, bool cold) {
  auto next = pieces_.lower_bound(range.offset);
  if (next != pieces_.end() && next->first == range.end() && next->second.cold == cold) {
    range.bytes += next->second.bytes;
    auto gone = next++;
    Erase(gone);
  }
  if (next != pieces_.begin()) {
    auto prev = std::prev(next);
    if (prev->second.end() == range.offset && prev->second.cold == cold) {
      range = {prev->first, prev->second.bytes + range.bytes};
      Erase(prev);
    }
  }
  auto it = pieces_.emplace_hint(next, range.offset, Piece{range.offset, range.bytes, cold});
  Link(&it->second);
}

void Allocator::TakeOut(Range range) {
  auto it = std::prev(pieces_.upper_bound(range.offset));
  while (range.bytes > 0) {
    const Piece piece = it->second;
    auto gone = it++;
    Erase(gone);
    const uint64_t end = std::min(range.end(), piece.end());
    // What is left keeps its warmth; its other neighbours are unlike it or not free, so nothing coalesces.
    if (piece.offset < range.offset) Insert({piece.offset, range.offset - piece.offset}, piece.cold);
    if (piece.end() > end) Insert({end, piece.end() - end}, piece.cold);
    range = {end, range.end() - end};
  }
}

Allocator::Piece* Allocator::FindWarm(uint64_t bytes) const {
  const size_t own = ClassOf(bytes);
  Piece* best = nullptr;
  Piece* rest = classes_[own];
  for (int i = 0; rest != nullptr && i < kBestOf; ++i, rest = rest->next) {
    if (rest->bytes >= bytes && (best == nullptr || rest->bytes < best->bytes)) best = rest;
    if (best != nullptr && best->bytes == bytes) break;
  }
  if (best != nullptr) return best;
  for (size_t word = (own + 1) / 64; word < nonempty_.size(); ++word) {
    uint64_t bits = nonempty_[word];
    if (word == (own + 1) / 64) bits &= ~uint64_t{0} << ((own + 1) % 64);
    if (bits != 0) return classes_[word * 64 + static_cast<size_t>(std::countr_zero(bits))];
  }
  while (rest != nullptr && rest->bytes < bytes) rest = rest->next;
  return rest;
}

// The first run of adjacent free pieces that contains a cold one and holds `bytes`; reports the longest run
// seen.
std::optional<Range> Allocator::FindRun(uint64_t bytes, uint64_t* longest) const {
  uint64_t walked_to = 0;
  for (uint64_t offset : cold_pieces_) {
    if (offset < walked_to) continue;
    auto first = pieces_.find(offset);
    while (first != pieces_.begin() && std::prev(first)->second.end() == first->first) --first;
    uint64_t end = first->first;
    for (auto it = first; it != pieces_.end() && it->first == end; ++it) end = it->second.end();
    walked_to = end;
    *longest = std::max(*longest, end - first->first);
    if (end - first->first >= bytes) return Range{first->first, bytes};
  }
  return std::nullopt;
}

std::optional<uint64_t> Allocator::Allocate(uint64_t bytes) {
  if (bytes > free_bytes_) return std::nullopt;
  bytes = RoundUp(std::max<uint64_t>(bytes, 1), kAlignment);
  if (bytes > free_bytes_) return std::nullopt;
  Range range{0, bytes};
  if (const Piece* piece = FindWarm(bytes)) {
    range.offset = piece->offset;
  } else {
    uint64_t longest = 0;
    auto run = FindRun(bytes, &longest);
    if (!run) return std::nullopt;
    range = *run;
  }
  TakeOut(range);
  free_bytes_ -= bytes;
  return range.offset;
}

bool Allocator::AllocateAt(Range range) {
  if (range.offset % kAlignment != 0 || range.bytes == 0 || range.bytes > capacity_bytes_) return false;
  range.bytes = RoundUp(range.bytes, kAlignment);
  auto it = pieces_.upper_bound(range.offset);
  if (it == pieces_.begin()) return false;
  --it;
  uint64_t end = it->second.end();
  for (++it; end < range.end() && it != pieces_.end() && it->first == end; ++it) end = it->second.end();
  if (end < range.end()) return false;
  TakeOut(range);
  free_bytes_ -= range.bytes;
  return true;
}

void Allocator::Free(Range range) {
  if (range.bytes == 0) return;
  if (range.offset % kAlignment != 0 || range.bytes > capacity_bytes_ ||
      range.offset > capacity_bytes_ - range.bytes) {
    Die("free of a range outside the arena", range);
  }
  range.bytes = RoundUp(range.bytes, kAlignment);
  auto next = pieces_.lower_bound(range.offset);
  if ((next != pieces_.end() && next->first < range.end()) ||
      (next != pieces_.begin() && std::prev(next)->second.end() > range.offset)) {
    Die("free of a range that is free already", range);
  }
  free_bytes_ += range.bytes;
  uint64_t at = range.offset;
  for (const Range& cold : cold_.Intersect(range)) {
    if (cold.offset > at) Insert({at, cold.offset - at}, false);
    Insert(cold, true);
    at = cold.end();
  }
  if (at < range.end()) Insert({at, range.end() - at}, false);
}

void Allocator::MarkWarm(Range range) {
  if (cold_.empty() || range.bytes == 0) return;
  const uint64_t begin = range.offset / kPage * kPage;
  const uint64_t end = std::min(RoundUp(range.end(), kPage), capacity_bytes_);
  if (begin >= end) return;
  range = {begin, end - begin};
  for (const Range& cold : cold_.Intersect(range)) {
    cold_.Subtract(cold);
    auto it = cold_pieces_.upper_bound(cold.offset);
    if (it != cold_pieces_.begin()) --it;
    while (it != cold_pieces_.end() && *it < cold.end()) {
      const Piece& piece = pieces_.at(*it);
      if (piece.end() <= cold.offset) {
        ++it;
        continue;
      }
      const uint64_t from = std::max(piece.offset, cold.offset), to = std::min(piece.end(), cold.end());
      TakeOut({from, to - from});
      Insert({from, to - from}, false);
      it = cold_pieces_.lower_bound(to);
    }
  }
}

std::optional<Range> Allocator::NextCold(uint64_t max_bytes) const {
  if (cold_pieces_.empty() || max_bytes == 0) return std::nullopt;
  const Piece& piece = pieces_.at(*cold_pieces_.begin());
  return Range{piece.offset, std::min(piece.bytes, max_bytes)};
}

uint64_t Allocator::largest_free() const {
  uint64_t longest = 0;
  FindRun(UINT64_MAX, &longest);
  for (size_t word = nonempty_.size(); word-- > 0;) {
    if (nonempty_[word] == 0) continue;
    const size_t top = word * 64 + 63 - static_cast<size_t>(std::countl_zero(nonempty_[word]));
    for (const Piece* p = classes_[top]; p != nullptr; p = p->next) longest = std::max(longest, p->bytes);
    break;
  }
  return longest;
}

}  // namespace rmpi::objstore
