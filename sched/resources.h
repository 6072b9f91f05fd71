// SPDX-License-Identifier: Apache-2.0
// Amounts of named resources, fixed point 1/10000 (Ray's precision), sorted by name.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rmpi::sched {

constexpr int64_t kResourceUnit = 10000;

using Amounts = std::vector<std::pair<std::string, int64_t>>;

int64_t AmountOf(const Amounts& a, const std::string& name);
// Whether `want` fits into `have`. What `have` does not name counts as 0.
bool Fits(const Amounts& have, const Amounts& want);
void Subtract(Amounts* from, const Amounts& what);  // may go negative: a debt
void Add(Amounts* to, const Amounts& what);
// The share of the most used resource of `want`, 0 to 1.
double CriticalUse(const Amounts& total, const Amounts& available);
// How busy a node is, as Ray counts: the larger of its used shares of CPUs and memory, 0 to 1. Labels that
// are resources, licences and such do not make it busy.
double BusyShare(const Amounts& total, const Amounts& available);
// Whether half of its CPUs or memory is used: from there on others come first (Ray's hybrid policy).
bool Crowded(const Amounts& total, const Amounts& available);
// How many of it make a node crowded that is not.
uint64_t CountUntilCrowded(const Amounts& total, const Amounts& available, const Amounts& want);
bool HasGpus(const Amounts& amounts);
std::string ToString(const Amounts& a);  // {CPU: 2, GPU: 0.5}

}  // namespace rmpi::sched
