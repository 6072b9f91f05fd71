// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/split.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/base/unique_fd.h"

namespace rmpi {

Status SplitTransport::Make(std::unique_ptr<Transport> ranks, std::unique_ptr<Transport> joined,
                            std::unique_ptr<Transport>* out) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return Status::Io("split transport: epoll_create1", errno);
  for (const Transport* part : {ranks.get(), joined.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, part->EpollFd(), &event) != 0)
      return Status::Io("split transport: epoll_ctl", errno);
  }
  out->reset(new SplitTransport(std::move(ranks), std::move(joined), epoll.release()));
  return Status::Ok();
}

SplitTransport::~SplitTransport() { close(epoll_); }

// Both, always: each has its own state to arm.
bool SplitTransport::Arm() {
  const bool ranks = ranks_->Arm();
  return joined_->Arm() && ranks;
}

std::vector<int> SplitTransport::TakeClosedPeers() {
  std::vector<int> closed = ranks_->TakeClosedPeers();
  const std::vector<int> joined = joined_->TakeClosedPeers();
  closed.insert(closed.end(), joined.begin(), joined.end());
  return closed;
}

// Those that joined first: MPI's end may end this process.
void SplitTransport::Shutdown(bool all_peers_alive) {
  joined_->Shutdown(all_peers_alive);
  ranks_->Shutdown(all_peers_alive);
}

}  // namespace rmpi
