// SPDX-License-Identifier: Apache-2.0
// NodeDrains: the nodes that leave in order, or a command has had emptied: why, how far each is, and who
// waits to hear of it. Part of the Gcs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/core/outbox.h"
#include "runtime/message/drain_messages.h"

namespace rmpi {

class NodeDrains {
 public:
  using Nodes = std::map<uint32_t, NodeRecord>;

  explicit NodeDrains(Outbox* outbox) : outbox_(outbox) {}

  // Which node that lives somebody means by a rank, a host name or the beginning of an id. What there is
  // stands in the error.
  static Status Find(const Nodes& nodes, uint64_t run_id, const std::string& wanted, uint32_t* node);

  void Start(const NodeRecord& record, const std::string& reason);
  bool Has(uint32_t node) const { return drains_.contains(node); }
  // How far it is: told to those who wait. False: that was known.
  bool OnReport(uint32_t node, const Drained& report);
  // Answered when there is news since the version that the request has seen.
  void OnRequest(const Address& from, const DrainRequest& m, uint32_t node);
  // Why it is dead: `reason`, and what that means for who drained it.
  std::string WhyDead(uint32_t node, const std::string& reason) const;
  void OnNodeDead(uint32_t node, const std::string& why);
  // For people.
  std::string Text(uint32_t node) const;

 private:
  struct Drain {
    std::string reason;
    DrainReply state;
  };
  struct Waiter {
    Address from;
    uint64_t nonce = 0;
    uint32_t node = 0;
  };

  void Changed(Drain* drain);

  Outbox* outbox_;
  std::map<uint32_t, Drain> drains_;
  std::vector<Waiter> waiters_;
};

}  // namespace rmpi
