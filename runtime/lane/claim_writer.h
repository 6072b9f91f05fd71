// SPDX-License-Identifier: Apache-2.0
// ClaimWriter: the worker's side of its claims on the board. Gives out entries, lowest first, so that a
// worker that runs one task at a time touches one page. Guarded by the process's core lock.
#pragma once

#include <optional>
#include <vector>

#include "runtime/lane/board.h"

namespace rmpi::lane {

class ClaimWriter {
 public:
  ClaimWriter(Board* board, uint16_t slot) : board_(board), slot_(slot) {}

  // The entry of a new claim; nothing: kClaimCapacity are unanswered.
  std::optional<uint32_t> Put(const Claim& claim) {
    uint32_t entry = next_;
    if (!free_.empty()) {
      entry = free_.back();
      free_.pop_back();
    } else if (next_ < kClaimCapacity) {
      ++next_;
    } else {
      return std::nullopt;
    }
    board_->PutClaim(slot_, entry, claim);
    return entry;
  }
  void Drop(uint32_t entry) {
    board_->DropClaim(slot_, entry);
    free_.push_back(entry);
  }

 private:
  Board* board_;
  uint16_t slot_;
  uint32_t next_ = 0;
  std::vector<uint32_t> free_;
};

}  // namespace rmpi::lane
