// SPDX-License-Identifier: Apache-2.0
// The sending half of Port.
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/lane/futex.h"
#include "runtime/lane/port.h"

namespace rmpi::lane {

Port::Port(Board* board, uint16_t slot, uint32_t generation, int raylet_eventfd)
    : board_(board),
      me_(&board->records_[slot]),
      slot_(slot),
      generation_(generation),
      raylet_eventfd_(raylet_eventfd),
      ring_bytes_(board->ring_bytes()),
      max_payload_(board->ring_bytes() / 4 - sizeof(RecordHeader)),
      outs_(board->slots()),
      ins_(board->slots()),
      pending_((board->slots() + 63u) / 64) {
  for (int i = 0; i < 2; ++i) seen_[i] = me_->futex[i].load(std::memory_order_acquire);
}

bool Port::Send(uint16_t dst_slot, uint32_t dst_generation, std::span<const Bytes> parts) {
  size_t size = 0;
  for (const Bytes& part : parts) size += part.size();
  std::byte* at = Reserve(dst_slot, dst_generation, size);
  if (at == nullptr) return false;
  for (const Bytes& part : parts) {
    if (part.empty()) continue;
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  Commit();
  return true;
}

std::byte* Port::Reserve(uint16_t dst_slot, uint32_t dst_generation, size_t size) {
  if (size > kMaxMessageBytes) {
    std::fprintf(stderr,
                 "ray-mpi: lane message of %zu bytes from slot %u to slot %u: the limit is %zu; large values "
                 "must travel as objects\n",
                 size, slot_, dst_slot, kMaxMessageBytes);
    std::abort();
  }
  assert(reserved_ == nullptr);
  if (!board_->Live(dst_slot, dst_generation)) return nullptr;
  Out& out = outs_[dst_slot];
  if (!out.connected || out.generation != dst_generation) [[unlikely]] {
    if (!Connect(dst_slot, dst_generation)) return nullptr;
  }
  reserved_ = &out;
  reserved_dst_ = dst_slot;
  reserved_size_ = size;
  reserved_at_ = size <= max_payload_ && out.log.empty() ? Place(&out, size) : nullptr;
  reserved_in_ring_ = reserved_at_ != nullptr;
  if (!reserved_in_ring_) reserved_at_ = out.log.Append(size);
  return reserved_at_;
}

void Port::Commit() {
  assert(reserved_ != nullptr);
  Out& out = *reserved_;
  reserved_ = nullptr;
  if (reserved_in_ring_) {
    PutHeader(reserved_at_, reserved_size_, RecordKind::kWhole, 0);
    out.tail += sizeof(RecordHeader) + Align8(reserved_size_);
  }
  if (!out.queued) Queue(reserved_dst_);
}

void Port::Queue(uint16_t dst) {
  outs_[dst].queued = true;
  dirty_.push_back(dst);
}

bool Port::Connect(uint16_t dst, uint32_t generation) {
  Out& out = outs_[dst];
  if (out.connected) ForgetPeer(dst, out.generation);  // its successor lives in the slot: it is dead
  out.dst = dst;
  out.generation = generation;
  out.connected = true;
  Attach(&out);
  return board_->Live(dst, generation);
}

// Takes a lane if there is one; else everything waits in the log, and Pump tries again.
void Port::Attach(Out* out) {
  out->lane = board_->TakeLane(slot_, generation_, out->dst, out->generation);
  if (!out->lane.valid()) {
    starved_.store(true, std::memory_order_relaxed);
    return;
  }
  out->ends = &board_->ends(out->lane.index);
  out->ring = board_->ring(out->lane.index);
  out->tail = out->published = out->head = 0;
}

// The receiver's head is checked, not trusted: one beyond our tail, or too far behind, counts as a full ring.
std::byte* Port::Place(Out* out, size_t size) {
  if (!out->lane.valid()) return nullptr;
  const size_t need = sizeof(RecordHeader) + Align8(size);
  size_t at = out->tail & (ring_bytes_ - 1);
  const size_t skip = at + need > ring_bytes_ ? ring_bytes_ - at : 0;
  if (out->tail - out->head + skip + need > ring_bytes_) {
    // Acquire: the receiver's reads of the bytes below its head are over.
    out->head = out->ends->head.load(std::memory_order_acquire);
    if (out->tail - out->head > ring_bytes_ || out->tail - out->head + skip + need > ring_bytes_)
      return nullptr;
  }
  if (skip != 0) {
    PutHeader(out->ring + at + sizeof(RecordHeader), skip - sizeof(RecordHeader), RecordKind::kSkip, 0);
    out->tail += skip;
    at = 0;
  }
  return out->ring + at + sizeof(RecordHeader);
}

void Port::PutHeader(std::byte* payload, size_t size, RecordKind kind, size_t total) const {
  const RecordHeader header{static_cast<uint32_t>(size),
                            static_cast<uint32_t>(total << 3) | static_cast<uint32_t>(kind)};
  std::memcpy(payload - sizeof(header), &header, sizeof(header));
}

// Moves the log into the ring, as far as there is room. Large messages go in pieces.
void Port::Pump(Out* out) {
  if (!out->lane.valid() && !out->log.empty()) Attach(out);
  while (!out->log.empty()) {
    const Bytes message = out->log.Front();
    const size_t left = message.size() - out->front_sent;
    const size_t piece = left < max_payload_ ? left : max_payload_;
    std::byte* at = Place(out, piece);
    if (at == nullptr) return;
    if (piece != 0) std::memcpy(at, message.data() + out->front_sent, piece);
    const bool first = out->front_sent == 0, last = piece == left;
    PutHeader(at, piece,
              first && last ? RecordKind::kWhole
              : first       ? RecordKind::kFirst
              : last        ? RecordKind::kLast
                            : RecordKind::kMiddle,
              first && !last ? message.size() : 0);
    out->tail += sizeof(RecordHeader) + Align8(piece);
    out->front_sent += piece;
    if (last) {
      out->front_sent = 0;
      out->log.Pop();
    }
  }
}

// As Pump; when something is left, asks the receiver to ring us when there is room. We store the wish and
// then look at the head once more; the receiver stores its head and then looks for a wish (both sequentially
// consistent): one of us sees the other. It looks only after visits that found an eighth of the ring or more:
// a wish means that more than half of it was in use.
void Port::PumpAndAsk(Out* out) {
  Pump(out);
  while (!out->log.empty() && out->lane.valid()) {
    out->ends->wants_room.exchange(1, std::memory_order_seq_cst);
    const uint64_t head = out->ends->head.load(std::memory_order_seq_cst);
    if (head == out->head) return;
    const size_t before = out->log.bytes() - out->front_sent;
    Pump(out);
    if (out->log.bytes() - out->front_sent == before) return;
  }
}

void Port::PublishTail(Out* out, uint16_t dst) {
  if (out->tail == out->published) return;
  // Release: the records are written. A sender that dies before this line has sent nothing.
  out->ends->tail.store(out->tail, std::memory_order_release);
  out->published = out->tail;
  board_->MarkDirty(dst, slot_);
  bells_.push_back(dst);
}

void Port::Flush() {
  if (dirty_.empty()) return;
  size_t kept = 0;
  starved_.store(false, std::memory_order_relaxed);  // Attach says so again where it still fails
  for (const uint16_t dst : dirty_) {
    Out& out = outs_[dst];
    if (!out.connected) {  // forgotten since
      out.queued = false;
      continue;
    }
    if (!out.log.empty()) PumpAndAsk(&out);
    PublishTail(&out, dst);
    if (out.log.empty()) {
      out.queued = false;
    } else {
      dirty_[kept++] = dst;
    }
  }
  dirty_.resize(kept);
  // All tails first: a woken receiver may take our CPU.
  for (const uint16_t dst : bells_) {
    NoteActive(dst);
    Ring(dst);
  }
  bells_.clear();
}

// REQUIRES: MarkDirty(dst) came before (its barrier orders the tail before this look at `asleep`; the
// receiver stores `asleep` and then looks for dirty bits).
void Port::Ring(uint16_t dst) {
  SlotRecord& r = board_->records_[dst];
  if (r.asleep.load(std::memory_order_seq_cst) == 0) return;
  const auto who = static_cast<Sleeper>(r.asleep.exchange(0, std::memory_order_seq_cst));
  if (who == Sleeper::kMain || who == Sleeper::kBackground) {
    std::atomic<uint32_t>& word = r.futex[who == Sleeper::kMain ? 0 : 1];
    word.fetch_add(1, std::memory_order_release);
    FutexWake(&word);
  } else if (who == Sleeper::kEventFd && raylet_eventfd_ >= 0) {
    const uint64_t one = 1;
    // Fails only when the counter is about to overflow: then it is readable anyway.
    [[maybe_unused]] const ssize_t n = write(raylet_eventfd_, &one, sizeof(one));
  }
}

void Port::NoteActive(uint16_t peer) {
  uint64_t peers = active_.load(std::memory_order_relaxed);
  for (int shift = 0; shift < 64; shift += 16) {
    if ((peers >> shift & 0xFFFF) == peer + 1u) return;
  }
  active_.store(peers << 16 | (peer + 1u), std::memory_order_relaxed);
}

size_t Port::total_backlog_bytes() const {
  size_t total = 0;
  for (const uint16_t dst : dirty_) total += backlog_bytes(dst);
  return total;
}

}  // namespace rmpi::lane
