// SPDX-License-Identifier: Apache-2.0
// MpiSockets: finds the TCP sockets that the MPI library opened in this process and makes them something to
// sleep on. MPI offers no file descriptor of its own; while pml ob1 runs over btl self,tcp, its sockets are
// all there is to wait for. Control thread only.
//
// Which sockets are MPI's: listeners that appeared during MPI_Init, and connections with such a listener's
// port at either end (the ranks exchange their ports at bring-up). Others, UCX's for one, are left alone.
//
// A connection whose other end is known (the head's to all, everybody's to the head: found out at bring-up)
// tells of its peer's death by closing, which MPI keeps to itself.
//
// Three epoll sets: input is level-triggered, since MPI may leave bytes unread; output is edge-triggered,
// since a socket is writable nearly always and only the edge after a full buffer means that MPI can go on;
// listeners apart, to be looked at often, with the closing of known connections.
#pragma once

#include <sys/types.h>

#include <array>
#include <bitset>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/base/unique_fd.h"

namespace rmpi {

class MpiSockets {
 public:
  struct HungUp {
    int peer;
    TimeNs since;
  };
  // A connection's two addresses. The other end sees the same two, the other way round.
  struct Ends {
    struct End {
      std::array<uint8_t, 16> ip{};  // IPv4 in its IPv6 form
      uint16_t port = 0;
      bool operator==(const End&) const = default;
    };
    End local, remote;
  };

  MpiSockets();  // before MPI_Init: remembers what was there

  // After MPI_Init: the ports MPI listens on (usually one; none means that there is nothing to sleep on).
  std::vector<uint16_t> FindListeners();
  void SetAllPorts(const std::vector<uint16_t>& ports);  // of all ranks

  // The connections that are there now, and whose they are: `theirs`, as rank `peer` sees its own. Returns
  // which of `theirs` are ours, too.
  std::vector<Ends> Connections();
  std::vector<bool> Assign(const std::vector<Ends>& theirs, int peer);
  // Ranks whose known connection closed, a moment ago: what came before that has been read by now.
  std::vector<int> TakeHungUp();
  const std::vector<HungUp>& hung_up() const { return hung_up_; }  // and not taken yet

  int epoll_fd() const { return input_.get(); }
  bool Add(int fd) const;  // another descriptor to sleep on (a timer)

  // New sockets may appear soon: rescan in the next calls of Check until things have been calm for a while.
  void ExpectChange() {
    calm_at_ = MonotonicNow() + kCalm;
    next_scan_ = 0;
  }
  // To be called before MPI makes progress, which accepts connections: afterwards they could not be seen.
  void LookForConnections();
  // True when some socket has news. Rescans when a listener fired, a change is expected, or from time to
  // time.
  bool Check(bool progress_was_made);

 private:
  static constexpr TimeNs kCalm = kSecond / 2;
  static constexpr TimeNs kScanAnyway = kSecond;
  // A socket that is readable this many times in a row while MPI reads nothing is one that MPI has given up.
  static constexpr int kStuckLimit = 1000;
  static constexpr TimeNs kLastWords = 20 * kMillisecond;
  static constexpr int kNobody = -1;

  enum class Kind : uint8_t { kForeign, kListener, kConnection, kUnknown };
  struct Socket {
    ino_t inode = 0;
    Kind kind = Kind::kForeign;
    bool seen = false;
    int peer = kNobody;
  };
  void NoteHangUp(Socket* s);
  Kind Classify(int fd) const;
  void Rescan();
  void Watch(int fd, Kind kind) const;

  UniqueFd input_, output_, listeners_;  // the latter two are in input_
  std::set<ino_t> before_;
  std::bitset<65536> own_ports_, all_ports_;
  std::unordered_map<int, Socket> sockets_;
  std::vector<HungUp> hung_up_;
  TimeNs calm_at_ = 0, next_scan_ = 0, scanned_at_ = 0;
  int fruitless_ = 0;
};

}  // namespace rmpi
