// SPDX-License-Identifier: Apache-2.0
// A command asks a run of this user that is up on this node.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "launcher/options.h"
#include "runtime/base/time.h"
#include "runtime/raylet/handshake.h"

namespace rmpi::launcher {

// The run directory that is meant: `wanted`, else that of the run around us, else one on this node: of our
// Slurm job if it has any, rather a head's, the newest.
Status FindSession(const std::string& wanted, const Environment& environment, std::string* session);

// `body` goes with the question. *answer comes within `patience`, or an error does.
Status AskRun(const std::string& session, Question question, std::span<const std::byte> body, TimeNs patience,
              std::vector<std::byte>* answer);

}  // namespace rmpi::launcher
