// SPDX-License-Identifier: Apache-2.0
// The head's nodes in buckets, so that a choice looks at a few nodes and not at all of them. There is a view
// for each kind of request (amounts and labels): of the nodes that have room for it, those of a bucket are a
// set of bits. Buckets go from what is to be filled first to what comes last: less than half used, then by
// use; nodes with GPUs after all others for work that needs none.
//
// Nodes stand in the order of their switches, so that neighbours in a set are near each other.
//
// Invariants: a node that has room for a request is in its view. One that has no longer, or is in another
// bucket by now, is found out when it is looked at: what makes a node fuller changes no view, and costs
// nothing.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sched/labels.h"
#include "sched/resources.h"

namespace rmpi::sched {

inline constexpr char kSwitchLabel[] = "ray-mpi/switch";

class NodeIndex {
 public:
  // The amounts belong to the caller and stay where they are until Remove.
  void Add(uint32_t node, const Amounts* total, const Amounts* available, const Labels* labels);
  void Remove(uint32_t node);
  // It may have more room than before. Whether some request that was made lately finds room there.
  bool HasMore(uint32_t node);

  // The node to be filled next, the nearest to `near` of those that are alike; 0: none has room. `except`:
  // not this one.
  uint32_t Pack(const Amounts& want, const LabelRules& rules, uint32_t near, uint32_t except);
  // Round and round: the next one that has room behind `after`, in the order of the nodes' places.
  uint32_t Next(const Amounts& want, const LabelRules& rules, uint32_t after);

  // How many nodes have room for it. Those that got fuller lately may be counted, too.
  size_t CountWithRoom(const Amounts& want, const LabelRules& rules) { return ViewOf(want, rules).with_room; }

  size_t size() const { return nodes_.size(); }
  bool has_plain_nodes() const { return plain_ != 0; }  // without GPUs

 private:
  static constexpr uint32_t kUses = 17;            // below a half, and sixteenths of the other half
  static constexpr uint32_t kBuckets = 2 * kUses;  // those with GPUs come second
  static constexpr uint32_t kNone = kBuckets;
  static constexpr size_t kMostViews = 256;

  struct Node {
    uint32_t id = 0;
    std::string place;  // the switches above it
    const Amounts* total = nullptr;
    const Amounts* available = nullptr;
    const Labels* labels = nullptr;
  };
  class Bits {
   public:
    void Resize(size_t n) { words_.assign((n + 63) / 64, 0); }
    void Set(size_t i) { words_[i / 64] |= uint64_t{1} << (i % 64); }
    void Clear(size_t i) { words_[i / 64] &= ~(uint64_t{1} << (i % 64)); }
    // The first one from there on, the last one before: SIZE_MAX if there is none.
    size_t From(size_t i) const;
    size_t Before(size_t i) const;

   private:
    std::vector<uint64_t> words_;
  };
  struct View {
    Amounts want;
    LabelRules rules;
    bool wants_gpus = false;
    std::array<Bits, kBuckets> buckets;
    std::array<uint32_t, kBuckets> counts{};
    std::vector<uint8_t> bucket_of;  // by position
    size_t with_room = 0;            // in all buckets
    uint64_t used = 0;               // when
  };

  View& ViewOf(const Amounts& want, const LabelRules& rules);
  void Order();  // after nodes have come or gone
  uint32_t BucketOf(const View& view, const Node& node) const;
  // Puts the node where it belongs now. True: it had been there.
  bool Settle(View* view, size_t position);
  size_t Nearest(const Bits& bits, size_t to, size_t except) const;
  size_t PositionOf(uint32_t node) const;

  std::vector<Node> nodes_;  // by place; those of late at the end, if not `ordered_`
  std::unordered_map<uint32_t, uint32_t> positions_;
  std::map<std::pair<Amounts, LabelRules>, std::unique_ptr<View>> views_;
  uint64_t uses_ = 0;
  uint32_t plain_ = 0;
  bool ordered_ = true;
};

}  // namespace rmpi::sched
