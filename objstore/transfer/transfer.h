// SPDX-License-Identifier: Apache-2.0
// Transfer: moves object bytes between the arenas of different hosts. The requester pulls: it asks the source
// for chunks, several in flight, and receives each straight into its own arena.
//
// The control thread makes every call. A data thread of its own does the work and sleeps when there is none;
// results come back through TakeCompletions, announced by EventFd().
//
// Who fetches holds the object at the source: a pin, asked for by the control plane before and given back
// after the completion. The source checks every chunk's request all the same, and answers "gone" if it does
// not hold. What it is itself still receiving it serves as far as it has come: a request for more waits there
// until that has arrived. Every request and answer carries a keyed hash under the run's secret; others are
// counted and ignored.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/ids/ids.h"

namespace rmpi {

class Transfer {
 public:
  // kComing: not yet; asked again when something of it has arrived, and after Recheck.
  enum class Held { kGone, kHere, kComing };
  // Is `id`, of this attempt, still the object whose data covers [offset, offset + bytes) of the segment?
  // Called by the data thread, for each chunk; the range is inside the segment.
  using Validator = std::function<Held(const ObjectId& id, uint32_t attempt, uint32_t segment,
                                       uint64_t offset, uint64_t bytes)>;
  // Everything before `end` of that fetch's destination has arrived. Called by the data thread.
  using Progress = std::function<void(const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t end)>;
  struct Options {
    std::array<uint8_t, 16> secret{};
    std::byte* arena_base = nullptr;  // segment 0; AddSegment names more
    uint64_t arena_bytes = 0;
    std::string net_devices;  // UCX's names, comma-separated (NetDevices); empty: UCX chooses
    uint32_t chunk_bytes = 4 << 20;
    uint32_t chunks_in_flight = 4;  // per source: at most chunk_bytes * chunks_in_flight bytes
    Validator validator;
    Progress progress;                            // may be empty
    std::function<void(const std::string&)> log;  // UCX's own warnings; any thread; may be empty
  };
  // Where bytes are: a segment and an offset in it. A plain offset means segment 0.
  struct Place {
    uint32_t segment;
    uint64_t offset;
    Place(uint64_t offset) : segment(0), offset(offset) {}  // NOLINT: an offset is a place
    Place(uint32_t segment, uint64_t offset) : segment(segment), offset(offset) {}
  };
  struct Completion {
    uint64_t request;
    Status status;   // NotFound: the object is gone there; Unavailable: the source is; Interrupted: cancelled
    uint64_t bytes;  // arrived
  };
  struct Counters {
    uint64_t bytes_in = 0, bytes_out = 0;
    uint64_t chunks_in = 0, chunks_out = 0;
    uint64_t refused = 0;  // messages without the run's secret, or malformed
    uint64_t gone = 0;     // requests for what is not here (any more)
  };

  virtual ~Transfer() = default;

  // Opaque, to be published with the node.
  virtual std::string LocalAddress() const = 0;
  // Node numbers are never used again after DropPeer. Connections are made by the first Fetch.
  virtual Status AddPeer(uint32_t node, const std::string& address) = 0;
  // `node` is dead: its fetches complete with Unavailable, its connection is closed by force.
  virtual void DropPeer(uint32_t node) = 0;
  virtual void AddSegment(uint32_t segment, std::byte* base, uint64_t bytes) = 0;

  // Copies `bytes` from `from` at `node` to `to` here. Exactly one completion follows, and after it nobody
  // writes to the destination any more. `request` is the caller's, unique among the open ones.
  // `coming`: the source is still receiving it. Such a fetch has a window of its own, since what waits there
  // must not hold up what could be had at once: else objects on their way crosswise could wait for each
  // other.
  virtual void Fetch(uint64_t request, uint32_t node, const ObjectId& id, uint32_t attempt, Place from,
                     Place to, uint64_t bytes, bool coming = false) = 0;
  virtual void Cancel(uint64_t request) = 0;
  // What the validator says may have changed: requests that wait are looked at again.
  virtual void Recheck() = 0;

  virtual int EventFd() const = 0;  // readable: there are completions
  virtual std::vector<Completion> TakeCompletions() = 0;
  virtual Counters counters() const = 0;
};

// Loads libray-mpi-ucx.so and starts the data thread. To be called after MPI_Init.
Status LoadTransfer(const std::string& plugin_path, Transfer::Options options,
                    std::unique_ptr<Transfer>* out);

// UCX's names for the job's network: `interface` (of IP) and every active RDMA port. What is not named is not
// listened on.
std::string NetDevices(const std::string& interface);

// The plugin's one entry point, extern "C" under this name.
using MakeTransferFunction = void (*)(Transfer::Options* options, std::unique_ptr<Transfer>* out,
                                      Status* status);
constexpr char kMakeTransferSymbol[] = "RayMpiMakeTransfer";

}  // namespace rmpi
