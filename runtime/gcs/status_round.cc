// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/status_round.h"

namespace rmpi {

void StatusRound::OnRequest(const Address& from, uint64_t nonce, const std::vector<uint32_t>& nodes,
                            TimeNs now) {
  askers_.emplace_back(from, nonce);
  if (askers_.size() > 1) return;
  ++round_;
  status_ = {};
  unanswered_ = {nodes.begin(), nodes.end()};
  deadline_ = now + kPatience;
  for (const uint32_t node : nodes) outbox_->Send(RayletOf(node), MsgType::kStats, Nonce{round_});
  if (nodes.empty()) Finish();
}

void StatusRound::OnAnswer(uint32_t node, NodeStatus m) {
  if (m.nonce != round_ || unanswered_.erase(node) == 0) return;
  status_.details.emplace_back(node, std::move(m));
  if (unanswered_.empty()) Finish();
}

void StatusRound::OnNodeDead(uint32_t node) {
  std::erase_if(askers_, [&](const auto& a) { return a.first.node == node; });
  if (unanswered_.erase(node) != 0 && unanswered_.empty()) Finish();
}

void StatusRound::OnTimer(TimeNs now) {
  if (now >= deadline_) Finish();
}

void StatusRound::Finish() {
  deadline_ = kNever;
  unanswered_.clear();
  fill_(&status_);
  for (const auto& [who, nonce] : askers_) {
    status_.nonce = nonce;
    outbox_->Send(who, MsgType::kStatsReply, status_);
  }
  askers_.clear();
}

}  // namespace rmpi
