// SPDX-License-Identifier: Apache-2.0
// Client: the store as a worker or driver uses it. It creates objects in extents that the raylet has leased
// to it, and pins objects of anybody, all in shared memory: no message, no lock shared with another process.
//
// Callers hold the process's core lock, except for Unpin, CopyOut and Pin, which any thread may call.
//
// Pinning (PROTOCOL O3): publish the pin, then look whether the header still is that sealed version. The
// raylet marks the header, then looks for pins. Both sides are sequentially consistent, so at least one of
// them sees the other: a pinned range is never reused.
//
// The raylet learns of an object by a message after Seal. That message must be published before the locator
// leaves this process in any other one: what the raylet does not know when this process dies is taken back.
#pragma once

#include <cstdint>
#include <vector>

#include "objstore/arena.h"
#include "objstore/pin_table.h"

namespace rmpi::objstore {

// As the offset of an extent that was refused: so are the disks.
constexpr uint64_t kDisksAreFull = 1;

class Client {
 public:
  // Takes over `slot`, whose table is empty.
  Client(Arena* arena, PinTable* pins, uint32_t node, uint16_t slot);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  enum class CreateResult {
    kOk,
    kNeedExtent,  // ask the raylet for *extent_bytes (giving back TakeRetired()), AddExtent, and call again
    kTooLarge,    // larger than the arena
  };
  CreateResult Create(const ObjectId& id, uint32_t attempt, uint64_t size, Locator* out,
                      uint64_t* extent_bytes);
  void AddExtent(Range extent);
  // The raylet had no room: the next requests are for no more than the object needs.
  void ExtentRefused();

  // The data is complete.
  void Seal(const Locator& locator);
  // Drops an object that the raylet has not been told about, sealed or not; its memory serves the next one.
  void Abort(const Locator& locator);

  // Ranges that this client is done with and still leases; they go back with the next message to the raylet.
  std::vector<Range> TakeRetired();
  // Those and all that is not in use: when idle, or when the raylet asks.
  std::vector<Range> TakeUnusedExtents();
  uint64_t unused_bytes() const;

  enum class PinResult {
    kPinned,
    kGone,       // no such version there (any more)
    kTableFull,  // too many pins in this process: CopyOut instead
  };
  PinResult Pin(const Locator& locator, const ObjectId& id, uint32_t attempt);
  void Unpin(const Locator& locator);
  // Copies the object's bytes to `destination` (locator.size bytes) under a pin of its own. kTableFull: more
  // threads than PinTable::kTransient are doing this at once; try again.
  PinResult CopyOut(const Locator& locator, const ObjectId& id, uint32_t attempt, std::byte* destination);

  uint16_t slot() const { return slot_; }
  Arena* arena() const { return arena_; }

  static constexpr uint64_t kLargeBytes = 1 << 20;  // from here on an object has an extent of its own
  static constexpr uint64_t kFirstExtentBytes = 4 << 20;
  static constexpr uint64_t kMaxExtentBytes = 16 << 20;

 private:
  bool OwnProcess() const;  // false in a child forked by user code
  bool StillThere(const Locator& locator, const ObjectId& id, uint32_t attempt) const;
  Locator Place(Range* extent, const ObjectId& id, uint32_t attempt, uint64_t size);
  bool TakeFresh(uint64_t least_bytes, uint64_t most_bytes, Range* extent);
  void Retire(Range rest);

  Arena* const arena_;
  PinTable* const pins_;
  const uint32_t node_;
  const uint16_t slot_;
  const uint32_t fork_count_;
  const uint64_t max_extent_bytes_;  // small arenas lease small extents
  uint64_t next_extent_bytes_;
  Range current_;               // the rest of the extent that small objects are made in
  uint64_t populated_to_ = 0;   // of current_: mapped ahead up to this offset
  std::vector<Range> fresh_;    // untouched extents
  std::vector<Range> retired_;  // to give back
};

}  // namespace rmpi::objstore
