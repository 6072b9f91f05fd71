// SPDX-License-Identifier: Apache-2.0
// The nodes of any session of this user, for a process that is not its driver.
#pragma once

#include <string>
#include <vector>

#include "runtime/worker/core_worker.h"

namespace rmpi {

Status NodesOf(const std::string& session, std::vector<NodeInfo>* out);

}  // namespace rmpi
