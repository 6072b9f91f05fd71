// SPDX-License-Identifier: Apache-2.0
/// \file
/// Amounts of resources that tasks, actors and bundles ask for.
#pragma once

#include <ray/api/runtime.h>

#include <cmath>
#include <string>
#include <unordered_map>

namespace ray {
inline namespace v5 {
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

}  // namespace internal
}  // namespace v5
}  // namespace ray
