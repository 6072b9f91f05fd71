// SPDX-License-Identifier: Apache-2.0
// BroadcastTrees: whom each receiver of an object is to fetch it from (PROTOCOL O5). The node that holds an
// object is asked first by all who want it. It serves few itself; the others it sends to receivers before
// them, who serve the chunks that they have. So one object wanted by many nodes goes through a pipelined
// tree, in which each node's link carries it once in and few times out.
//
// Only the holder decides, so what it has decided is a tree: nobody is ever sent to a receiver that itself
// waits for him, through whomever. A receiver has the parent named last, or none while it asks again. What
// two holders of one object decide does not mix: a receiver that changes from one to the other lets its
// children go before. So no cycle can be.
//
// Owned by the raylet's control thread. No I/O.
#pragma once

#include <cstdint>
#include <set>
#include <tuple>
#include <unordered_map>

#include "objstore/store.h"

namespace rmpi {

class BroadcastTrees {
 public:
  explicit BroadcastTrees(uint64_t chunk_bytes) : chunk_bytes_(chunk_bytes) {}

  // `node` wants it, or cannot fetch it from `avoid` (0: nobody), where it was sent before. The answer is
  // whom to ask; 0: this node itself. `direct`: nobody else, please.
  uint32_t Join(const objstore::Version& version, uint64_t size, uint32_t node, uint32_t avoid, bool direct);
  // It has all of it (and serves it to whom it was named), or gave up.
  void Leave(const objstore::Version& version, uint32_t node, bool whole);
  void NodeDead(uint32_t node);
  size_t size() const { return trees_.size(); }
  // For tests: 0 is this node; itself: unknown.
  uint32_t ParentOf(const objstore::Version& version, uint32_t node) const;

 private:
  struct Member {
    uint32_t parent = 0;  // 0: this node; meaningless once whole
    uint32_t children = 0;
    uint32_t depth = 0;
    uint64_t order = 0;
    bool whole = false;
    bool suspect = false;  // a child got nothing from it
  };
  // How good a parent: those that serve nobody first, while the chain that this makes is short beside the
  // object's number of chunks; else the one nearest to the holder.
  using Rank = std::tuple<uint32_t, uint32_t, uint64_t, uint32_t>;
  struct Tree {
    uint64_t size = 0;
    uint64_t next_order = 1;
    uint32_t receiving = 0;
    std::unordered_map<uint32_t, Member> members;  // node 0 is this one
    std::set<Rank> open;                           // that may serve one more
  };

  Rank RankOf(const Tree& tree, uint32_t node, const Member& m) const;
  uint32_t FanOut(const Tree& tree) const;
  bool Usable(const Tree& tree, uint32_t candidate, uint32_t joining) const;
  void Attach(Tree* tree, uint32_t node, uint32_t parent);
  void Detach(Tree* tree, uint32_t node);
  void Remove(Tree* tree, uint32_t node);
  template <class F>
  void Change(Tree* tree, uint32_t node, F&& change);

  const uint64_t chunk_bytes_;
  std::unordered_map<objstore::Version, Tree, objstore::VersionHash> trees_;
};

}  // namespace rmpi
