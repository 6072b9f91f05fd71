// SPDX-License-Identifier: Apache-2.0
// The head's choice of a node for demand that a raylet could not place itself. Works on its own view of the
// nodes: what they last reported, less what it has assigned since. A node that turns out to be fuller than
// believed rejects, and the demand is placed again. Demand for a placement group goes to the nodes that keep
// its bundles.
//
// No decision looks at all nodes (NodeIndex), nor at all demand: what any node serves alike is one class, and
// its owners take turns, as classes do. Once no node has room for a class, it is looked at again when more of
// it is wanted or a node that suits it reports; so a report costs a look at each class that waits, however
// many owners wait in them. A turn is a batch: what a node takes until others come first, or its part of what
// is wanted in all, if that is more; and never more than an owner's part of what seems to be free.
//
// Invariants: a class is open, exhausted or empty; between calls none is open, and for none that is exhausted
// did any node have room when it was looked at last. What is to be sent is sent when all is placed.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/message/messages.h"
#include "sched/bundle_placement.h"
#include "sched/labels.h"
#include "sched/ledgers.h"
#include "sched/node_index.h"
#include "sched/pool.h"
#include "sched/resources.h"

namespace rmpi::sched {

class GlobalScheduler {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    virtual void SendAssign(uint32_t node, const Demand& demand) = 0;
    virtual void SendHandedOff(uint32_t origin, const HandedOff& m) = 0;
    virtual void SendUnschedulable(const Address& owner, const Unschedulable& m) = 0;
    virtual void Warn(const std::string& text) = 0;  // for the people at the driver, once per reason
  };

  explicit GlobalScheduler(Host* host) : host_(host) {}

  void AddNode(uint32_t node, const Amounts& total, const Labels& labels = {});
  void RemoveNode(uint32_t node);
  // It leaves: nothing is placed there any more. What it reports until it is removed changes nothing.
  void DrainNode(uint32_t node);
  void OnReport(uint32_t node, const Amounts& available, const Amounts& kept = {},
                const std::vector<BundleReport>& bundles = {}, bool earmarked = false);
  void OnDemand(uint32_t origin, const Demand& m);
  void OnReject(uint32_t node, const Demand& m);
  void OnOwnerGone(const Address& owner);
  // Once a second or so (global_starved.cc): of what has waited since the last time, while nothing of its
  // class was placed, one gets a node's earmark.
  void ServeStarved();

  // ---- placement groups (global_groups.cc). Which ones there are, and where, is PlacementGroups' business.
  // The bundles of a group: a new one, or one that has changed. Those without a node are waited for.
  void SetGroup(uint32_t group, const std::vector<GroupBundle>& bundles);
  // Tasks that wait for it, and those that still come, fail.
  void RemoveGroup(uint32_t group);
  // Nodes for these bundles now; with `freeable` as if all tasks on the nodes had ended, with `ever` as if
  // all actors and groups had, too. `there`: nodes that keep bundles of that group already.
  enum class When { kNow, kFreeable, kEver };
  std::vector<uint32_t> FindNodes(const std::vector<WantedBundle>& bundles, GroupStrategy strategy,
                                  uint32_t soft_node, const std::vector<uint32_t>& there, When when) const;
  // What these take is not there for others until the node reports again.
  void Deduct(uint32_t node, const Amounts& bundle);
  // The node had less room than we believed.
  void TakeForFull(uint32_t node);
  const Amounts* BundleAvailable(uint32_t group, uint32_t index) const;

  const Amounts* available(uint32_t node) const;
  size_t pending() const { return by_owner_.size(); }
  // What nodes had no room for after all: its raylets do not count it any more.
  template <class F>
  void ForEachRejected(F&& fn) const {
    for (const auto& [key, filed] : by_owner_) {
      if (key.rejected) fn(filed.at->demand.shape, filed.at->demand.count);
    }
  }
  // What is the same for all demand that any node serves alike. A wish is its demand's own.
  static Shape ClassOf(const Shape& shape);
  // Why no node that is there can ever run it; empty: one can.
  std::string WhyNever(const Shape& shape) const;

 private:
  struct Node {
    Amounts total, available;
    Amounts kept;        // by actors
    Amounts in_bundles;  // of groups
    Labels labels;
    uint32_t queued = 0;  // assigned to it though it was full, since it reported
    bool earmarked = false;
    bool leaving = false;

    bool Feasible(const Shape& shape) const;  // ever, by what it is
  };
  struct Bundle {
    Amounts total, available;
    uint32_t node = 0;
  };

