// SPDX-License-Identifier: Apache-2.0
// Descriptors sent along with a datagram over a Unix SOCK_SEQPACKET socket.
#pragma once

#include <sys/types.h>

#include <span>

#include "runtime/base/unique_fd.h"

namespace rmpi {

constexpr size_t kMaxPassedFds = 8;

// Sends `size` bytes and the descriptors (at most kMaxPassedFds), which stay open here. Flags as for sendmsg;
// MSG_NOSIGNAL is added. Returns what sendmsg does.
ssize_t SendFds(int socket, const void* data, size_t size, std::span<const int> fds, int flags);

// Receives at most `size` bytes; descriptors beyond fds.size() are closed, missing ones leave theirs invalid.
// Flags as for recvmsg; MSG_CMSG_CLOEXEC is added. Returns what recvmsg does.
ssize_t ReceiveFds(int socket, void* data, size_t size, std::span<UniqueFd> fds, int flags);

}  // namespace rmpi
