// SPDX-License-Identifier: Apache-2.0
// MpiTransport: frames as MPI messages of a private communicator. Only Isend, Irecv(ANY_SOURCE) and Testsome,
// all from the control thread; no collective after bring-up.
//
// Every message ends with a trailer {sequence, delivered}. The sequence restores the order when a later
// receive completes first; `delivered` acknowledges the peer's frames. Acknowledgements bound what MPI holds
// for a slow or dead peer: MPI itself accepts sends to the dead for ever and never reports an error.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "runtime/transport/mpi_sockets.h"
#include "runtime/transport/transport.h"

namespace rmpi {

class MpiTransport final : public Transport {
 public:
  // `sleepable`: all traffic goes over the sockets. Else the epoll fd fires on a timer that backs off.
  MpiTransport(MPI_Comm comm, std::unique_ptr<MpiSockets> sockets, bool sleepable);
  ~MpiTransport() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void Send(int peer, std::vector<std::byte> frame) override;
  size_t InFlight(int peer) const override;
  size_t Poll(const FrameHandler& handler) override;
  int EpollFd() const override { return sockets_->epoll_fd(); }
  bool Arm() override;
  void DropPeer(int peer) override;
  std::vector<int> TakeClosedPeers() override { return sockets_->TakeHungUp(); }
  void Shutdown(bool all_peers_alive) override;

 private:
  struct Trailer {
    uint32_t sequence;   // of this frame; of a bare acknowledgement: kAnswer or kNoAnswer
    uint32_t delivered;  // frames from the peer handed to the handler so far
  };
  struct Peer {
    std::deque<std::vector<std::byte>> queued;  // waiting for the window
    std::deque<uint32_t> unacked;               // sizes of the frames given to MPI
    size_t queued_bytes = 0, unacked_bytes = 0;
    uint32_t sent = 0, received = 0;   // frames given to MPI / taken in order
    uint32_t delivered = 0, told = 0;  // frames handled / as last acknowledged
    size_t untold_bytes = 0;
    std::map<uint32_t, std::vector<std::byte>> early;  // came before their turn
    bool contacted = false, dead = false;
    bool mute = false;      // its connection closed: Open MPI must be given nothing more for it
    uint64_t given_at = 0;  // when it was last given something: progress_
  };
  struct Arrived {
    int peer;
    size_t bytes;
    int buffer;  // index into buffers_, or -1: in `copy`
    std::vector<std::byte> copy;
  };

  Peer* At(int peer);
  const Peer* Find(int peer) const;
  void PostReceive(size_t index);
  void PostSend(int peer, Peer* p, std::vector<std::byte> frame, uint32_t sequence);
  void Pump(int peer, Peer* p);
  void LookAtSockets(int peer, Peer* p);
  void Acknowledge(int peer, Peer* p, uint32_t kind);
  bool Progress();  // true if anything moved
  bool ReapSends();
  bool ReapReceives(bool progress);
  void TakeMessage(int peer, int buffer, size_t bytes);
  void TakeAcknowledgement(int peer, Peer* p, uint32_t delivered);
  void Handled(int peer, Peer* p, size_t bytes);
  bool Flushed(bool need_acks) const;
  bool ArmTimer();

  MPI_Comm comm_;
  int rank_ = 0, size_ = 0;
  std::unique_ptr<MpiSockets> sockets_;
  const bool sleepable_;
  UniqueFd timer_;
  TimeNs back_off_ = 0;

  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<MPI_Request> receives_;
  std::vector<std::vector<std::byte>> buffers_;
  std::deque<Arrived> ready_;  // in order per peer, not yet delivered

  std::vector<MPI_Request> sends_;  // parallel to sending_
  struct Sending {
    int peer;
    std::vector<std::byte> frame;
  };
  std::vector<Sending> sending_;
  std::vector<Sending> parked_;  // to dead peers: MPI may look at these buffers until the end

  std::vector<int> indices_;  // scratch of Testsome
  std::vector<MPI_Status> statuses_;
  uint64_t progress_ = 1;  // how often MPI was made to look at its sockets
  bool progressed_ = false;
  bool down_ = false;
};

}  // namespace rmpi
