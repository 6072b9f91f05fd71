// SPDX-License-Identifier: Apache-2.0
// The socket on which a node's raylet takes its clients: found by the node's run directory.
#pragma once

#include <string>

#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi {

// Connects to the raylet whose run directory that is.
Status ConnectToSession(const std::string& session, UniqueFd* out);

}  // namespace rmpi
