// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/router.h"

#include <array>

namespace rmpi {

bool Router::PostFrom(const Address& from, const Address& to, MsgType type, Bytes body) {
  MessageHeader header;
  header.type = static_cast<uint16_t>(type);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.src = from;
  header.dst = to;
  return Forward(header, body);
}

bool Router::Forward(const MessageHeader& header, Bytes body) {
  const Address& to = header.dst;
  const bool here = to.node == self_.node;
  if (here && (to.slot == kRayletSlot || (InRaylet(to) && head_))) {
    local_.push_back({header, Blob::Copy(body)});
    return true;
  }
  if (here) {
    const std::array<Bytes, 2> parts = {Bytes(reinterpret_cast<const std::byte*>(&header), sizeof header),
                                        body};
    return port_->Send(to.slot, to.generation, parts);
  }
  const int peer = PeerOf(to.node);
  if (peer < 0 || links_ == nullptr) return false;
  links_->Queue(peer, header, body);
  return true;
}

}  // namespace rmpi
