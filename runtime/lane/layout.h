// SPDX-License-Identifier: Apache-2.0
// The board's layout in shared memory: what every process of the run on one host agrees on. Private to
// runtime/lane; docs in board.h and port.h.
//
//   header | slots | claim logs | cells (receiver x sender) | lane words | lane ends | rings
//
// Everything that two processes touch is a lock-free atomic; the bytes of a ring are handed over by the
// release store of its tail and given back by the release store of its head. A file full of zeros is a valid
// empty board, so only touched pages cost memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/ids/ids.h"

namespace rmpi::lane {

constexpr uint64_t kBoardMagic = 0x64616f4269706d72ULL;  // "rmpiBoad"
constexpr uint32_t kBoardVersion = 1;
constexpr uint16_t kMaxSlots = 4096;
constexpr size_t kMaxGroups = kMaxSlots / 64;
// Receivers look at these themselves; those behind have a bit in a summary. All that is touched while a node
// has no more processes than these have bits is the bell's line.
constexpr size_t kFlatGroups = 6;
constexpr size_t kClaimCapacity = 4096;
constexpr size_t kLine = 128;  // adjacent-line prefetchers fetch pairs of 64-byte lines
constexpr size_t kMaxMessageBytes = size_t{256} << 20;
constexpr uint32_t kNoLane = UINT32_MAX;

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

struct BoardHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t slots;
  uint32_t ring_bytes;
  uint32_t max_lanes;
  uint64_t total_bytes;
  // Lanes [0, touched) have been used at least once. Raised before a lane is taken, so that no scan misses
  // one.
  alignas(kLine) std::atomic<uint32_t> touched;
  std::atomic<uint32_t> free_hint;  // where a search for a free lane starts; a hint only
};

struct SlotRecord {
  // generation << 32 | flags. Written by the raylet alone.
  alignas(kLine) std::atomic<uint64_t> word;
  std::atomic<int32_t> pid;
  // The bell: who sleeps, where it ran last, and which senders have something (mail, or room in a full lane).
  // One line for the slots below 64 * kFlatGroups: a sender pays one transfer for all of it.
  alignas(kLine) std::atomic<uint32_t> asleep;
  std::atomic<uint32_t> cpu_plus_1;
  std::atomic<uint64_t> summary;  // bit g: groups[g] may be non-zero; for those from kFlatGroups on
  std::atomic<uint64_t> groups[kMaxGroups];
  // Event counters: only ever incremented, by whoever rings; [0] main thread, [1] background thread.
  alignas(kLine) std::atomic<uint32_t> futex[2];
};

// TaskId (24 bytes), then attempt | kClaimed; atomics because the raylet may look while the worker lives.
struct ClaimRecord {
  std::atomic<uint64_t> words[4];
};
constexpr uint64_t kClaimed = uint64_t{1} << 32;
static_assert(sizeof(ClaimRecord) == 32 && sizeof(TaskId) == 24);

struct ClaimTable {
  alignas(kLine) std::atomic<uint32_t> high;  // entries that were ever used; one writer: the worker
  alignas(kLine) ClaimRecord claims[kClaimCapacity];
};

// Both ends of one ring. Positions are byte counts since the lane was taken; they never wrap.
struct LaneEnds {
  alignas(kLine) std::atomic<uint64_t> tail;  // sender's line
  std::atomic<uint32_t> wants_room;           // set by the sender, taken by the receiver
  alignas(kLine) std::atomic<uint64_t> head;  // receiver's line
  alignas(kLine) std::atomic<uint32_t> src_generation;
  std::atomic<uint32_t> dst_generation;
};

// A lane's word: tag << 32 | src << 20 | dst << 8 | flags. The tag grows each time the lane is taken, so that
// a late release by one process can never hit the lane's next life. It is the only record of who holds a
// lane: a process that dies anywhere leaves a word from which the raylet cleans up.
enum LaneFlags : uint32_t { kLaneUsed = 1, kLanePublished = 2, kSenderDone = 4, kReceiverDone = 8 };
constexpr uint32_t kBothDone = kSenderDone | kReceiverDone;
constexpr uint64_t LaneWord(uint32_t tag, uint16_t src, uint16_t dst, uint32_t flags) {
  return uint64_t{tag} << 32 | uint64_t{src} << 20 | uint64_t{dst} << 8 | flags;
}
constexpr uint32_t LaneTag(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
constexpr uint16_t LaneSrc(uint64_t word) { return word >> 20 & 0xFFF; }
constexpr uint16_t LaneDst(uint64_t word) { return word >> 8 & 0xFFF; }
constexpr uint32_t LaneFlagsOf(uint64_t word) { return word & 0xFF; }

// A record: this header, `length` bytes, padding to 8. Records never straddle the ring's end; a kSkip record
// fills what is left there (its length counts to the end of the ring).
enum class RecordKind : uint32_t { kNone = 0, kWhole = 1, kFirst = 2, kMiddle = 3, kLast = 4, kSkip = 5 };
struct RecordHeader {
  uint32_t length;
  uint32_t kind_and_total;  // kind in the low 3 bits; for kFirst the whole message's size above them
};
static_assert(sizeof(RecordHeader) == 8);
constexpr size_t Align8(size_t n) { return (n + 7) & ~size_t{7}; }

}  // namespace rmpi::lane
