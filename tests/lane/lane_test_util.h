// SPDX-License-Identifier: Apache-2.0
// A board with a raylet's port, and small helpers that the lane tests share.
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "runtime/lane/port.h"

namespace rmpi::lane {

inline Bytes AsBytes(const void* p, size_t n) { return {static_cast<const std::byte*>(p), n}; }
inline Bytes AsBytes(const std::string& s) { return AsBytes(s.data(), s.size()); }
inline std::string AsString(Bytes b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

inline bool SendString(Port* port, uint16_t slot, uint32_t generation, const std::string& text) {
  const Bytes part = AsBytes(text);
  return port->Send(slot, generation, {&part, 1});
}

// The bytes of message `n` of size `size`: any torn, lost or swapped piece shows.
inline std::string Pattern(uint64_t n, size_t size) {
  std::string s(size, '\0');
  uint64_t x = Mix(n + 1);
  for (size_t i = 0; i < size; ++i) {
    if (i % 8 == 0) x = Mix(x + i);
    s[i] = static_cast<char>(x >> (i % 8 * 8));
  }
  return s;
}

// What a broken or dying peer may do to the shared memory.
struct LaneTestAccess {
  static LaneEnds& EndsOf(Board* b, uint16_t src, uint16_t dst) {
    return b->ends(b->PeekLane(src, dst).index);
  }
  static std::byte* RingOf(Board* b, uint16_t src, uint16_t dst) {
    return b->ring(b->PeekLane(src, dst).index);
  }
  // A tail that no message ends at; the reader is made to look.
  static void Damage(Board* b, uint16_t src, uint16_t dst) {
    EndsOf(b, src, dst).tail.fetch_add(3);
    b->MarkDirty(dst, src);
  }
  static std::atomic<uint32_t>& AsleepOf(Board* b, uint16_t slot) { return b->records_[slot].asleep; }
};

struct TestBoard {
  explicit TestBoard(BoardOptions options = {}) : event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    Status s = Board::Create(options, &fd);
    if (s.ok()) s = Board::Map(fd.get(), &board);
    if (!s.ok()) {
      ADD_FAILURE() << s.message();
      std::abort();
    }
    board->OpenRaylet(getpid());
  }
  Peer Open() {
    Peer p;
    const Status s = board->OpenSlot(getpid(), &p.slot, &p.generation);
    EXPECT_TRUE(s.ok()) << s.message();
    return p;
  }
  std::unique_ptr<Port> MakePort(Peer p) {
    return std::make_unique<Port>(board.get(), p.slot, p.generation, event.get());
  }

  UniqueFd fd;
  UniqueFd event;
  std::unique_ptr<Board> board;
};

}  // namespace rmpi::lane
