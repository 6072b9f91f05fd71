// SPDX-License-Identifier: Apache-2.0
// A node's death as the deaths of the addresses on it (PROTOCOL C3).
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/message/messages.h"

namespace rmpi::core {

// Calls `fn` with the EOF of each of `gone`, once; what they had claimed is not known.
template <class F>
void ForEachEof(std::vector<Address> gone, const std::string& cause, F&& fn) {
  std::sort(gone.begin(), gone.end());
  gone.erase(std::unique(gone.begin(), gone.end()), gone.end());
  for (const Address& who : gone) {
    Eof eof;
    eof.who = who;
    eof.claims_known = false;
    eof.cause = cause;
    fn(eof);
  }
}

}  // namespace rmpi::core
