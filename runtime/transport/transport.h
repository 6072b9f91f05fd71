// SPDX-License-Identifier: Apache-2.0
// Transport: control frames between the raylets of different hosts. One FIFO per peer and direction, at most
// once, never blocking. Peers are small integers: the rank at bring-up, further numbers for nodes that join.
//
// One control thread makes every call. It sleeps in its own epoll, in which EpollFd() is nested:
//
//   for (;;) {
//     while (transport->Poll(on_frame) > 0 || other work) {}
//     if (transport->Arm()) epoll_wait(...);        // with a safety timeout of at most 100 ms
//   }
//
// A transport does not judge: that a peer's socket closed is news (TakeClosedPeers; over MPI known to the
// head for all and to all for the head, where MPI runs on sockets), silence is found by heartbeats, and
// DropPeer carries the verdict back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/base/blob.h"

namespace rmpi {

// Proves membership of a run. Made by rank 0 from getrandom, handed out during bring-up, never on a command
// line or in a file that others may read.
using RunSecret = std::array<uint8_t, 16>;

// Two builds that differ here do not talk to each other.
constexpr uint32_t kTransportProtocol = 2;

constexpr size_t kMaxFrameBytes = 256 * 1024;
// Above this many bytes in flight to a peer the caller stops building frames for it and keeps its messages in
// its own bounded queues.
constexpr size_t kMaxInFlightBytes = 4 * 1024 * 1024;

// The bytes are valid during the call only. The handler may call Send and DropPeer, not Poll.
using FrameHandler = std::function<void(int peer, Bytes frame)>;

class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Takes a frame of 1 to kMaxFrameBytes bytes. To a dropped or closed peer it does nothing.
  virtual void Send(int peer, std::vector<std::byte> frame) = 0;
  // Bytes accepted for `peer` that are not yet known to have left: queued here, or (MPI) not yet
  // acknowledged. Acknowledgements are lazy, so a few hundred KiB may stay counted on an idle peer. 0 for a
  // dropped peer.
  virtual size_t InFlight(int peer) const = 0;

  // Makes progress and hands over what arrived; returns the number of frames delivered (bounded per call).
  virtual size_t Poll(const FrameHandler& handler) = 0;
  // Becomes readable when Poll would find something, provided that Arm() returned true.
  virtual int EpollFd() const = 0;
  // To be called before each sleep. False: there is work already, Poll again.
  virtual bool Arm() = 0;

  // `peer` is dead: never send to it again, deliver nothing more from it. Idempotent.
  virtual void DropPeer(int peer) = 0;
  // Peers whose connection was seen to close since the last call.
  virtual std::vector<int> TakeClosedPeers() = 0;

  // Flushes for at most one second; nothing is delivered any more. Call it last, once.
  virtual void Shutdown(bool all_peers_alive) = 0;
};

}  // namespace rmpi
