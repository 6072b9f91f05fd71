// SPDX-License-Identifier: Apache-2.0
// Router: the raylet's Outbox. Knows how each Address is reached: a slot of this node by its lane, the raylet
// itself and (on the head) the GCS by a queue, everything else by the peer link of its node. Nothing is
// delivered while it is being sent: what is for this process is handled by the loop afterwards.
#pragma once

#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "runtime/core/outbox.h"
#include "runtime/lane/port.h"
#include "runtime/raylet/peer_links.h"

namespace rmpi {

class Router : public Outbox {
 public:
  struct Local {
    MessageHeader header;
    Blob body;
  };

  void SetPort(lane::Port* port, lane::Board* board) {
    port_ = port;
    board_ = board;
  }
  void SetLinks(PeerLinks* links) { links_ = links; }
  void SetIdentity(uint32_t node, bool head) {
    self_ = RayletOf(node);
    head_ = head;
  }
  void AddNode(uint32_t node, int peer) { peers_[node] = peer; }
  void RemoveNode(uint32_t node) { peers_.erase(node); }
  int PeerOf(uint32_t node) const {
    const auto it = peers_.find(node);
    return it == peers_.end() ? -1 : it->second;
  }

  // From this raylet.
  void Post(const Address& to, MsgType type, Bytes body) override { PostFrom(self_, to, type, body); }
  // From others that live in this process, too. False: as of Forward().
  bool PostFrom(const Address& from, const Address& to, MsgType type, Bytes body);
  // Called with what OutboxOf could not post: its sender must hear that there is nobody, as any process does.
  void SetUnreachable(std::function<void(const MessageHeader&)> fn) { unreachable_ = std::move(fn); }
  void Unreachable(const MessageHeader& header) const { unreachable_(header); }
  // Passes on what somebody else sent. False: its destination, a process of this node, is not there.
  bool Forward(const MessageHeader& header, Bytes body);

  std::deque<Local>& local() { return local_; }
  const Address& self() const { return self_; }
  bool head() const { return head_; }

 private:
  lane::Port* port_ = nullptr;
  lane::Board* board_ = nullptr;
  PeerLinks* links_ = nullptr;
  Address self_;
  bool head_ = false;
  std::function<void(const MessageHeader&)> unreachable_;
  std::unordered_map<uint32_t, int> peers_;
  std::deque<Local> local_;
};

// The Outbox of another inhabitant of this process (the GCS, the owner of detached actors): the router, with
// that one's name as the sender.
class OutboxOf : public Outbox {
 public:
  OutboxOf(Router* router, const Address& self) : router_(router), self_(self) {}
  void Post(const Address& to, MsgType type, Bytes body) override {
    if (router_->PostFrom(self_, to, type, body)) return;
    MessageHeader header;
    header.type = static_cast<uint16_t>(type);
    header.src = self_;
    header.dst = to;
    router_->Unreachable(header);
  }

 private:
  Router* router_;
  Address self_;
};

}  // namespace rmpi
