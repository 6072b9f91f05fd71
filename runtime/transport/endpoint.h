// SPDX-License-Identifier: Apache-2.0
// Endpoint: where a direct transport listens, and how to reach another's. Its text form is opaque to
// everybody else: "<boot id>/<network namespace>|<abstract Unix name>|<ipv4>:<port>", the last part empty
// without TCP. An abstract Unix name lives in a network namespace, so that both must agree before it is used.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>

#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"

namespace rmpi {

struct Endpoint {
  std::string host;       // identity of kernel and network namespace
  std::string unix_name;  // without the leading zero byte
  std::string ipv4;
  uint16_t port = 0;

  std::string ToString() const;
  static bool Parse(const std::string& text, Endpoint* out);
};

// This process's host identity.
std::string HostIdentity();

Status ListenUnix(std::string* name, UniqueFd* out);  // draws the name
Status ListenTcp(const std::string& ipv4, uint16_t* port, UniqueFd* out);

// Starts a connection, by Unix socket when `to` is on this host. *again: the listener's queue is full, try
// later.
Status StartConnect(const Endpoint& to, const std::string& own_host, UniqueFd* out, bool* again);

// Right after accept or a Unix connect: the options we want; false if the other end is another user's
// process.
bool PrepareConnection(int fd);

}  // namespace rmpi
