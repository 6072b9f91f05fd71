// SPDX-License-Identifier: Apache-2.0
// A node is drained from outside (`ray-mpi drain`): a raylet asks the head for one of its clients.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/message/node_messages.h"

namespace rmpi {

struct DrainRequest {  // raylet -> GCS
  uint64_t nonce = 0;
  std::string node;        // a rank, a host name, or the beginning of a node's id
  uint32_t number = 0;     // of the node, as answered before; then nothing is started
  int64_t timeout_ns = 0;  // for the work that runs there
  std::string by;          // for people
  uint64_t seen = 0;       // the version of the last answer: the next one comes when there is news

  template <class C>
  void Fields(C& c) {
    c(nonce, node, number, timeout_ns, by, seen);
  }
};

struct DrainReply {  // GCS -> the raylet that asked -> its client
  uint64_t nonce = 0;
  std::string refused;   // why it cannot be; then nothing else counts
  uint64_t version = 0;  // grows with each change of what follows
  uint32_t number = 0;   // of the node
  std::string node;      // for people: "node 3 (rank 2 on n2)"
  bool stays = false;    // a rank of the launch: its raylet goes on until the run ends
  Drained report;
  std::string death;  // it is dead, and had not been drained: why

  template <class C>
  void Fields(C& c) {
    c(nonce, refused, version, number, node, stays, report, death);
  }
};

}  // namespace rmpi
