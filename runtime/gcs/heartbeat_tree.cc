// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/heartbeat_tree.h"

namespace rmpi {
namespace {

constexpr TimeNs kBackAfter = 10 * kSecond;

}  // namespace

// In the order of joining, the first of a section aggregates: all others know it already.
HeartbeatTree::Changes HeartbeatTree::OnJoin(uint32_t node, int rank) {
  if (!used() || rank <= 0 || node == kHeadNode) return {};
  const uint32_t number = (static_cast<uint32_t>(rank) - 1) / options_.section;
  Section& s = sections_[number];
  s.nodes.insert(node);
  section_of_[node] = number;
  if (s.aggregator == 0) s.aggregator = node;
  return s.aggregator == node ? Changes{} : Changes{{node, s.aggregator}};
}

HeartbeatTree::Changes HeartbeatTree::OnDead(uint32_t node) {
  straight_.erase(node);
  const auto of = section_of_.find(node);
  if (of == section_of_.end()) return {};
  Section& s = sections_.at(of->second);
  section_of_.erase(of);
  s.nodes.erase(node);
  if (s.aggregator != node) return {};
  s.aggregator = s.nodes.empty() ? 0 : *s.nodes.begin();
  Changes changes;
  for (const uint32_t other : s.nodes) {
    straight_.erase(other);
    changes.emplace_back(other, other == s.aggregator ? kHeadNode : s.aggregator);
  }
  return changes;
}

void HeartbeatTree::OnStraight(uint32_t node, TimeNs now) {
  const auto of = section_of_.find(node);
  if (of == section_of_.end() || sections_.at(of->second).aggregator == node) return;
  straight_.try_emplace(node, now);
}

HeartbeatTree::Changes HeartbeatTree::OnTimer(TimeNs now) {
  Changes changes;
  std::erase_if(straight_, [&](const auto& s) {
    if (now - s.second < kBackAfter) return false;
    changes.emplace_back(s.first, sections_.at(section_of_.at(s.first)).aggregator);
    return true;
  });
  return changes;
}

}  // namespace rmpi
