// SPDX-License-Identifier: Apache-2.0
// Entry: one object as one process sees it, owned or borrowed. Guarded by the process's core lock, but for
// `state` (readers may look without it: release/acquire with the fields it publishes) and `handles`
// (incremented by whoever already holds one; decremented under the lock).
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/ids/ids.h"
#include "runtime/message/messages.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {

struct Task;
struct Entry;

enum class EntryState : uint8_t {
  kPending = 0,  // nothing known yet
  kInline = 1,   // `value` holds the bytes (a value or an error)
  kStored = 2,   // details->places says which stores hold it
};

// kLineage: the owner knows that this process needs no value now, but perhaps again (O7).
enum class Registration : uint8_t { kNone = 0, kSent = 1, kAcknowledged = 2, kGone = 3, kLineage = 4 };
enum class Fetch : uint8_t { kNone = 0, kRequested = 1, kLocal = 2 };

// Somebody missed an owned object on a node that is listed as a place of it. That may have been before a
// fresh copy came there, so the place stays until the node's raylet, which was asked, has said which.
struct Doubt {
  uint32_t node = 0;
  Address asker;  // gets the object's location then; nil: nobody
};

// Of a Place whose node holds the object, but no longer there in memory: on disk, or gone, its raylet knows.
constexpr uint32_t kNotInMemory = ~0U;

// What only some objects need.
struct Details {
  // stored
  uint32_t attempt = 0;
  uint64_t size = 0;
  std::vector<Place> places;  // the primary first
  Fetch fetch = Fetch::kNone;
  Place local;  // fetch == kLocal
  // Pending, and nothing makes it: it is made again when somebody asks (O7).
  bool lost = false;
  // Of an item that we own: it is in a store, or lost from it; its record counts them.
  bool stored_item = false;
  uint32_t lineage_holds = 0;  // by finished tasks of ours that had it as an argument and may run again
  // owned
  std::vector<Address> borrowers;
  std::vector<Address> lineage_borrowers;  // need no value, but may ask for it again
  std::vector<Address> subscribers;        // asked while it was pending
  std::vector<Doubt> doubts;
  std::vector<Entry*> contained;  // one hold on each
  // borrowed
  Registration registration = Registration::kNone;
  bool locate_sent = false;
  uint64_t nonce = 0;
  std::vector<Entry*> protectors;       // outer objects, held until the registration is acknowledged
  std::vector<ObjectId> contained_ids;  // what is inside the value, as the owner told
  // both
  std::vector<Task*> dependents;  // tasks that wait for it
  std::vector<std::function<void()>> callbacks;

  bool ListsPlace(uint32_t node) const {
    return std::any_of(places.begin(), places.end(), [&](const Place& p) { return p.node == node; });
  }
  // No question of `who` is answered any more.
  void Unsubscribe(const Address& who) {
    std::erase(subscribers, who);
    for (Doubt& doubt : doubts) {
      if (doubt.asker == who) doubt.asker = {};
    }
  }
  bool NeededByLineage() const { return lineage_holds != 0 || !lineage_borrowers.empty(); }
  bool Doubted(uint32_t node) const {
    return std::any_of(doubts.begin(), doubts.end(), [&](const Doubt& doubt) { return doubt.node == node; });
  }
};

struct Entry {
  ObjectId id;
  std::atomic<EntryState> state{EntryState::kPending};
  uint8_t kind = 0;  // ValueKind
  bool owned : 1 = false;
  bool live : 1 = false;
  bool leaving : 1 = false;    // stands in the table's release queue
  bool looked_at : 1 = false;  // its error: read, waited for, or on its way to another process or task
  uint32_t epoch = 0;          // of the CoreWorker it belongs to: a handle that outlives it is inert
  std::atomic<uint32_t> handles{0};
  uint32_t holds = 0;             // by tasks, outer objects, protectors, unacknowledged results
  std::atomic<uint64_t> mark{0};  // the binding's: which wait() saw it last
  Blob value;
  std::unique_ptr<Details> details;

  // Somebody needs its value, not only the lineage of other objects.
  bool wanted() const {
    return holds != 0 || handles.load(std::memory_order_acquire) != 0 ||
           (owned && details && !details->borrowers.empty());
  }
  bool pending() const { return state.load(std::memory_order_acquire) == EntryState::kPending; }
  Details& more() {
    if (!details) details = std::make_unique<Details>();
    return *details;
  }
};

}  // namespace rmpi::core
