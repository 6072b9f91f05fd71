// SPDX-License-Identifier: Apache-2.0
// The bundles of placement groups that a node keeps: each a pool of its own, taken out of the node's.
//
// Invariants: a bundle's amounts and devices leave the node's pool when it is reserved, and come back whole:
// when it is released and nothing uses it any more. Uses of a bundle never exceed it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "runtime/message/messages.h"
#include "sched/pool.h"
#include "sched/resources.h"

namespace rmpi::sched {

// {group, index}; group 0: no bundle, the node itself.
using BundleKey = std::pair<uint32_t, uint32_t>;

class Bundles {
 public:
  explicit Bundles(Pool* node) : node_(node) {}

  // All of these must fit into the node's pool.
  void Take(const Reserve& m);
  // Whether it has been taken and not been released.
  bool Has(const BundleKey& key) const;
  Pool& pool(const BundleKey& key) { return bundles_.at(key).pool; }
  // A bundle that has room for this: `index`, or with -1 any of the group.
  const BundleKey* Fitting(uint32_t group, int32_t index, const Amounts& want) const;
  // All that such a request may use.
  std::vector<Pool> PoolsOf(uint32_t group, int32_t index) const;

  // A lease, or a device that waits for its process's end, begins and ends to use it.
  void Use(const BundleKey& key) { ++bundles_.at(key).uses; }
  void Unuse(const BundleKey& key);
  void Changed(const BundleKey& key) { changed_.insert(key); }
  void AllChanged() {
    for (const auto& [key, b] : bundles_) changed_.insert(key);
  }
  // Nothing is granted from it any more.
  void Release(const BundleKey& key);
  std::vector<BundleKey> Of(uint32_t group) const;

  bool report_due() const { return !changed_.empty(); }
  // Those that have changed since the last report, less what `waits`: requests that are assigned and have no
  // process yet.
  std::vector<BundleReport> TakeReport(const std::vector<std::pair<const Shape*, uint64_t>>& waits);
  size_t count() const { return bundles_.size(); }

  // Each, for checks.
  template <class F>
  void ForEach(F&& fn) const {
    for (const auto& [key, b] : bundles_) fn(key, b.total, b.pool);
  }

 private:
  struct Bundle {
    Amounts total;
    Devices devices;
    Pool pool;
    uint32_t uses = 0;
    bool released = false;
  };

  void GiveBack(const BundleKey& key);
  // The group's bundles, those that are released included, until `fn` is true of one: that one, or the end.
  template <class F>
  std::map<BundleKey, Bundle>::const_iterator Find(uint32_t group, F&& fn) const {
    auto it = bundles_.lower_bound({group, 0});
    for (; it != bundles_.end() && it->first.first == group; ++it) {
      if (fn(it->first, it->second)) return it;
    }
    return bundles_.end();
  }

  Pool* node_;
  std::map<BundleKey, Bundle> bundles_;
  std::set<BundleKey> changed_;
};

}  // namespace rmpi::sched
