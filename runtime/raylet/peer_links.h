// SPDX-License-Identifier: Apache-2.0
// PeerLinks: messages between nodes over a Transport. Each peer is a byte stream of {MessageHeader, body}
// cut into frames: many small messages share a frame, a large one takes several. FIFO per peer.
//
// A peer's queue is bounded: above kMaxInFlightBytes in the transport it collects here, and the raylet stops
// reading its clients' lanes while any queue is above kHighWater.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "runtime/message/messages.h"
#include "runtime/transport/transport.h"

namespace rmpi {

class PeerLinks {
 public:
  using Handler = std::function<void(int peer, const MessageHeader& header, Bytes body)>;

  explicit PeerLinks(Transport* transport) : transport_(transport) {}
  // The same peers, and more, under the same numbers.
  void SetTransport(Transport* transport) { transport_ = transport; }

  void Queue(int peer, const MessageHeader& header, Bytes body);
  void Flush();
  // Reads what came and hands over whole messages. Returns how many frames.
  size_t Poll(const Handler& handler);
  void Drop(int peer);
  bool congested() const;

  static constexpr size_t kHighWater = 64 << 20;

 private:
  struct Link {
    std::vector<std::byte> out;  // from `sent` on: not yet framed
    size_t sent = 0;
    bool dirty = false;
    std::vector<std::byte> in;  // the beginning of a message whose rest is still to come
    bool broken = false;
  };

  void FlushLink(int peer, Link* link);
  void Receive(int peer, Bytes frame, const Handler& handler);

  Transport* transport_;
  std::unordered_map<int, Link> links_;
  std::vector<int> dirty_;
};

}  // namespace rmpi
