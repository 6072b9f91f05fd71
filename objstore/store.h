// SPDX-License-Identifier: Apache-2.0
// Store: the raylet's index of one arena: who leases which bytes, which versions are here, what to evict,
// what to free as soon as nobody looks at it any more. Owned by the raylet's control thread.
//
// Invariants. Each byte of the arena is free in the allocator, or leased to one client, or part of one entry.
// An entry's range returns to the allocator only after its header was marked (EVICTING or DEAD) and then no
// pin and no hold was found (client.h has the other half). Messages from a wrong generation of a slot change
// nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "objstore/allocator.h"
#include "objstore/arena.h"
#include "objstore/pin_table.h"

namespace rmpi::objstore {

struct Version {
  ObjectId id;
  uint32_t attempt = 0;
  bool operator==(const Version&) const = default;
};
struct VersionHash {
  size_t operator()(const Version& v) const noexcept {
    return std::hash<ObjectId>()(v.id) ^ Mix(v.attempt + 1);
  }
};

class Store {
 public:
  struct Entry {
    ObjectId id;
    uint32_t attempt = 0;
    Locator locator;
    Address owner;
    bool primary = false;   // else a copy, which may be evicted
    bool backed = false;    // a copy whose bytes are on this node's disk, too: evicting it loses nothing
    bool unread = false;    // restored, and whoever asked for it has not pinned it yet: it is not evicted
    bool spilling = false;  // a primary that is being written there
    bool sealed = false;
    bool freed = false;  // FREE came; its memory returns when the last pin or hold goes
    uint32_t holds = 0;  // by the raylet itself: transfers, arguments of granted tasks
    uint16_t creator_slot = 0;
    uint32_t creator_generation = 0;  // 0: the raylet made it
    std::list<Entry*>::iterator lru;  // valid for sealed ones that are not freed: in ListOf(it)
  };
  struct ClientStats {
    uint16_t slot;
    uint32_t generation;
    uint64_t leased_bytes;  // and not yet part of an object
    uint64_t pins;
  };
  struct Stats {
    uint64_t capacity_bytes, used_bytes, leased_bytes, primary_bytes, copy_bytes, cold_bytes,
        largest_free_bytes;
    size_t primaries, copies, creating, waiting_for_unpin;
    size_t backed;  // of the copies: on disk, too
    uint64_t evicted_total;
    std::vector<ClientStats> clients;
  };

  Store(Arena* arena, PinTable* pins, uint32_t node);
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Clients. Evicts copies when there is no room; nullopt: full of what may not be evicted.
  std::optional<Range> LeaseExtent(uint16_t slot, uint32_t generation, uint64_t bytes);
  // False when the range is not (wholly) leased to that client: the message is wrong or late.
  bool ReturnExtent(uint16_t slot, uint32_t generation, Range range);
  // The client sealed an object in its extent; from now on it is the store's, as a primary. False: no such
  // object.
  bool OnSealed(uint16_t slot, uint32_t generation, const ObjectId& id, uint32_t attempt,
                const Locator& locator, const Address& owner);
  // Its process is dead (EOF was handled: all its messages are). What it leased returns, its pins are
  // dropped.
  void ClientGone(uint16_t slot, uint32_t generation);

  // Copies made by the raylet (a pull, a restore). REQUIRES: this version is not here. nullopt: full.
  std::optional<Locator> CreateCopy(const ObjectId& id, uint32_t attempt, uint64_t size,
                                    const Address& owner) {
    return CreateCopy(id, attempt, size, owner, true);
  }
  // The same for what nobody asked for yet: only what must just be read from disk again goes for it.
  std::optional<Locator> CreateSpareCopy(const ObjectId& id, uint32_t attempt, uint64_t size,
                                         const Address& owner) {
    return CreateCopy(id, attempt, size, owner, false);
  }
  // False: it was freed meanwhile and is gone. `backed`: it came from this node's disk, and stays there.
  bool SealCopy(const ObjectId& id, uint32_t attempt, bool backed = false);
  void AbortCopy(const ObjectId& id, uint32_t attempt);
  // It is not evicted before somebody has pinned it, or NoReader: its reader comes first.
  void AwaitReader(const ObjectId& id, uint32_t attempt);
  void NoReader(const ObjectId& id, uint32_t attempt);
  // A copy that is still being filled, and that nobody will want then.
  bool FreedOnItsWay(const ObjectId& id, uint32_t attempt);