  struct Waiting {
    uint32_t origin = 0;
    Demand demand;
    // By a node it was assigned to: its origin no longer counts it, and may serve it too.
    bool rejected = false;
    uint64_t turn = 0;  // who waits for its turn longest is next
  };
  using Line = std::list<Waiting>;  // by turn
  struct Class {
    std::map<uint32_t, Line> lines;                // by the node that may not be chosen (Hidden), 0: none
    std::set<std::pair<uint64_t, uint32_t>> next;  // the turn of each line's first, and its node
    uint64_t wanted = 0;                           // by all
    size_t owners = 0;
    bool open = false;
    uint64_t turn = 0;
    uint32_t looked_at = 0;  // what nodes there were when it was found to be feasible or not
    // SPREAD: so many go to each of the next so many nodes.
    uint64_t each = 0, round = 0;
    bool fares = true;   // some of it has been placed, or wanted first, since it was looked at for starvation
    uint32_t rests = 0;  // so many looks: an earmark of late was in vain
    uint32_t patience_ms = 0;  // of an earmark, more after each that was too short
  };
  using Classes = std::set<std::pair<uint64_t, Class*>>;  // by turn
  struct OwnerKey {
    Address owner;
    uint32_t shape_key = 0;
    bool rejected = false;
    auto operator<=>(const OwnerKey&) const = default;
  };
  struct Filed {
    Class* of = nullptr;
    uint32_t line = 0;
    Line::iterator at;
  };
  // What has been handed off of an owner's demand for a shape since its epoch began. Kept as long as the
  // owner lives, since the next demand is counted from the same beginning.
  struct Ledger {
    uint32_t epoch = 0;
    uint64_t handed = 0;
    uint64_t wanted = 0;  // as its origin said last

    uint64_t left() const { return wanted - std::min(wanted, handed); }
  };

  // ---- who waits (global_demand.cc)
  static uint32_t Hidden(uint32_t origin, const Shape& shape, bool rejected);
  Filed* Insert(Waiting w);
  void Erase(const OwnerKey& key);
  void SetCount(Filed* f, uint64_t count);
  void Turn(Filed* f);
  void File(Class* c, bool open);
  void GiveBackInfeasible();
  void OpenAll(const std::function<bool(const Shape&)>& which);
  void Prune();
  // ---- where it goes
  void Schedule();
  bool PlaceOneOf(Class* c);
  bool Place(Class* c, Waiting* w);  // false: nothing more can be placed now
  uint32_t Pick(const Waiting& w, const LabelRules& rules);
  uint64_t BatchFor(Class* c, const Waiting& w, const LabelRules& rules, uint32_t node);
  bool WorthWaiting(const Waiting& w, const Node& wish) const;
  bool ServesItself(const Waiting& w) const;
  void WarnIfInfeasible(Class* c, const Shape& shape);
  void Assign(Waiting* w, uint32_t node, uint64_t count);
  void HandOff(const Waiting& w, uint64_t count);
  void Refuse(Waiting* w, const std::string& reason, bool group_removed);
  void Flush();
  bool PlaceInGroup(Waiting* w);
  void Starves(Class* c, bool fares);
  void EarmarkFailed(uint32_t node, const Shape& shape, uint32_t stood_ms);
  void SetEarmarked(Node* n, bool earmarked);
  uint32_t NodeToDrain(const Shape& shape, bool fares);
  Bundle* PickBundle(const Shape& shape, uint32_t origin, std::vector<Bundle>* bundles);
  void CountBundles(const std::vector<Bundle>& bundles, bool there);
  bool Leaving(uint32_t node) const;
  bool Feasible(const Shape& shape) const;
  std::string Infeasible(const Shape& shape) const;

  Host* host_;
  std::map<uint32_t, Node> nodes_;
  std::map<uint32_t, std::vector<Bundle>> groups_;
  std::map<Shape, Class> classes_;      // by ClassOf(shape)
  std::map<OwnerKey, Filed> by_owner_;  // all that waits
  Classes open_, exhausted_;
  uint64_t turns_ = 0;
  LedgersByOwner<Ledger> ledgers_;
  NodeIndex index_;
  uint32_t nodes_version_ = 1;
  std::set<std::string> warned_;
  uint32_t spread_cursor_ = 0;
  uint32_t drain_cursor_ = 0;
  size_t leaving_ = 0;   // nodes that do
  size_t earmarks_ = 0;  // nodes that have one
  bool scheduling_ = false;
  // To be sent.
  std::map<std::pair<uint32_t, OwnerKey>, HandedOff> handed_;  // by origin
  std::vector<std::pair<uint32_t, Demand>> assigned_;
  std::vector<std::pair<Address, Unschedulable>> refused_;
};

}  // namespace rmpi::sched
