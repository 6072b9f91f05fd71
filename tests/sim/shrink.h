// SPDX-License-Identifier: Apache-2.0
// Shrink: the smallest run found that fails as a seed's does: fewer features, nodes and tasks, also from
// other seeds, since a smaller run draws other numbers. A few hundred runs, of milliseconds each.
#pragma once

#include <cstdint>
#include <string>

namespace rmpi::sim {

// The smaller run's failure with its trace, and the command that repeats it.
std::string Shrink(uint64_t seed);

}  // namespace rmpi::sim
