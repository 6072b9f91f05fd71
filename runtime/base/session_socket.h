// SPDX-License-Identifier: Apache-2.0
// The socket on which a node's raylet takes its clients: found by the node's run directory.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi {

// Connects to the raylet whose run directory that is.
Status ConnectToSession(const std::string& session, UniqueFd* out);

// Says one thing to it and waits for one answer, at most 10 s: for a raylet that is busy, not for a network.
// *size: of the answer in `answer`; 0 if none came.
Status AskSession(const std::string& session, std::span<const std::byte> question,
                  std::span<std::byte> answer, size_t* size);

}  // namespace rmpi
