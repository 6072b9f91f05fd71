// SPDX-License-Identifier: Apache-2.0
// StatusRound: the head gathers how the run is, for those who ask (`ray-mpi status`). All nodes are asked at
// once; who asks in the meantime gets the same answer. Owned by the Gcs.
//
// Invariants: at most one round at a time; it ends when every living node has answered, at the latest after
// kPatience, so who asks is always answered.
#pragma once

#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/core/outbox.h"
#include "runtime/message/status_messages.h"

namespace rmpi {

class StatusRound {
 public:
  static constexpr TimeNs kPatience = 2 * kSecond;

  // `fill`: all that the head knows by itself, of what the nodes said.
  StatusRound(Outbox* outbox, std::function<void(RunStatus*)> fill)
      : outbox_(outbox), fill_(std::move(fill)) {}

  void OnRequest(const Address& from, uint64_t nonce, const std::vector<uint32_t>& nodes, TimeNs now);
  void OnAnswer(uint32_t node, NodeStatus m);
  void OnNodeDead(uint32_t node);
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return deadline_; }

 private:
  void Finish();

  Outbox* outbox_;
  std::function<void(RunStatus*)> fill_;
  std::vector<std::pair<Address, uint64_t>> askers_;  // with their nonce
  std::set<uint32_t> unanswered_;
  uint64_t round_ = 0;
  RunStatus status_;
  TimeNs deadline_ = kNever;
};

}  // namespace rmpi
