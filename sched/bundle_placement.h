// SPDX-License-Identifier: Apache-2.0
// Which nodes get the bundles of a placement group: a pure function of what nodes have and bundles want.
//
// STRICT_PACK: the fullest node that has room for all. STRICT_SPREAD: a node each, found whenever there is
// such a choice (by augmenting paths). PACK: as few nodes as a greedy choice finds, each time the one that
// takes most; SPREAD: each time the node with the fewest bundles of the group. Where these two find nothing,
// small cases are searched through. Nodes are looked at once per kind of bundle, not once per bundle.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/message/group_messages.h"
#include "sched/labels.h"
#include "sched/resources.h"

namespace rmpi::sched {

struct PlacementNode {
  uint32_t node = 0;
  const Amounts* free = nullptr;   // a report (sched/pool.h); outlives the call
  const Amounts* total = nullptr;  // what it has when all is free
  uint32_t has = 0;                // bundles of this group that are there already
  const Labels* labels = nullptr;  // null: it has none
};

struct WantedBundle {
  Amounts resources;
  LabelRules labels;  // of its node; none: any
  auto operator<=>(const WantedBundle&) const = default;
};

// The node of each bundle, in their order; empty: there is no room. `soft_node`: of STRICT_PACK, if it has
// room.
std::vector<uint32_t> PlaceBundles(const std::vector<PlacementNode>& nodes,
                                   const std::vector<WantedBundle>& bundles, GroupStrategy strategy,
                                   uint32_t soft_node = 0);

}  // namespace rmpi::sched
