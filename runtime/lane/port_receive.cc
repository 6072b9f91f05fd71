// SPDX-License-Identifier: Apache-2.0
// The receiving half of Port. Nothing that a peer wrote is believed before it is checked against the range it
// has published: a crashed or broken peer costs its own lane, never our process.
#include <bit>
#include <cstring>

#include "runtime/lane/port.h"

namespace rmpi::lane {

// Takes the dirty bits from the board: the summary first, then its groups (a sender sets them the other way
// round). Taking a bit is a barrier before the load of the lane's tail.
void Port::Collect() {
  uint64_t groups = (uint64_t{1} << kFlatGroups) - 1;
  if (me_->summary.load(std::memory_order_seq_cst) != 0)
    groups |= me_->summary.exchange(0, std::memory_order_seq_cst);
  if (pending_.size() < 64) groups &= (uint64_t{1} << pending_.size()) - 1;
  for (; groups != 0; groups &= groups - 1) {
    const size_t g = static_cast<size_t>(std::countr_zero(groups));
    if (me_->groups[g].load(std::memory_order_seq_cst) == 0) continue;
    const uint64_t bits = me_->groups[g].exchange(0, std::memory_order_seq_cst);
    const auto added = static_cast<uint32_t>(std::popcount(bits & ~pending_[g]));
    pending_[g] |= bits;
    pending_count_.store(pending_count_.load(std::memory_order_relaxed) + added, std::memory_order_relaxed);
  }
}

// The next pending sender behind the last one served, or -1.
int Port::NextPending() {
  if (pending_count_.load(std::memory_order_relaxed) == 0) return -1;
  const size_t start = (cursor_ + 1u) % (pending_.size() * 64);
  for (size_t i = 0; i <= pending_.size(); ++i) {
    const size_t group = (start / 64 + i) % pending_.size();
    uint64_t bits = pending_[group];
    if (i == 0) bits &= ~uint64_t{0} << (start % 64);
    if (bits == 0) continue;
    const size_t src = group * 64 + static_cast<size_t>(std::countr_zero(bits));
    cursor_ = static_cast<uint16_t>(src);
    if (src < ins_.size()) return static_cast<int>(src);
    ClearPending(cursor_);  // garbage: no such slot
  }
  return -1;
}

void Port::ClearPending(uint16_t src) {
  uint64_t& group = pending_[src / 64];
  const uint64_t bit = uint64_t{1} << (src % 64);
  if (!(group & bit)) return;
  group &= ~bit;
  pending_count_.store(pending_count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

bool Port::AttachIn(uint16_t src) {
  In& in = ins_[src];
  if (in.lane.valid()) return !in.corrupt;
  uint32_t generation;
  const LaneRef lane = board_->FindLane(src, slot_, generation_, &generation);
  if (!lane.valid()) return false;
  in.lane = lane;
  in.generation = generation;
  in.corrupt = false;
  in.ends = &board_->ends(lane.index);
  in.ring = board_->ring(lane.index);
  // 0, or where a former Port stopped.
  in.head = in.published = in.ends->head.load(std::memory_order_relaxed);
  in.total = 0;
  in.partial.clear();
  return true;
}

Port::Step Port::Next(In* in, uint64_t tail, size_t* taken, Bytes* message) {
  const size_t at = in->head & (ring_bytes_ - 1);
  RecordHeader header;
  std::memcpy(&header, in->ring + at, sizeof(header));
  const auto kind = static_cast<RecordKind>(header.kind_and_total & 7);
  const size_t total = header.kind_and_total >> 3;
  const Bytes payload{in->ring + at + sizeof(header), header.length};
  *taken = sizeof(header) + Align8(payload.size());
  if (*taken > tail - in->head || at + *taken > ring_bytes_) return Step::kCorrupt;
  switch (kind) {
    case RecordKind::kWhole:
      if (in->total != 0) return Step::kCorrupt;
      *message = payload;
      return Step::kMessage;
    case RecordKind::kSkip:
      return at + *taken == ring_bytes_ ? Step::kNothing : Step::kCorrupt;
    case RecordKind::kFirst:
      if (in->total != 0 || total <= payload.size() || total > kMaxMessageBytes) return Step::kCorrupt;
      in->total = total;
      in->partial.clear();
      in->partial.reserve(total);
      break;
    case RecordKind::kMiddle:
    case RecordKind::kLast:
      if (in->total == 0 || payload.size() > in->total - in->partial.size()) return Step::kCorrupt;
      break;
    default:
      return Step::kCorrupt;
  }
  in->partial.insert(in->partial.end(), payload.begin(), payload.end());
  if (kind != RecordKind::kLast) return Step::kNothing;
  if (in->partial.size() != in->total) return Step::kCorrupt;
  in->total = 0;
  *message = in->partial;
  return Step::kMessage;
}

void Port::PublishHead(In* in) {
  if (in->head == in->published) return;
  // Release: our reads below it are over.
  in->ends->head.store(in->head, std::memory_order_release);
  in->published = in->head;
}

// `seen` is how much the visit found. See Port::PumpAndAsk for the wish for room.
void Port::EndVisit(uint16_t src, uint64_t tail, uint64_t seen) {
  In& in = ins_[src];
  const bool readable = in.lane.valid() && !in.corrupt;
  if (readable) {
    if (seen >= ring_bytes_ / 8) {
      in.published = in.head;
      in.ends->head.store(in.head, std::memory_order_seq_cst);
      if (in.ends->wants_room.load(std::memory_order_seq_cst) != 0 && tail - in.head <= ring_bytes_ / 2) {
        in.ends->wants_room.exchange(0, std::memory_order_seq_cst);
        board_->MarkDirty(src, slot_);
        Ring(src);
      }
    } else {
      PublishHead(&in);
    }
    if (in.partial.capacity() > ring_bytes_ && in.total == 0) std::vector<std::byte>().swap(in.partial);
  }
  // The bit may also mean that the peer made room for our backlog; Flush publishes what moves now.
  Out& out = outs_[src];
  if (out.connected && !out.log.empty()) {
    PumpAndAsk(&out);
    PublishTail(&out, src);
    if (!bells_.empty()) {
      bells_.clear();
      Ring(src);
    }
  }
  if (readable && in.head != tail) return;  // more to read: stays pending
  ClearPending(src);
  if (!in.lane.valid()) {
    if (out.connected && !board_->Live(src, out.generation)) ForgetPeer(src, out.generation);
    return;
  }
  if (board_->Live(src, in.generation)) return;
  // Dead (acquire), so this tail is its last. Anything published since our look comes with another visit.
  if (in.corrupt || in.ends->tail.load(std::memory_order_acquire) == in.head) {
    ForgetPeer(src, in.generation);
  } else {
    board_->MarkDirty(slot_, src);
  }
}

void Port::MarkCorrupt(uint16_t src) {
  In& in = ins_[src];
  in.corrupt = true;
  in.total = 0;
  std::vector<std::byte>().swap(in.partial);
  corrupt_.push_back({src, in.generation});
  ClearPending(src);
}

std::optional<Peer> Port::TakeCorruptPeer() {
  if (corrupt_.empty()) return std::nullopt;
  const Peer peer = corrupt_.back();
  corrupt_.pop_back();
  return peer;
}

bool Port::DrainedFrom(uint16_t src, uint32_t generation) const {
  if (src >= ins_.size()) return true;
  if (const In* in = ins_.Find(src); in != nullptr && in->lane.valid()) {
    return in->generation != generation || in->corrupt ||
           in->ends->tail.load(std::memory_order_acquire) == in->head;
  }
  uint32_t lane_generation;
  const LaneRef lane = board_->FindLane(src, slot_, generation_, &lane_generation);
  if (!lane.valid() || lane_generation != generation) return true;
  const LaneEnds& ends = board_->ends(lane.index);
  return ends.tail.load(std::memory_order_acquire) == ends.head.load(std::memory_order_relaxed);
}

void Port::ForgetPeer(uint16_t slot, uint32_t generation) {
  if (slot >= outs_.size()) return;
  Out& out = outs_[slot];
  if (out.connected && out.generation == generation) {
    if (out.lane.valid()) board_->ReleaseEnds(out.lane, kSenderDone);
    const bool queued = out.queued;  // dirty_ still names it
    out = Out();
    out.queued = queued;
  }
  In& in = ins_[slot];
  if (in.lane.valid()) {
    if (in.generation != generation) return;
    PublishHead(&in);
    const LaneRef lane = in.lane;
    in = In();
    ClearPending(slot);
    board_->ReleaseEnds(lane, kReceiverDone);
    return;
  }
  // Never read from: let go of what it left us all the same.
  const LaneRef lane = board_->PeekLane(slot, slot_);
  if (lane.valid() && board_->ends(lane.index).src_generation.load(std::memory_order_relaxed) == generation) {
    board_->ReleaseEnds(lane, kReceiverDone);
  }
}

}  // namespace rmpi::lane