  // The newest sealed version of an object, or exactly one version; nullptr when not here (or freed).
  const Entry* Find(const ObjectId& id) const;
  const Entry* Find(const ObjectId& id, uint32_t attempt) const;
  // The owner names a copy its primary (O7), or lets a primary become a copy once it lies safe elsewhere.
  bool SetPrimary(const ObjectId& id, uint32_t attempt, bool primary);
  // Keeps a sealed version in place while the raylet itself uses it. Every Hold that succeeds needs one
  // Release.
  const Entry* Hold(const ObjectId& id, uint32_t attempt);
  void Release(const Entry* entry);

  // Spilling. Primaries that nobody looks at, oldest first (those pinned since the last look get another
  // round), until there are `bytes` of them or `most`; each is held until Spilled. Empty: there are none.
  std::vector<const Entry*> TakeToSpill(uint64_t bytes, size_t most);
  // It has been written: it is a copy now, and goes before others. Or it was not, and stays what it was.
  void Spilled(const Entry* entry, bool written);

  // FREE wins in any state: now, or when the last pin goes; a version not here yet is dropped when it is
  // announced.
  void Free(const ObjectId& id, uint32_t attempt);
  // All versions of that attempt of a task, from one index on, that were announced.
  void FreeFrom(const TaskId& task, uint32_t attempt, uint32_t index);
  // Retries what was still pinned; returns how many are gone now. Costs nothing when nothing waits.
  size_t Sweep();
  bool sweep_needed() const { return !waiting_.empty(); }
  void OwnerGone(const Address& owner);
  void NodeGone(uint32_t node);  // all owners there

  // Versions evicted since the last call, to tell their owners (LOC_DEL).
  struct Evicted {
    Version version;
    Address owner;
  };
  std::vector<Evicted> TakeEvicted() { return std::exchange(evicted_, {}); }

  Allocator* allocator() { return &allocator_; }  // for the prefaulter
  // Sealed primaries that are not freed.
  template <class F>
  void ForEachPrimary(F&& fn) const {
    for (const auto& [id, e] : index_) {
      if (e.primary && e.sealed && !e.freed) fn(e);
    }
  }
  uint64_t used_bytes() const { return allocator_.used_bytes(); }
  uint64_t capacity_bytes() const { return allocator_.capacity_bytes(); }
  // Of objects that cannot be evicted.
  uint64_t primary_bytes() const { return primary_bytes_; }
  Stats GetStats() const;

 private:
  struct Lessee {
    uint32_t generation = 0;
    IntervalSet leased;
    std::deque<Range>
        recent;  // objects it made that were freed, newest last: its page tables still have them
  };
  using Index = std::unordered_multimap<ObjectId, Entry>;

  // `any`: copies that are not on disk go as well.
  std::optional<uint64_t> AllocateEvicting(uint64_t bytes, bool any = true);
  std::optional<Locator> CreateCopy(const ObjectId& id, uint32_t attempt, uint64_t size, const Address& owner,
                                    bool any);
  bool EvictOneOf(std::list<Entry*>* list);
  bool MayGo(Entry* e);
  std::list<Entry*>& ListOf(const Entry& e) { return e.primary ? primaries_ : e.backed ? backed_ : copies_; }
  void Enlist(Entry* e);  // as the one used last
  void Unlist(Entry* e);
  bool InUse(const Entry& e) const;
  void FreeEntry(Entry* e);
  void FreeIf(const std::function<bool(const Entry&)>& doomed);
  void Drop(Entry* e);  // returns its memory and forgets it
  Entry* FindEntry(const ObjectId& id, uint32_t attempt);
  Lessee* LesseeOf(uint16_t slot, uint32_t generation);
  ObjectHeader* HeaderOf(const Entry& e) const { return arena_->header(e.locator.offset); }
  void RememberFreed(const Version& v);

  Arena* const arena_;
  PinTable* const pins_;
  const uint32_t node_;
  Allocator allocator_;
  Index index_;
  // Sealed ones, least recently used first.
  std::list<Entry*> copies_;
  std::list<Entry*> backed_;  // copies that go before those: they need only be read again
  std::list<Entry*> primaries_;
  uint64_t primary_bytes_ = 0;
  std::vector<Entry*> waiting_;  // freed, still pinned or held
  std::unordered_map<uint16_t, Lessee> lessees_;
  std::vector<Evicted> evicted_;
  uint64_t evicted_total_ = 0;
  // FREEs that overtook the announcement of their version (another channel): bounded, oldest out.
  std::unordered_set<Version, VersionHash> freed_early_;
  std::deque<Version> freed_early_order_;
};

}  // namespace rmpi::objstore
