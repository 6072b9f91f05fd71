// SPDX-License-Identifier: Apache-2.0
// RestoredCopies: what was read from disk a moment ago, and waits for whoever asked for it. The store does
// not evict it before its reader has pinned it, which the reader says nothing about: its pin leaves a mark in
// the object's header, and the store looks there when it needs the room. Here is the end of the patience with
// a reader that is dead, slow, or not interested any more.
#pragma once

#include <deque>
#include <utility>

#include "objstore/store.h"
#include "runtime/base/time.h"

namespace rmpi {

class RestoredCopies {
 public:
  explicit RestoredCopies(objstore::Store* store) : store_(store) {}

  // REQUIRES: it is a sealed copy.
  void Arrived(const objstore::Version& version, TimeNs now);
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return waiting_.empty() ? kNever : waiting_.front().first; }

 private:
  objstore::Store* const store_;
  std::deque<std::pair<TimeNs, objstore::Version>> waiting_;
};

}  // namespace rmpi
