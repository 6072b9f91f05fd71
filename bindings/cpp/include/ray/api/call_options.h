// SPDX-License-Identifier: Apache-2.0
/// \file
/// CallOptions: the setters that tasks, actors and calls of actors have in common.
#pragma once

#include <ray/api/runtime.h>

#include <cmath>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ray {
inline namespace v2 {
namespace internal {
/// \cond internal

/// Rules on amounts, as Ray has them.
inline void CheckResources(const std::unordered_map<std::string, double>& resources) {
  for (const auto& [name, amount] : resources) {
    double whole = 0;
    if (name.empty() || !(amount > 0)) {
      throw RayException("Resource values should be positive, and have a name. Specified resource: " + name +
                         " = " + std::to_string(amount) + ".");
    }
    if (amount > 1 && std::modf(amount, &whole) != 0.0) {
      throw RayException(
          "A resource value should be an integer if it is greater than 1.0. Specified resource: " + name +
          " = " + std::to_string(amount) + ".");
    }
  }
}

/// \endcond

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

 protected:
  /// \cond internal
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
  std::string name_;
  std::unordered_map<std::string, double> resources_;
  /// \endcond
};

}  // namespace internal
}  // namespace v2
}  // namespace ray
