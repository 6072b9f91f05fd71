// SPDX-License-Identifier: Apache-2.0
// The store: client <-> its raylet <-> owner, and the transfers between raylets.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/ids/ids.h"
#include "runtime/message/values.h"

namespace rmpi {

struct ExtentRequest {
  uint64_t nonce = 0;
  uint64_t bytes = 0;

  template <class C>
  void Fields(C& c) {
    c(nonce, bytes);
  }
};

struct ExtentReply {
  uint64_t nonce = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;  // 0: the store is full; text says what holds it
  std::string text;

  template <class C>
  void Fields(C& c) {
    c(nonce, offset, bytes, text);
  }
};

struct ExtentReturn {
  uint64_t offset = 0;
  uint64_t bytes = 0;

  template <class C>
  void Fields(C& c) {
    c(offset, bytes);
  }
};

struct ObjectAt {  // kSealed (client -> raylet), kLocationAdd (raylet -> owner)
  ObjectId id;
  uint32_t attempt = 0;
  uint64_t size = 0;
  Place place;

  template <class C>
  void Fields(C& c) {
    c(id, attempt, size, place);
  }
};

struct FreeObject {  // owner -> raylet
  ObjectId id;
  uint32_t attempt = 0;

  template <class C>
  void Fields(C& c) {
    c(id, attempt);
  }
};

struct LocationDelete {  // raylet -> owner: copies that the sender's node has evicted
  std::vector<std::pair<ObjectId, uint32_t>> versions;

  template <class C>
  void Fields(C& c) {
    c(versions);
  }
};

// Owner -> raylet: does your node hold this version? raylet -> owner: the answer, behind all LOCATION_ADDs
// before it.
struct LocationCheck {
  ObjectId id;
  uint32_t attempt = 0;
  bool held = false;  // kLocationChecked
  bool keep = false;  // kLocationCheck: the copy there is the primary now, not to be evicted

  template <class C>
  void Fields(C& c) {
    c(id, attempt, held, keep);
  }
};

struct ExtentReclaim {  // raylet -> its clients: others wait for room, give back what you do not use
  uint32_t unused = 0;

  template <class C>
  void Fields(C& c) {
    c(unused);
  }
};

enum class PullPriority : uint8_t { kGet = 0, kWait = 1, kArgs = 2, kPrefetch = 3 };

struct Pull {  // client -> its raylet: bring this here. One reply each; `cancel` withdraws
  ObjectId id;
  uint32_t attempt = 0;
  uint64_t size = 0;
  PullPriority priority = PullPriority::kGet;
  bool cancel = false;
  uint32_t moves_from = 0;  // that node leaves: keep this as the primary, and tell its owner
  std::vector<Place> places;

  template <class C>
  void Fields(C& c) {
    c(id, attempt, size, priority, cancel, moves_from, places);
  }
};

struct PrimaryMoved {  // raylet -> owner: kept here, since `from` leaves
  ObjectAt at;
  uint32_t from = 0;

  template <class C>
  void Fields(C& c) {
    c(at, from);
  }
};

struct PullReply {
  ObjectId id;
  uint32_t attempt = 0;
  bool failed = false;  // none of the places has it any more: ask the owner again
  bool full = false;    // the store has no room for it
  Place place;
  std::string text;
  std::vector<uint32_t>
      gone;  // failed: nodes that no longer hold it. None of them: a passing fault, try again

  template <class C>
  void Fields(C& c) {
    c(id, attempt, failed, full, place, text, gone);
  }
};

// Raylet -> a raylet that holds it, or that it was sent to by the holder: keep this still while I fetch it
// (kPin); kUnpin: done. `request` is the pull's, however many it asks.
struct PinRequest {
  uint64_t request = 0;
  ObjectId id;
  uint32_t attempt = 0;
  uint32_t turn = 0;    // the answer repeats it
  uint32_t holder = 0;  // who sent me to you; 0: you are the holder
  uint32_t avoid = 0;   // where you sent me, and I did not get it
  bool direct = false;  // send me nowhere any more
  bool whole = false;   // kUnpin: I have all of it now

  template <class C>
  void Fields(C& c) {
    c(request, id, attempt, turn, holder, avoid, direct, whole);
  }
};

struct Pinned {
  uint64_t request = 0;
  uint32_t turn = 0;
  bool gone = false;
  bool coming = false;  // what I have of it I serve
  uint32_t ask = 0;     // that node, which is receiving it
  uint64_t offset = 0;
  uint64_t size = 0;

  template <class C>
  void Fields(C& c) {
    c(request, turn, gone, coming, ask, offset, size);
  }
};

}  // namespace rmpi
