// SPDX-License-Identifier: Apache-2.0
// Where an object's bytes are, and what stands right before them.
//
// An object occupies one range of its arena: a 64-byte ObjectHeader, then the data, rounded up to 64 bytes. A
// Locator names the data; it travels in messages, so whoever receives one checks it (Arena::Contains) before
// use.
//
// Every field of the header is atomic because a process with an outdated locator may look at a header while
// its memory already belongs to another object; the pin protocol (client.h) then rejects what it saw.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "runtime/ids/ids.h"

namespace rmpi::objstore {

constexpr uint64_t kAlignment = 64;  // of every range; a cache line, and what non-temporal stores want
constexpr uint64_t kHeaderBytes = 64;

constexpr uint64_t RoundUp(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

struct Range {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t end() const { return offset + bytes; }
  bool operator==(const Range&) const = default;
};

struct Locator {
  uint32_t node = 0;
  uint32_t segment = 0;
  uint64_t offset = 0;  // of the data, in bytes from the start of the segment; a multiple of kAlignment
  uint64_t size = 0;    // of the data, exact
  bool operator==(const Locator&) const = default;
};

// Bytes of arena that an object of `size` bytes occupies. REQUIRES: size <= 2^63.
constexpr uint64_t FootprintBytes(uint64_t size) { return kHeaderBytes + RoundUp(size, kAlignment); }
constexpr Range RangeOf(const Locator& l) { return {l.offset - kHeaderBytes, FootprintBytes(l.size)}; }

enum class ObjectState : uint32_t {
  kCreating = 1,
  kSealed = 2,
  kEvicting = 3,  // for a moment: the raylet looks for pins, and either drops the copy or seals it again
  kDead = 4,      // freed; who pinned it before may go on reading
};

class ObjectHeader {
 public:
  // Starts a new object here. Nobody else has a valid locator for it yet.
  void Begin(const ObjectId& id, uint32_t attempt, uint64_t size, uint16_t creator_slot) {
    state.store(static_cast<uint32_t>(ObjectState::kCreating), std::memory_order_release);
    const auto words = std::bit_cast<std::array<uint64_t, 4>>(id);
    for (size_t i = 0; i < words.size(); ++i) id_[i].store(words[i], std::memory_order_relaxed);
    attempt_.store(attempt, std::memory_order_relaxed);
    size_.store(size, std::memory_order_relaxed);
    creator_slot_.store(creator_slot, std::memory_order_relaxed);
    referenced.store(0, std::memory_order_relaxed);
    checksum.store(0, std::memory_order_relaxed);
  }
  bool Is(const ObjectId& id, uint32_t attempt, uint64_t size) const {
    const auto words = std::bit_cast<std::array<uint64_t, 4>>(id);
    uint64_t difference = attempt_.load(std::memory_order_relaxed) ^ attempt;
    difference |= size_.load(std::memory_order_relaxed) ^ size;
    for (size_t i = 0; i < words.size(); ++i) difference |= id_[i].load(std::memory_order_relaxed) ^ words[i];
    return difference == 0;
  }
  ObjectId id() const {
    std::array<uint64_t, 4> words;
    for (size_t i = 0; i < words.size(); ++i) words[i] = id_[i].load(std::memory_order_relaxed);
    return std::bit_cast<ObjectId>(words);
  }
  uint32_t attempt() const { return attempt_.load(std::memory_order_relaxed); }
  uint64_t size() const { return size_.load(std::memory_order_relaxed); }
  uint16_t creator_slot() const {
    return static_cast<uint16_t>(creator_slot_.load(std::memory_order_relaxed));
  }

  ObjectState State() const { return static_cast<ObjectState>(state.load(std::memory_order_seq_cst)); }
  void SetState(ObjectState s) { state.store(static_cast<uint32_t>(s), std::memory_order_seq_cst); }
  bool Change(ObjectState from, ObjectState to) {
    auto expected = static_cast<uint32_t>(from);
    return state.compare_exchange_strong(expected, static_cast<uint32_t>(to), std::memory_order_seq_cst);
  }

  std::atomic<uint32_t> state;

 private:
  std::atomic<uint32_t> attempt_;
  std::array<std::atomic<uint64_t>, 4> id_;
  std::atomic<uint64_t> size_;
  std::atomic<uint32_t> creator_slot_;

 public:
  std::atomic<uint32_t> referenced;  // set by each pin, cleared by the eviction clock
  std::atomic<uint32_t> checksum;    // of the data, for who wants one; 0: none
  uint32_t reserved;
};
static_assert(sizeof(ObjectHeader) == kHeaderBytes);
static_assert(std::atomic<uint64_t>::is_always_lock_free, "headers are shared between processes");

}  // namespace rmpi::objstore
