// SPDX-License-Identifier: Apache-2.0
/// \file
/// CallOptions: the setters that tasks, actors and calls of actors have in common.
#pragma once

#include <ray/api/placement_group.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ray {
inline namespace v5 {
namespace internal {
/// A name and resources; Self is the class that derives from it. Each setter returns the call, so that they
/// can be chained.
template <typename Self>
class CallOptions {
 public:
  /// The name in lists and messages; the default is the function's.
  Self& SetName(std::string name) {
    name_ = std::move(name);
    return Changed();
  }

  /// What it occupies, in place of all set before: "CPU", "GPU", "memory" (bytes), or names of the site's
  /// own.
  Self& SetResources(std::unordered_map<std::string, double> resources) {
    resources_ = std::move(resources);
    return Changed();
  }
  /// One of them. Amounts up to 1 may be fractions (of 1/10000), larger ones are whole numbers.
  Self& SetResource(std::string name, double value) {
    resources_[std::move(name)] = value;
    return Changed();
  }

  /// In that bundle of a placement group; -1: in any. Of an actor's method it changes nothing: that runs
  /// where the actor is. With `capture_child_tasks` (ours), tasks and actors that it submits, and that name
  /// no group, go into that group, too, and so do theirs. \throws RayException for a bundle that the group
  /// does not have.
  Self& SetPlacementGroup(const PlacementGroup& group, int bundle_index = -1,
                          bool capture_child_tasks = false) {
    const int bundles = static_cast<int>(group.GetBundles().size());
    if (bundle_index < -1 || (bundle_index >= bundles && !group.Empty())) {
      throw RayException("placement group bundle index " + std::to_string(bundle_index) +
                         " is invalid: the group has " + std::to_string(bundles) + " bundles");
    }
    group_ = group.GetID();
    bundle_ = bundle_index;
    capture_ = capture_child_tasks;
    return Changed();
  }

 protected:
  /// \cond internal
  abi::InGroup Placement() const { return {group_, bundle_, capture_ ? 1U : 0U}; }
  Self& Changed() {
    has_options_ = true;
    return static_cast<Self&>(*this);
  }
  /// Checked, as the library takes them. Valid as long as nothing changes.
  std::vector<abi::Resource> Resources() const {
    CheckResources(resources_);
    std::vector<abi::Resource> resources;
    resources.reserve(resources_.size());
    for (const auto& [name, amount] : resources_) resources.push_back({name, amount});
    return resources;
  }
  static void CheckCount(const char* setter, int count) {
    if (count < -1) {
      throw RayException(std::string(setter) + ": " + std::to_string(count) +
                         " is neither -1 (always) nor a count");
    }
  }

  bool has_options_ = false;
  std::string name_, group_;
  int bundle_ = -1;
  bool capture_ = false;
  std::unordered_map<std::string, double> resources_;
  /// \endcond
};

}  // namespace internal
}  // namespace v5
}  // namespace ray
