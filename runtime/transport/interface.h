// SPDX-License-Identifier: Apache-2.0
// Which network interface belongs to the job. Everything of ours that listens is bound to it.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/status.h"

namespace rmpi {

struct NetInterface {
  std::string name;  // "eth0"
  std::string ipv4;  // "10.0.0.7"
};

// RAY_MPI_INTERFACE when set (a name or an IPv4 address of this host; anything else is an error). Else, first
// that works: the interface this host's name resolves to (unless loopback), the one the route to the launch
// node leaves by (SLURM_LAUNCH_NODE_IPADDR), the one of the default route.
Status JobInterface(NetInterface* out);

// True when the launcher's variables say that all ranks of this launch run on this host.
bool LaunchIsOneHost();

}  // namespace rmpi
