// SPDX-License-Identifier: Apache-2.0
/// \file
/// Placement groups: bundles of resources that are there all at once or not at all.
/// ray::CreatePlacementGroup, PlacementGroup::Wait, SetPlacementGroup of tasks and actors.
#pragma once

#include <ray/api/resources.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ray {
inline namespace v5 {

/// On which nodes bundles lie.
enum class PlacementStrategy {
  PACK = 0,           ///< on few nodes
  SPREAD = 1,         ///< on many
  STRICT_PACK = 2,    ///< on one
  STRICT_SPREAD = 3,  ///< each on a node of its own
};

/// How far a group is.
enum class PlacementGroupState {
  PENDING = 0,        ///< waits for room
  CREATED = 1,        ///< its bundles are there
  REMOVED = 2,        ///< by RemovePlacementGroup, or with its job
  RESCHEDULING = 3,   ///< a node died; its bundles wait for room
  UNRECOGNIZED = -1,  ///< of no group
};

/// What ray::CreatePlacementGroup makes.
struct PlacementGroupCreationOptions {
  std::string name;                                              ///< in the job's namespace; "": none
  std::vector<std::unordered_map<std::string, double>> bundles;  ///< what each has
  PlacementStrategy strategy = PlacementStrategy::PACK;          ///< of the bundles
};

/// A group as it was when this was asked for.
class PlacementGroup {
 public:
  PlacementGroup() = default;  ///< no group

  const std::string& GetID() const { return id_; }      ///< 36 hexadecimal digits
  const std::string& GetName() const { return name_; }  ///< "": none
  /// What each bundle has.
  const std::vector<std::unordered_map<std::string, double>>& GetBundles() const { return bundles_; }
  PlacementGroupState GetState() const { return state_; }      ///< then
  PlacementStrategy GetStrategy() const { return strategy_; }  ///< of the bundles
  bool Empty() const { return id_.empty(); }                   ///< no group

  /// Waits until all bundles are there, or so many seconds; whether they are. \throws RayException for a
  /// group that was removed.
  bool Wait(int timeout_seconds) const {
    internal::abi::Handle ready = nullptr;
    internal::Check(internal::GetApi().group_ready(id_, &ready));
    unsigned char mark = 0;
    const internal::abi::Code code =
        internal::GetApi().wait(&ready, 1, 1, int64_t{1000} * timeout_seconds, &mark);
    internal::abi::ValueOut value;
    const internal::abi::Code got = code == internal::abi::kOk && mark != 0
                                        ? internal::GetApi().get(&ready, 1, 0, &value)
                                        : internal::abi::kOk;
    internal::GetApi().ref_drop(ready);
    internal::Check(code);
    internal::Check(got);
    if (mark != 0) internal::GetApi().owner_drop(&value.owner);
    return mark != 0;
  }

  /// \cond internal
  explicit PlacementGroup(const internal::abi::Group& g)
      : id_(g.id.str()),
        name_(g.name.str()),
        strategy_(static_cast<PlacementStrategy>(g.strategy)),
        state_(static_cast<PlacementGroupState>(g.state)) {
    for (uint64_t i = 0; i < g.bundle_count; ++i) {
      auto& bundle = bundles_.emplace_back();
      for (uint64_t k = 0; k < g.bundles[i].count; ++k)
        bundle[g.bundles[i].resources[k].name.str()] = g.bundles[i].resources[k].amount;
    }
  }
  /// \endcond

 private:
  std::string id_, name_;
  std::vector<std::unordered_map<std::string, double>> bundles_;
  PlacementStrategy strategy_ = PlacementStrategy::PACK;
  PlacementGroupState state_ = PlacementGroupState::UNRECOGNIZED;
};

/// \cond internal
namespace internal {

/// By id, by name, or, with both empty, all.
inline std::vector<PlacementGroup> FindPlacementGroups(const std::string& id, const std::string& name) {
  const abi::Group* groups = nullptr;
  uint64_t count = 0;
  Check(GetApi().find_groups(id, name, &groups, &count));
  return std::vector<PlacementGroup>(groups, groups + count);
}

}  // namespace internal
/// \endcond

/// Asks for a group and returns at once, see PlacementGroup::Wait. It ends with this job. \throws
/// RayException for bundles that cannot be, or a name that is taken.
inline PlacementGroup CreatePlacementGroup(const PlacementGroupCreationOptions& options) {
  namespace abi = internal::abi;
  std::vector<std::vector<abi::Resource>> resources;
  std::vector<abi::Bundle> bundles;
  if (options.bundles.empty()) throw RayException("A placement group has at least one bundle.");
  for (const auto& bundle : options.bundles) {
    if (bundle.empty()) throw RayException("A bundle of a placement group has at least one resource.");
    internal::CheckResources(bundle);
    auto& list = resources.emplace_back();
    for (const auto& [name, amount] : bundle) list.push_back({name, amount});
  }
  for (const auto& list : resources) bundles.push_back({list.data(), list.size()});
  abi::Group group;
  group.name = options.name;
  group.bundles = bundles.data();
  group.bundle_count = bundles.size();
  group.strategy = static_cast<int32_t>(options.strategy);
  abi::Group made;
  internal::Check(internal::GetApi().create_group(&group, &made));
  return PlacementGroup(made);
}

/// Ends a group: what runs in it is killed, what waits for it fails.
inline void RemovePlacementGroup(const std::string& placement_group_id) {
  internal::Check(internal::GetApi().remove_group(placement_group_id));
}

/// All groups, those that were removed of late included.
inline std::vector<PlacementGroup> GetAllPlacementGroups() { return internal::FindPlacementGroups("", ""); }

/// One of them; Empty() when there is none.
inline PlacementGroup GetPlacementGroupById(const std::string& id) {
  const auto found = id.empty() ? std::vector<PlacementGroup>() : internal::FindPlacementGroups(id, "");
  return found.empty() ? PlacementGroup() : found[0];
}

/// The group of that name in the job's namespace; Empty() when there is none.
inline PlacementGroup GetPlacementGroup(const std::string& name) {
  const auto found = name.empty() ? std::vector<PlacementGroup>() : internal::FindPlacementGroups("", name);
  return found.empty() ? PlacementGroup() : found[0];
}

}  // namespace v5
}  // namespace ray
