// SPDX-License-Identifier: Apache-2.0
// The two private socketpairs (SOCK_SEQPACKET, one datagram per message) inside a node:
//   keeper <-> raylet   KeeperMessage below
//   raylet <-> zygote   ZygoteRequest with two descriptors (the worker's stdout and stderr), ZygoteReply
// Both ends are the same build of this program, so plain structs are enough; a version check happens when
// clients connect.
#pragma once

#include <cstdint>

namespace rmpi {

struct KeeperMessage {
  enum Type : uint32_t {
    // keeper -> raylet
    kChildExit = 1,      // a process of this node (worker, zygote) ended: pid, wait_status
    kDriverExit = 2,     // rank 0: the driver ended: pid, wait_status
    kStop = 3,           // a signal asks the run to end: wait_status = the signal's number
    kWorkerStarted = 4,  // answers kStartWorker: token, pid (< 0: -errno)
    // raylet -> keeper
    // Clients can connect (node id known); rank 0 also: text = what `session.json` should not miss.
    kReady = 16,
    kKill = 17,   // kill pid with signal wait_status (the keeper knows that it is still its child)
    kDone = 18,   // this node's part is over: everything of ours may be ended; wait_status = exit status for
                  // rank 0
    kMet = 21,    // MPI has brought the ranks together: from here on the head sees our death by itself
    kFatal = 19,  // the node cannot go on; text says why; the keeper prints it, ends everything, exits with
                  // wait_status
    // Execute a worker. With descriptors: its stdout, its stderr, a memfd of zero-terminated strings: the
    // folder to
    // run in, then the command line. token: for the answer, and in the worker's environment.
    kStartWorker = 20,
  };
  uint32_t type = 0;
  int32_t pid = 0;
  int32_t wait_status = 0;
  uint32_t reserved = 0;
  uint64_t token = 0;
  char text[472] = {};
};
static_assert(sizeof(KeeperMessage) == 496);

struct ZygoteRequest {
  uint64_t token = 0;  // handed to CoreWorker::Options::spawn_token by the worker
  uint32_t job = 0;
  uint32_t reserved = 0;
};
struct ZygoteReply {
  uint64_t token = 0;
  int32_t pid = 0;  // < 0: -errno of the fork
  int32_t reserved = 0;
};

}  // namespace rmpi
