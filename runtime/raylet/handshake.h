// SPDX-License-Identifier: Apache-2.0
// What a client and its raylet say to each other on the session's socket (SOCK_SEQPACKET, one datagram each)
// before all else goes through the lanes. The socket stays open: its end is the end of the client, or of the
// raylet.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "runtime/ids/ids.h"
#include "runtime/message/messages.h"
#include "runtime/transport/transport.h"

namespace rmpi {

constexpr uint32_t kHelloMagic = 0x52'4d'50'49;  // "RMPI"

// The head of the datagram; a driver's is followed by a JobMessage (namespace, language, native worker).
struct ClientHello {
  uint32_t magic = kHelloMagic;
  uint32_t version = kWireVersion;
  uint32_t is_driver = 0;
  uint32_t wants_logs = 0;
  uint64_t spawn_token = 0;
  uint32_t is_node = 0;  // another raylet, which wants to join the run: answered by a JoinTicket
  uint32_t asks = 0;     // a Question of somebody who is no client
};
enum Question : uint32_t {
  kAsksNodes = 1,   // answered by a NodesReply's bytes
  kAsksStatus = 2,  // answered at length, by a RunStatus
  kAsksDrain = 3,   // followed by a DrainRequest; answered at length, by a DrainReply
};
constexpr size_t kMaxHelloBytes = 64 << 10;

// Comes with the descriptors of board, arena, pin table, the raylet's eventfd and the table of notes, in this
// order.
struct ClientWelcome {
  uint32_t magic = kHelloMagic;
  uint32_t version = kWireVersion;
  Address address;
  JobId job;
  uint64_t run_id = 0;
  uint32_t refused = 0;  // then `text` says why, and nothing else counts
  char text[220] = {};
};

// What is said instead of any other answer, if `answer` is that.
inline std::optional<std::string> RefusalIn(std::span<const std::byte> answer) {
  ClientWelcome w;
  if (answer.size() != sizeof w) return std::nullopt;
  std::memcpy(&w, answer.data(), sizeof w);
  w.text[sizeof w.text - 1] = '\0';
  return w.text;
}

constexpr int kWelcomeFds = 5;

// What a raylet of the same user needs to connect to the head: it comes over the head's session socket only.
// One that is refused gets a ClientWelcome that says so.
struct JoinTicket {
  uint32_t one_host = 0;  // all nodes of the run are on this host
  RunSecret secret{};
  char version[60] = {};   // of the head's build
  char address[256] = {};  // of the head's direct transport
};

constexpr uint32_t kMaxDevices = 1024;    // of a node, all kinds together
constexpr uint32_t kMaxBoundCpus = 1024;  // with higher numbers nobody is bound

// One per slot: what a process and its raylet tell each other without messages.
struct SlotNotes {
  char name[64];  // of the current task, for the prefix of its output: written by the worker
  // Of what runs there, for the memory monitor: when it began, 0 for nothing yet, and whether it starts again
  // by itself. Written by the worker.
  std::atomic<uint64_t> started_ns;
  std::atomic<uint8_t> retriable;
  std::atomic<uint8_t> actor;
  // Of the lease with devices that was granted last: written by the raylet before it sends the GRANT, read by
  // the worker under that lease. A task under another lease has none.
  std::atomic<uint64_t> device_lease;
  uint64_t devices[kMaxDevices / 64];  // a set of numbers
  // The same for a lease whose worker is bound: to these CPUs, by the kernel's numbers.
  std::atomic<uint64_t> cpu_lease;
  uint64_t cpus[kMaxBoundCpus / 64];
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace rmpi
