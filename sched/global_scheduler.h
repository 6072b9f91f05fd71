// SPDX-License-Identifier: Apache-2.0
// The head's choice of a node for demand that a raylet could not place itself. Works on its own view of the
// nodes: what they last reported, less what it has assigned since. A node that turns out to be fuller than
// believed rejects, and the demand is placed again. Demand for a placement group goes to the nodes that keep
// its bundles.
//
// It never looks at all demand, and at all nodes only when it must. Demand that any node serves alike is one
// class, its oldest goes first; once no node had room for a class, only what becomes free is offered to it,
// node by node. So a report costs a look at each class that waits, however many owners wait in them.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <set>
#include <string>
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
  void OnReport(uint32_t node, const Amounts& available, const Amounts& kept = {},
                const std::vector<BundleReport>& bundles = {});
  void OnDemand(uint32_t origin, const Demand& m);
  void OnReject(uint32_t node, const Demand& m);
  void OnOwnerGone(const Address& owner);

  // ---- placement groups (global_groups.cc). Which ones there are, and where, is PlacementGroups' business.
  // The bundles of a group: a new one, or one that has changed. Those without a node are waited for.
  void SetGroup(uint32_t group, const std::vector<GroupBundle>& bundles);
  // Tasks that wait for it, and those that still come, fail.
  void RemoveGroup(uint32_t group);
  // Nodes for these bundles now; with `freeable` as if all tasks on the nodes had ended, with `ever` as if
  // all actors and groups had, too. `there`: nodes that keep bundles of that group already.
  enum class When { kNow, kFreeable, kEver };
  std::vector<uint32_t> FindNodes(const std::vector<Amounts>& bundles, GroupStrategy strategy,
                                  uint32_t soft_node, const std::vector<uint32_t>& there, When when) const;
  // What these take is not there for others until the node reports again.
  void Deduct(uint32_t node, const Amounts& bundle);
  // The node had less room than we believed.
  void TakeForFull(uint32_t node);
  const Amounts* BundleAvailable(uint32_t group, uint32_t index) const;

  const Amounts* available(uint32_t node) const;
  size_t pending() const { return by_owner_.size(); }

 private:
  struct Node {
    Amounts total, available;
    Amounts kept;        // by actors
    Amounts in_bundles;  // of groups
    double use = 0;      // of the most used resource
  };
  struct Bundle {
    Amounts total, available;
    uint32_t node = 0;
  };
  struct Waiting {
    uint32_t origin = 0;
    Demand demand;
    uint64_t order = 0;  // of its coming
    // By a node it was assigned to: its origin no longer counts it, and may serve it too.
    bool rejected = false;
  };
  struct Class {
    std::list<Waiting> waiting;  // oldest first
    bool exhausted = false;      // no node had room
    bool but_origin = false;     // but for where those that were looked at came from
    bool warned = false;
    uint64_t filed = 0;  // under which order it stands in open_ or exhausted_
  };
  using Classes = std::set<std::pair<uint64_t, Class*>>;  // by the order of their oldest
  struct OwnerKey {
    Address owner;
    uint32_t shape_key = 0;
    bool rejected = false;
    auto operator<=>(const OwnerKey&) const = default;
  };
  struct Filed {
    Class* of = nullptr;
    std::list<Waiting>::iterator at;
  };
  // What has been handed off of an owner's demand for a shape since its epoch began. Kept as long as the
  // owner lives, since the next demand is counted from the same beginning.
  struct Ledger {
    uint32_t epoch = 0;
    uint64_t handed = 0;
  };

  void Insert(Waiting w);
  void Erase(const OwnerKey& key);
  void File(Class* c, bool exhausted);
  void Reopen(const std::function<bool(uint32_t group)>& which);
  void Prune();
  void Schedule();
  void Offer(uint32_t node);
  bool PlaceOneOf(Class* c);
  bool Place(Class* c, Waiting* w);  // false: nothing more can be placed now
  bool EachByUse(const std::function<bool(uint32_t, const Node&)>& take) const;
  uint64_t BatchFor(const Waiting& w, const Node& n) const;
  void SetAvailable(uint32_t id, Node* n, Amounts available);
  uint32_t PickDefault(const Waiting& w);
  uint32_t PickSpread(const Waiting& w);
  void Assign(Waiting* w, uint32_t node, uint64_t count);
  void HandOff(const Waiting& w, uint64_t count);
  void Refuse(Waiting* w, const std::string& reason, bool group_removed);
  bool PlaceInGroup(Waiting* w);
  Bundle* PickBundle(const Shape& shape, uint32_t origin, std::vector<Bundle>* bundles);
  void CountBundles(const std::vector<Bundle>& bundles, bool there);
  bool Feasible(const Shape& shape) const;
  std::string Infeasible(const Shape& shape) const;

  Host* host_;
  std::map<uint32_t, Node> nodes_;
  std::map<uint32_t, std::vector<Bundle>> groups_;
  std::set<std::pair<double, uint32_t>> by_use_;  // all nodes, the emptiest first
  size_t with_room_ = 0;                          // nodes of which no resource is all used
  std::map<Shape, Class> classes_;                // by ClassOf(shape)
  std::map<OwnerKey, Filed> by_owner_;            // all that waits
  Classes open_, exhausted_;
  uint64_t next_order_ = 0;
  uint32_t only_ = 0;  // the one node that is being offered; 0: all are looked at
  // By the last look: there was room only where the demand came from, which needs no help of ours.
  bool only_origin_ = false;
  LedgersByOwner<Ledger> ledgers_;
  NodeIndex index_;
  uint32_t nodes_version_ = 1;
  std::set<std::string> warned_;
  uint32_t spread_cursor_ = 0;
  bool waits_for_a_node_ = false;  // some demand, for a certain one
  bool scheduling_ = false;
};

}  // namespace rmpi::sched
