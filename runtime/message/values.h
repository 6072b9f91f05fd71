// SPDX-License-Identifier: Apache-2.0
// Values on their way: small ones travel in the message, of large ones the places where they lie.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/ids/ids.h"

namespace rmpi {

struct Place {  // where bytes lie in a node's store
  uint32_t node = 0;
  uint32_t segment = 0;
  uint64_t offset = 0;

  template <class C>
  void Fields(C& c) {
    c(node, segment, offset);
  }
  bool operator==(const Place&) const = default;
};

enum class ValueState : uint8_t { kInline = 0, kStored = 1, kGone = 2 };

// A value as it travels: its bytes, or where they are.
struct WireValue {
  ValueState state = ValueState::kInline;
  uint8_t kind = 0;  // ValueKind of core_worker.h
  uint32_t attempt = 0;
  uint64_t size = 0;
  Blob bytes;                 // kInline
  std::vector<Place> places;  // kStored: the first is the primary
  std::vector<ObjectId> contained;

  template <class C>
  void Fields(C& c) {
    c(state, kind);
    if (state == ValueState::kInline) {
      c(bytes, contained);
    } else if (state == ValueState::kStored) {
      c(attempt, size, places, contained);
    }
  }
};

}  // namespace rmpi
