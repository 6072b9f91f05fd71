// SPDX-License-Identifier: Apache-2.0
// Router: the raylet's Outbox. Knows how each Address is reached: a slot of this node by its lane, the raylet
// itself and (on the head) the GCS by a queue, everything else by the peer link of its node. Nothing is
// delivered while it is being sent: what is for this process is handled by the loop afterwards.
#pragma once

#include <deque>
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
  // From the GCS, which lives in this process too.
  void PostFrom(const Address& from, const Address& to, MsgType type, Bytes body);
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
  std::unordered_map<uint32_t, int> peers_;
  std::deque<Local> local_;
};

// The GCS's own Outbox: the router, with its own name as the sender.
class GcsOutbox : public Outbox {
 public:
  explicit GcsOutbox(Router* router) : router_(router) {}
  void Post(const Address& to, MsgType type, Bytes body) override {
    router_->PostFrom(GcsAddress(), to, type, body);
  }

 private:
  Router* router_;
};

}  // namespace rmpi
