// SPDX-License-Identifier: Apache-2.0
// Two transports as one: the ranks of the launch below a number, and nodes that joined later from there on.
#pragma once

#include <memory>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/transport/transport.h"

namespace rmpi {

class SplitTransport final : public Transport {
 public:
  // `ranks` has the peers 0 to ranks->size() - 1, `joined` those from there on.
  static Status Make(std::unique_ptr<Transport> ranks, std::unique_ptr<Transport> joined,
                     std::unique_ptr<Transport>* out);
  ~SplitTransport() override;

  int rank() const override { return ranks_->rank(); }
  int size() const override { return ranks_->size(); }
  void Send(int peer, std::vector<std::byte> frame) override { Of(peer)->Send(peer, std::move(frame)); }
  size_t InFlight(int peer) const override { return Of(peer)->InFlight(peer); }
  size_t Poll(const FrameHandler& handler) override { return ranks_->Poll(handler) + joined_->Poll(handler); }
  int EpollFd() const override { return epoll_; }
  bool Arm() override;
  void DropPeer(int peer) override { Of(peer)->DropPeer(peer); }
  std::vector<int> TakeClosedPeers() override;
  void Shutdown(bool all_peers_alive) override;

 private:
  SplitTransport(std::unique_ptr<Transport> ranks, std::unique_ptr<Transport> joined, int epoll)
      : ranks_(std::move(ranks)), joined_(std::move(joined)), first_joined_(ranks_->size()), epoll_(epoll) {}
  Transport* Of(int peer) const { return peer < first_joined_ ? ranks_.get() : joined_.get(); }

  std::unique_ptr<Transport> ranks_, joined_;
  const int first_joined_;
  const int epoll_;  // both are nested in it
};

}  // namespace rmpi
