// SPDX-License-Identifier: Apache-2.0
// GlobalScheduler: demand for placement groups, and nodes for their bundles (PROTOCOL A3).
#include <algorithm>
#include <set>

#include "sched/global_scheduler.h"

namespace rmpi::sched {

constexpr char kRemoved[] = "The placement group corresponding to this task has been removed.";

void GlobalScheduler::CountBundles(const std::vector<Bundle>& bundles, bool there) {
  for (const Bundle& b : bundles) {
    const auto n = nodes_.find(b.node);
    if (n == nodes_.end()) continue;
    there ? Add(&n->second.in_bundles, b.total) : Subtract(&n->second.in_bundles, b.total);
  }
}

void GlobalScheduler::SetGroup(uint32_t group, const std::vector<GroupBundle>& bundles) {
  std::vector<Bundle>& known = groups_[group];
  CountBundles(known, false);
  known.resize(bundles.size());
  for (size_t i = 0; i < bundles.size(); ++i) {
    if (known[i].node == bundles[i].node && !known[i].total.empty()) continue;
    known[i] = {bundles[i].resources, bundles[i].resources, bundles[i].node};
  }
  CountBundles(known, true);
  OpenAll([&](const Shape& shape) { return shape.group == group; });
  Schedule();
}

void GlobalScheduler::RemoveGroup(uint32_t group) {
  const auto it = groups_.find(group);
  if (it == groups_.end()) return;
  CountBundles(it->second, false);
  groups_.erase(it);
  OpenAll([&](const Shape& shape) { return shape.group == group; });
  Schedule();
}

const Amounts* GlobalScheduler::BundleAvailable(uint32_t group, uint32_t index) const {
  const auto it = groups_.find(group);
  return it == groups_.end() || index >= it->second.size() ? nullptr : &it->second[index].available;
}

void GlobalScheduler::Deduct(uint32_t node, const Amounts& bundle) {
  const auto n = nodes_.find(node);
  if (n != nodes_.end()) TakeFromReport(&n->second.available, bundle);
}

void GlobalScheduler::TakeForFull(uint32_t node) {
  const auto n = nodes_.find(node);
  if (n == nodes_.end()) return;
  for (auto& [name, amount] : n->second.available) amount = std::min<int64_t>(amount, 0);
}

std::vector<uint32_t> GlobalScheduler::FindNodes(const std::vector<WantedBundle>& bundles,
                                                 GroupStrategy strategy, uint32_t soft_node,
                                                 const std::vector<uint32_t>& there, When when) const {
  std::map<uint32_t, uint32_t> has;
  for (const uint32_t node : there) ++has[node];
  std::list<Amounts> made;  // where what is free is not just what a node reported
  std::vector<PlacementNode> views;
  views.reserve(nodes_.size());
  for (const auto& [id, n] : nodes_) {
    if (n.leaving) continue;
    const auto h = has.find(id);
    PlacementNode view{id, &n.available, &n.total, h == has.end() ? 0 : h->second, &n.labels};
    if (when == When::kEver) view.free = &n.total;
    if (when == When::kFreeable) {
      made.push_back(n.total);
      Subtract(&made.back(), n.kept);
      Subtract(&made.back(), n.in_bundles);
      view.free = &made.back();
    }
    views.push_back(view);
  }
  return PlaceBundles(views, bundles, strategy, soft_node);
}

// ---- demand -----------------------------------------------------------------------------------------------

// One that has room: of the origin's node rather than of another, and rather the first.
GlobalScheduler::Bundle* GlobalScheduler::PickBundle(const Shape& shape, uint32_t origin,
                                                     std::vector<Bundle>* bundles) {
  Bundle* found = nullptr;
  for (Bundle& b : *bundles) {
    if (b.node == 0 || Leaving(b.node) || !ReportFits(b.available, shape.resources)) continue;
    if (b.node == origin) return &b;
    if (found == nullptr) found = &b;
  }
  return found;
}

bool GlobalScheduler::PlaceInGroup(Waiting* w) {
  const Shape& shape = w->demand.shape;
  const auto it = groups_.find(shape.group);
  if (it == groups_.end()) {  // numbers are never used again
    Refuse(w, kRemoved, true);
    return false;
  }
  std::vector<Bundle>& bundles = it->second;
  const auto suits = [&](const Bundle& b) { return ReportFits(b.total, shape.resources); };
  const auto index = static_cast<size_t>(shape.bundle);
  const bool possible = shape.bundle < 0 ? std::any_of(bundles.begin(), bundles.end(), suits)
                                         : index < bundles.size() && suits(bundles[index]);
  if (!possible) {
    Refuse(w,
           shape.bundle < 0 || index >= bundles.size()
               ? "no bundle of its placement group can ever have " + ToString(shape.resources)
               : "bundle " + std::to_string(index) + " of its placement group has " +
                     ToString(bundles[index].total) + ", and it asks for " + ToString(shape.resources),
           false);
    return false;
  }
  std::set<uint32_t> nodes;  // that it can go to; 0: one that has yet to be found
  for (size_t i = 0; i < bundles.size(); ++i) {
    if ((shape.bundle >= 0 && i != index) || !suits(bundles[i])) continue;
    nodes.insert(Leaving(bundles[i].node) ? 0 : bundles[i].node);
  }
  if (nodes.size() == 1) {  // it waits there
    if (*nodes.begin() == 0) return false;
    w->demand.stays = true;
    Assign(w, *nodes.begin(), w->demand.count);
    return true;
  }
  Bundle* b = PickBundle(shape, w->origin, &bundles);
  if (b == nullptr) return false;
  w->demand.stays = false;
  TakeFromReport(&b->available, shape.resources);
  Assign(w, b->node, 1);
  return true;
}

}  // namespace rmpi::sched
