// SPDX-License-Identifier: Apache-2.0
// Slurm's two compact notations, expanded: host lists ("n[001-004,7],gpu-[1-2]") and per-node counts
// ("128(x2),64"). Beyond what Slurm itself accepts, text may follow a bracket ("n[1-2]-ib").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace rmpi {

// A longer expansion is taken for a mistake.
inline constexpr size_t kMaxExpansion = 1'000'000;

// Appends the hosts in the list's order to `*hosts`. Brackets are expanded as `scontrol show hostnames` does:
// the last one varies fastest, and a range keeps the width of its first number.
Status ExpandHostlist(std::string_view list, std::vector<std::string>* hosts);

// Appends one count per node to `*counts`.
Status ExpandCounts(std::string_view counts_text, std::vector<int>* counts);

}  // namespace rmpi
