// SPDX-License-Identifier: Apache-2.0
// Fence: when a node must stop its work, because the head may take it for dead and start that work elsewhere
// (PROTOCOL C3). The head counts a node's silence from the last heartbeat that it got; so the node counts
// from the time at which it *sent* the last heartbeat that the head has answered, which is earlier, and gives
// up after half of the head's patience: whatever is lost, in either direction, it stops first. A raylet that
// is stopped alone, or hangs, cannot: its keeper counts from the same moment, by a clock of its own, and is
// through before the head's patience is, too. No I/O and no clock; used by the raylet's control thread, by
// the keeper and by the simulator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>

#include "runtime/base/time.h"

namespace rmpi {

inline constexpr TimeNs kHeartbeatPeriod = 500 * kMillisecond;
inline constexpr TimeNs kFenceAfter = 2 * kSecond;
// The keeper's patience with its raylet. Longer, since on a busy machine a raylet may come late to its own
// fence; the head's is 4 s.
inline constexpr TimeNs kHungAfter = 3 * kSecond;

class Fence {
 public:
  explicit Fence(TimeNs patience = kFenceAfter) : patience_(patience) {}

  void Start(TimeNs now) { known_ = last_turn_ = now; }
  // The head knew at that time that this node lives: said by who has counted.
  void OnKnown(TimeNs at) { known_ = std::max(known_, at); }
  TimeNs known() const { return known_; }
  void OnHeartbeatSent(uint64_t sequence, TimeNs now) { sent_.emplace_back(sequence, now); }
  void OnHeartbeatAck(uint64_t sequence) {
    while (!sent_.empty() && sent_.front().first <= sequence) {
      known_ = std::max(known_, sent_.front().second);
      sent_.pop_front();
    }
  }

  // Called at every turn of the loop, at least each kHeartbeatPeriod. A turn that comes much later was held
  // up by a suspension of the job or the machine, which is nobody's silence. Returns how long that was, or 0.
  TimeNs OnTurn(TimeNs now) {
    const TimeNs gap = now - last_turn_;
    last_turn_ = now;
    if (gap <= kSuspended) return 0;
    known_ += gap;
    for (auto& [sequence, at] : sent_) at += gap;
    return gap;
  }
  bool Expired(TimeNs now) const { return now - known_ > patience_; }
  TimeNs Deadline() const { return known_ + patience_ + 1; }

 private:
  static constexpr TimeNs kSuspended = kSecond;

  TimeNs patience_;
  TimeNs known_ = 0;  // the head knew then that we live
  TimeNs last_turn_ = 0;
  std::deque<std::pair<uint64_t, TimeNs>> sent_;  // heartbeats without an answer; at most 2 s of them
};

}  // namespace rmpi
