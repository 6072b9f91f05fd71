// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/broadcast_trees.h"

#include <algorithm>
#include <vector>

namespace rmpi {
namespace {

// A receiver that serves one other passes on all that comes; one that serves two, half of that. So a chain is
// twice as fast, as long as the first byte's way through it is short beside the whole.
constexpr uint64_t kChainShare = 4;
constexpr uint32_t kFanOut = 2;
constexpr uint32_t kNobody = ~uint32_t{0};  // the parent of one whose parent has left

}  // namespace

// Small objects go to several at once: one way costs less than two.
uint32_t BroadcastTrees::FanOut(const Tree& tree) const {
  return std::max(kFanOut, static_cast<uint32_t>(chunk_bytes_ / std::max<uint64_t>(tree.size, 1 << 10)));
}

BroadcastTrees::Rank BroadcastTrees::RankOf(const Tree& tree, uint32_t node, const Member& m) const {
  const uint64_t longest = std::max<uint64_t>(1, tree.size / chunk_bytes_ / kChainShare);
  return {m.children == 0 && m.depth < longest ? 0 : 1, m.depth, m.order, node};
}

// Every change of a member goes through here, so that `open` has its rank.
template <class F>
void BroadcastTrees::Change(Tree* tree, uint32_t node, F&& change) {
  const auto it = tree->members.find(node);
  if (it == tree->members.end()) return;
  Member& m = it->second;
  tree->open.erase(RankOf(*tree, node, m));
  change(m);
  if (m.children < FanOut(*tree) && !m.suspect) tree->open.insert(RankOf(*tree, node, m));
}

void BroadcastTrees::Attach(Tree* tree, uint32_t node, uint32_t parent) {
  Change(tree, parent, [](Member& m) { ++m.children; });
  const uint32_t depth = tree->members.at(parent).depth + 1;
  Change(tree, node, [&](Member& m) {
    m.parent = parent;
    m.depth = depth;
    m.suspect = false;
  });
}

void BroadcastTrees::Detach(Tree* tree, uint32_t node) {
  const Member& m = tree->members.at(node);
  if (!m.whole) Change(tree, m.parent, [](Member& p) { --p.children; });
}

// Whether its way to this node, or to one that has it all, is known and does not go through `joining`.
bool BroadcastTrees::Usable(const Tree& tree, uint32_t candidate, uint32_t joining) const {
  for (uint32_t at = candidate; at != 0;) {
    const auto it = tree.members.find(at);
    if (at == joining || it == tree.members.end() || it->second.suspect) return false;
    if (it->second.whole) return true;
    at = it->second.parent;
  }
  return true;
}

uint32_t BroadcastTrees::Join(const objstore::Version& version, uint64_t size, uint32_t node, uint32_t avoid,
                              bool direct) {
  Tree& tree = trees_[version];
  if (tree.members.empty()) {
    tree.size = size;
    tree.members[0];
    Change(&tree, 0, [](Member&) {});
  }
  if (const auto it = tree.members.find(avoid); avoid != 0 && it != tree.members.end()) {
    if (it->second.whole) {
      Remove(&tree, avoid);  // it has dropped its copy
    } else {
      Change(&tree, avoid, [](Member& m) { m.suspect = true; });
    }
  }
  const auto [it, fresh] = tree.members.try_emplace(node);
  if (fresh) {
    it->second.order = tree.next_order++;
    ++tree.receiving;
  } else {
    Detach(&tree, node);
    tree.receiving += it->second.whole ? 1 : 0;  // it had it, and wants it again
    Change(&tree, node, [](Member& m) { m.whole = false; });
  }
  uint32_t parent = 0;
  for (auto rank = tree.open.begin(); !direct && rank != tree.open.end(); ++rank) {
    const uint32_t candidate = std::get<3>(*rank);
    if (!Usable(tree, candidate, node)) continue;
    parent = candidate;
    break;
  }
  Attach(&tree, node, parent);
  return parent;
}

void BroadcastTrees::Remove(Tree* tree, uint32_t node) {
  Detach(tree, node);
  const auto it = tree->members.find(node);
  tree->open.erase(RankOf(*tree, node, it->second));
  if (!it->second.whole) --tree->receiving;
  const bool served = it->second.children != 0;
  tree->members.erase(it);
  if (!served) return;
  for (auto& [child, m] : tree->members) {
    if (child != 0 && !m.whole && m.parent == node) m.parent = kNobody;  // it will ask again
  }
}

void BroadcastTrees::Leave(const objstore::Version& version, uint32_t node, bool whole) {
  const auto it = trees_.find(version);
  if (it == trees_.end()) return;
  Tree* tree = &it->second;
  const auto found = tree->members.find(node);
  if (found == tree->members.end() || found->second.whole) return;
  if (whole) {
    Detach(tree, node);
    Change(tree, node, [](Member& m) {
      m.whole = true;
      m.suspect = false;
      m.depth = 0;
    });
    --tree->receiving;
  } else {
    Remove(tree, node);
  }
  if (tree->receiving == 0) trees_.erase(it);
}

void BroadcastTrees::NodeDead(uint32_t node) {
  for (auto it = trees_.begin(); it != trees_.end();) {
    if (it->second.members.count(node) != 0) Remove(&it->second, node);
    it = it->second.receiving == 0 ? trees_.erase(it) : std::next(it);
  }
}

uint32_t BroadcastTrees::ParentOf(const objstore::Version& version, uint32_t node) const {
  const auto it = trees_.find(version);
  if (it == trees_.end()) return node;
  const auto m = it->second.members.find(node);
  return m == it->second.members.end() ? node : m->second.parent;
}

}  // namespace rmpi
