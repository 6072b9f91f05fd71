// SPDX-License-Identifier: Apache-2.0
// The features of a job's nodes, which no variable tells: from what `scontrol -o show node` prints. The head
// asks once for all nodes, so that a large job does not ask as often as it has ranks.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace rmpi {

// By node; those that are active now.
std::map<std::string, std::vector<std::string>> ParseNodeFeatures(const std::string& text);

}  // namespace rmpi
