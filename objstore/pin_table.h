// SPDX-License-Identifier: Apache-2.0
// PinTable: which objects the processes of this node are looking at. A memfd of its own, mapped by all of
// them.
//
// One table per client slot. Only that client's process writes its table (any of its threads, without a
// lock); the raylet reads all of them, and clears one when its process is dead. So no lock is shared between
// processes, and the repair after a crash is to forget a table.
//
// A table is hashed by the object's place. A pin is one 64-bit word {place, count}, so that it appears and
// goes in one store. Each cache line holds seven words and a flag "something that belongs here went on to the
// next line"; the raylet's look at an object is one line per process that holds any pin at all. A process
// that has too many pins gets kFull and copies instead, under one of the few transient pins kept for that.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "objstore/locator.h"
#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::objstore {

class PinTable {
 public:
  // A place in the node's memory as a key: segment and data offset.
  static constexpr uint64_t KeyOf(uint32_t segment, uint64_t offset) {
    return uint64_t{segment} << 40 | offset / kAlignment;
  }
  static constexpr uint32_t kMaxSegment = 255;

  static Status CreateFd(uint16_t slots, UniqueFd* fd);
  static Status Map(int fd, std::unique_ptr<PinTable>* table);
  ~PinTable();
  PinTable(const PinTable&) = delete;
  PinTable& operator=(const PinTable&) = delete;

  uint16_t slots() const { return slots_; }

  // The client's side. Any thread of the one process that owns `slot`.
  void Open(uint16_t slot);                        // before its first pin
  bool Add(uint16_t slot, uint64_t key);           // false: no room
  bool AddTransient(uint16_t slot, uint64_t key);  // false: all of them are taken just now
  void Remove(uint16_t slot, uint64_t key);        // one pin that Add took
  void RemoveTransient(uint16_t slot, uint64_t key);

  // The raylet's side.
  bool Pinned(uint64_t key) const;
  uint64_t Live(uint16_t slot) const;  // pins held now
  void Clear(uint16_t slot);           // REQUIRES: the slot's process is dead

  static constexpr size_t kLines = 2048;  // a power of two
  static constexpr size_t kWordsPerLine = 7;
  static constexpr size_t kProbeLines = 8;  // how far from its home line a pin may lie
  static constexpr size_t kTransient = 64;

 private:
  using Word = std::atomic<uint64_t>;
  struct alignas(64) Line {
    std::array<Word, kWordsPerLine> words;
    std::atomic<uint64_t> overflowed;  // never cleared while the process lives
  };
  struct alignas(4096) Table {
    std::array<Line, kLines> lines;
    std::array<Word, kTransient> transient;
  };
  struct alignas(64) Head {
    std::atomic<uint64_t> live;       // pins in the table, counted before they appear
    std::atomic<uint64_t> transient;  // the same for transient ones
  };
  struct alignas(4096) Shared {
    uint64_t magic;
    uint64_t slots;
    std::array<std::atomic<uint64_t>, 1024> open;  // bit per slot
  };
  static constexpr int kCountBits = 16;
  static constexpr uint64_t kCountMask = (1 << kCountBits) - 1;

  PinTable(void* base, uint64_t bytes, uint16_t slots);
  Line* Home(uint16_t slot, uint64_t key, size_t step) const;
  bool PinnedBy(uint16_t slot, uint64_t key) const;
  static uint64_t BytesFor(uint16_t slots);

  void* const base_;
  const uint64_t bytes_;
  const uint16_t slots_;
  Shared* const shared_;
  Head* const heads_;
  Table* const tables_;
};

}  // namespace rmpi::objstore
