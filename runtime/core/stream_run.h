// SPDX-License-Identifier: Apache-2.0
// A stream at the worker that makes it (PROTOCOL T9): which item is next, and how far its reader is. The
// functions of Executor that deal with it are in executor_streams.cc.
#pragma once

#include <functional>
#include <vector>

#include "runtime/message/messages.h"

namespace rmpi::core {

struct StreamRun {
  uint32_t next = 0;      // item
  uint32_t known = 0;     // the owner has those before it, from a former attempt
  uint32_t read = 0;      // by the consumer, as the owner said
  uint32_t window = 0;    // as WireTemplate
  bool orphaned = false;  // the owner is dead: nobody will ever learn what comes of this task
  std::vector<std::function<void()>> waiting;  // until it may go on

  bool unread() const { return read == kNoItems || orphaned; }
  bool wants_next() const { return next >= known && !unread(); }
  bool may_go_on() const { return window == 0 || unread() || next < read + window; }
};

}  // namespace rmpi::core
