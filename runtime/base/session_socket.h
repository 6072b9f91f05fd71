// SPDX-License-Identifier: Apache-2.0
// The socket on which a node's raylet takes its clients: found by the node's run directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/base/time.h"
#include "runtime/base/unique_fd.h"

namespace rmpi {

// Connects to the raylet whose run directory that is.
Status ConnectToSession(const std::string& session, UniqueFd* out);

// Says one thing to it and waits for one answer, at most 10 s: for a raylet that is busy, not for a network.
// *size: of the answer in `answer`; 0 if none came.
Status AskSession(const std::string& session, std::span<const std::byte> question,
                  std::span<std::byte> answer, size_t* size);

// An answer that is too long for a datagram comes as this, with a file in memory.
struct LongAnswer {
  uint64_t magic = 0;
  uint64_t bytes = 0;
};
constexpr uint64_t kLongAnswer = 0x726577736e61'4d50;

// The same for a question with such an answer. `patience`: within which it comes. A refusal comes back as
// *refusal, the bytes of what was sent instead.
Status AskSessionAtLength(const std::string& session, std::span<const std::byte> question, TimeNs patience,
                          std::vector<std::byte>* answer, std::vector<std::byte>* refusal);

}  // namespace rmpi
