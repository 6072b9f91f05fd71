// SPDX-License-Identifier: Apache-2.0
// The output of a short command, within a time limit.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace rmpi {

// What `command` wrote (both streams together); nothing if it cannot be started or takes longer than
// `timeout_ms`, in which case it is killed.
std::optional<std::string> OutputOf(const std::vector<std::string>& command, int timeout_ms);

}  // namespace rmpi
