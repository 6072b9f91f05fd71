// SPDX-License-Identifier: Apache-2.0
// Labels of nodes, and what tasks ask of them. A shape lists alternatives, the preferred one first: of each,
// all rules must hold. No alternative at all: any node.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/message/lease_messages.h"

namespace rmpi::sched {

inline constexpr char kNodeIdLabel[] = "ray.io/node-id";
inline constexpr char kHostLabel[] = "ray-mpi/host";

using Labels = std::vector<std::pair<std::string, std::string>>;  // sorted by key

// The label's value; null: the node has no such label.
const std::string* LabelOf(const Labels& labels, const std::string& key);
void SetLabel(Labels* labels, const std::string& key, const std::string& value);

// A label that is missing is in no list of values, so kNotIn holds for it.
bool Holds(const Labels& labels, const LabelRule& rule);
bool Matches(const Labels& labels, const LabelRules& rules);
// Whether one of the alternatives does.
bool MatchesAny(const Labels& labels, const std::vector<LabelRules>& alternatives);

// Kubernetes' syntax, which is Ray's: an optional DNS prefix and '/', a name; values as names, or empty.
Status CheckLabel(const std::string& key, const std::string& value);

// {zone: in(a, b), disk: exists()}, and alternatives with " or else " between them.
std::string ToString(const LabelRules& rules);
std::string ToString(const std::vector<LabelRules>& alternatives);

}  // namespace rmpi::sched
