// SPDX-License-Identifier: Apache-2.0
// The pool of lanes of a Board: taking one, finding one, releasing its ends, and the raylet's sweep. There is
// no free list to break: the lane words themselves are searched (a lane is taken once per pair of processes,
// the search is a few microseconds at most), so a process that dies at any instruction leaks nothing.
#include "runtime/lane/board.h"

namespace rmpi::lane {

LaneRef Board::TakeLane(uint16_t src, uint32_t src_generation, uint16_t dst, uint32_t dst_generation) {
  LaneRef lane;
  const uint32_t hint = header_->free_hint.load(std::memory_order_relaxed) % max_lanes_;
  uint64_t word = 0;
  for (uint32_t n = 0; n < max_lanes_ && !lane.valid(); ++n) {
    const uint32_t i = (hint + n) % max_lanes_;
    uint64_t seen = words_[i].load(std::memory_order_relaxed);
    if (seen & kLaneUsed) continue;
    uint32_t touched = header_->touched.load(std::memory_order_relaxed);
    while (touched <= i && !header_->touched.compare_exchange_weak(touched, i + 1)) {
    }
    word = LaneWord(LaneTag(seen) + 1, src, dst, kLaneUsed);
    // Acquire (as part of seq_cst): the former holders' accesses to the ring are over.
    if (words_[i].compare_exchange_strong(seen, word)) {
      lane = {i, LaneTag(word)};
      header_->free_hint.store((i + 1) % max_lanes_, std::memory_order_relaxed);
    }
  }
  if (!lane.valid()) return lane;
  LaneEnds& e = ends_[lane.index];
  e.head.store(0, std::memory_order_relaxed);
  e.tail.store(0, std::memory_order_relaxed);
  e.wants_room.store(0, std::memory_order_relaxed);
  e.src_generation.store(src_generation, std::memory_order_relaxed);
  e.dst_generation.store(dst_generation, std::memory_order_relaxed);
  cell(src, dst).store(uint64_t{lane.tag} << 32 | (lane.index + 1), std::memory_order_release);
  // Until here the receiver knows nothing of the lane, and the raylet may take it back if we die.
  words_[lane.index].fetch_or(kLanePublished, std::memory_order_seq_cst);
  // The raylet writes "dead", then scans the words; we wrote the word, and now read the state: one of us
  // sees.
  if (!Live(dst, dst_generation)) {
    ReleaseEnds(lane, kBothDone);  // no process of that generation will ever read it
    return {};
  }
  return lane;
}

LaneRef Board::PeekLane(uint16_t src, uint16_t dst) const {
  const uint64_t c = cell(src, dst).load(std::memory_order_acquire);
  const uint32_t index = static_cast<uint32_t>(c) - 1;  // of 0: kNoLane
  if (index >= max_lanes_) return {};
  const uint64_t word = words_[index].load(std::memory_order_acquire);
  const bool ours = LaneTag(word) == static_cast<uint32_t>(c >> 32) && LaneSrc(word) == src &&
                    LaneDst(word) == dst && (word & kLanePublished) && !(word & kReceiverDone);
  return ours ? LaneRef{index, LaneTag(word)} : LaneRef{};
}

LaneRef Board::FindLane(uint16_t src, uint16_t dst, uint32_t dst_generation, uint32_t* src_generation) const {
  const LaneRef lane = PeekLane(src, dst);
  if (!lane.valid()) return {};
  const LaneEnds& e = ends_[lane.index];
  // Made for a former process in our slot: its sender is about to withdraw it.
  if (e.dst_generation.load(std::memory_order_relaxed) != dst_generation) return {};
  *src_generation = e.src_generation.load(std::memory_order_relaxed);
  return lane;
}

void Board::ReleaseEnds(LaneRef lane, uint32_t ends) {
  std::atomic<uint64_t>& w = words_[lane.index];
  uint64_t word = w.load(std::memory_order_relaxed);
  do {
    if (LaneTag(word) != lane.tag || !(word & kLaneUsed)) return;
    if ((word & kBothDone) == kBothDone) break;  // whoever set the second bit may have died: finish for it
    // Release: our last access to the ring comes before the lane's next life.
  } while (!w.compare_exchange_weak(word, word | ends, std::memory_order_seq_cst, std::memory_order_relaxed));
  word |= ends;
  if ((word & kBothDone) == kBothDone) FinishRelease(lane.index, word);
}

void Board::FinishRelease(uint32_t index, uint64_t word) {
  const uint16_t src = LaneSrc(word), dst = LaneDst(word);
  uint64_t c = uint64_t{LaneTag(word)} << 32 | (index + 1);
  if (src < slots_ && dst < slots_)
    cell(src, dst).compare_exchange_strong(c, 0);  // unless it names a newer lane
  // The tag makes this fail when another process has finished it first, even if the lane is in use again.
  if (!words_[index].compare_exchange_strong(word, LaneWord(LaneTag(word), 0, 0, 0))) return;
  uint32_t hint = header_->free_hint.load(std::memory_order_relaxed);  // lowest first: its pages are warm
  while (index < hint && !header_->free_hint.compare_exchange_weak(hint, index, std::memory_order_relaxed)) {
  }
}

// Raylet only. Releases what closing processes held and frees the slots of which no lane is left.
void Board::SweepClosing() {
  std::vector<uint8_t> closing(slots_, 0);
  bool any = false;
  for (uint16_t s = 0; s < slots_; ++s) {
    closing[s] = (records_[s].word.load(std::memory_order_relaxed) & kWordClosing) != 0;
    any |= closing[s] != 0;
  }
  if (!any) return;
  std::vector<uint8_t> busy(slots_, 0);
  const uint32_t touched = header_->touched.load(std::memory_order_seq_cst);
  for (uint32_t i = 0; i < touched && i < max_lanes_; ++i) {
    const uint64_t w = words_[i].load(std::memory_order_seq_cst);
    const uint16_t src = LaneSrc(w), dst = LaneDst(w);
    if (!(w & kLaneUsed) || src >= slots_ || dst >= slots_) continue;
    uint32_t ends = 0;
    if (closing[src]) {
      ends |= kSenderDone;
      // A receiver that never heard of the lane will not release it: it was not published, or it was made for
      // an earlier process of that slot.
      if (!(w & kLanePublished) ||
          ends_[i].dst_generation.load(std::memory_order_relaxed) != generation(dst)) {
        ends |= kReceiverDone;
      }
    }
    if (closing[dst]) ends |= kReceiverDone;
    if ((w & kBothDone) == kBothDone || ends != 0) ReleaseEnds({i, LaneTag(w)}, ends);
    const uint64_t after = words_[i].load(std::memory_order_relaxed);
    if (LaneTag(after) == LaneTag(w) && (after & kLaneUsed)) busy[src] = busy[dst] = 1;
  }
  for (uint16_t s = 0; s < slots_; ++s) {
    if (!closing[s] || busy[s]) continue;
    const uint64_t word = records_[s].word.load(std::memory_order_relaxed);
    records_[s].pid.store(0, std::memory_order_relaxed);
    records_[s].word.store(word & ~uint64_t{UINT32_MAX}, std::memory_order_seq_cst);
  }
  // A hint lost in a race between a taker and a releaser would leave low, warm lanes idle: start over.
  header_->free_hint.store(0, std::memory_order_relaxed);
}

uint32_t Board::lanes_in_use() const {
  uint32_t n = 0;
  for (uint32_t i = 0; i < lanes_touched() && i < max_lanes_; ++i)
    n += (words_[i].load(std::memory_order_relaxed) & kLaneUsed) != 0;
  return n;
}

}  // namespace rmpi::lane
