// SPDX-License-Identifier: Apache-2.0
// The direct transport: frames over sockets of our own. A Unix socket between processes of one host, TCP
// between hosts. For nodes that join later, for several nodes on one host, and where MPI cannot survive a
// death.
#pragma once

#include <memory>
#include <string>

#include "runtime/base/status.h"
#include "runtime/transport/transport.h"

namespace rmpi {

struct DirectOptions {
  int rank = 0;  // kUnnumbered: whoever is connected to first gives this end its number
  int size = 1;  // ranks known at the start; AddPeer may name further ones
  RunSecret secret{};
  std::string bind_ipv4;  // the job's interface; empty: reachable from this host only, no TCP port is opened
  // Ends without a number get one, from this on; a number is never given twice. Negative: they are refused.
  int first_new_peer = -1;
  bool listen = true;  // false: it only connects to others
};

constexpr int kUnnumbered = -1;

class DirectTransport : public Transport {
 public:
  // Where this end listens: to be handed to the others by whatever channel there is.
  virtual std::string LocalAddress() const = 0;
  // Connections are made when the first frame is sent. A peer may also connect before it was added here.
  virtual Status AddPeer(int peer, const std::string& address) = 0;
  // Connections refused so far: garbage, a wrong secret, another user, silence.
  virtual uint64_t refused() const = 0;
};

Status MakeDirectTransport(const DirectOptions& options, std::unique_ptr<DirectTransport>* out);

}  // namespace rmpi
