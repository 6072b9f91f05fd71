// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/peer_links.h"

#include <algorithm>
#include <cstring>

namespace rmpi {
namespace {

constexpr size_t kMaxMessage = 256 << 20;  // as in the lanes

}  // namespace

void PeerLinks::Queue(int peer, const MessageHeader& header, Bytes body) {
  Link& link = links_[peer];
  if (link.broken) return;
  const auto* h = reinterpret_cast<const std::byte*>(&header);
  link.out.insert(link.out.end(), h, h + sizeof header);
  link.out.insert(link.out.end(), body.begin(), body.end());
  if (!link.dirty) {
    link.dirty = true;
    dirty_.push_back(peer);
  }
}

void PeerLinks::FlushLink(int peer, Link* link) {
  while (link->sent < link->out.size() && transport_->InFlight(peer) < kMaxInFlightBytes) {
    const size_t n = std::min(link->out.size() - link->sent, kMaxFrameBytes);
    const auto begin = link->out.begin() + static_cast<std::ptrdiff_t>(link->sent);
    transport_->Send(peer, std::vector<std::byte>(begin, begin + static_cast<std::ptrdiff_t>(n)));
    link->sent += n;
  }
  if (link->sent == link->out.size()) {
    link->out.clear();
    link->sent = 0;
  } else if (link->sent > (1 << 20)) {
    link->out.erase(link->out.begin(), link->out.begin() + static_cast<std::ptrdiff_t>(link->sent));
    link->sent = 0;
  }
}

void PeerLinks::Flush() {
  for (size_t i = 0; i < dirty_.size();) {
    const int peer = dirty_[i];
    Link& link = links_[peer];
    FlushLink(peer, &link);
    if (!link.out.empty()) {
      ++i;
      continue;
    }
    link.dirty = false;
    dirty_[i] = dirty_.back();
    dirty_.pop_back();
  }
}

bool PeerLinks::congested() const {
  return std::any_of(dirty_.begin(), dirty_.end(), [&](int peer) {
    const Link& link = links_.at(peer);
    return link.out.size() - link.sent > kHighWater;
  });
}

void PeerLinks::Drop(int peer) {
  transport_->DropPeer(peer);
  Link& link = links_[peer];
  link.broken = true;
  link.out = {};
  link.in = {};
  link.sent = 0;
}

void PeerLinks::Receive(int peer, Bytes frame, const Handler& handler) {
  Link& link = links_[peer];
  std::vector<std::byte> in = std::move(link.in);  // ours alone: a handler may drop the link
  Bytes data = frame;
  if (!in.empty()) {
    in.insert(in.end(), frame.begin(), frame.end());
    data = in;
  }
  size_t at = 0;
  while (data.size() - at >= sizeof(MessageHeader) && !link.broken) {
    MessageHeader header;
    std::memcpy(&header, data.data() + at, sizeof header);
    if (header.version != kWireVersion || header.body_bytes > kMaxMessage) {
      link.broken = true;  // another program, or a fault: heartbeats will end it
      break;
    }
    if (data.size() - at - sizeof header < header.body_bytes) break;
    handler(peer, header, data.subspan(at + sizeof header, header.body_bytes));
    at += sizeof header + header.body_bytes;
  }
  if (link.broken || at == data.size()) return;
  if (in.empty() || at != 0)
    in = std::vector<std::byte>(data.begin() + static_cast<std::ptrdiff_t>(at), data.end());
  link.in = std::move(in);  // a large message grows in place
}

size_t PeerLinks::Poll(const Handler& handler) {
  return transport_->Poll([&](int peer, Bytes frame) { Receive(peer, frame, handler); });
}

}  // namespace rmpi
