// SPDX-License-Identifier: Apache-2.0
// Peers, connections and their ends; the streams themselves are in direct_stream.cc.
#include "runtime/transport/direct_transport.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace rmpi {
namespace {

constexpr uint64_t kUnixListener = 1, kTcpListener = 2, kFirstConnection = 16;
constexpr size_t kMaxStrangers = 256;
constexpr TimeNs kHandshakeLimit = 5 * kSecond;
constexpr TimeNs kFlushLimit = kSecond;

bool IsTcp(int fd) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_INET;
}

}  // namespace

Status MakeDirectTransport(const DirectOptions& options, std::unique_ptr<DirectTransport>* out) {
  auto t = std::make_unique<DirectTransportImpl>(options);
  const Status s = t->Listen();
  if (s.ok()) *out = std::move(t);
  return s;
}

DirectTransportImpl::DirectTransportImpl(const DirectOptions& options)
    : options_(options),
      size_(options.size),
      scratch_(kHeaderBytes + kMaxFrameBytes),
      next_id_(kFirstConnection),
      next_peer_(options.first_new_peer) {}

Status DirectTransportImpl::Listen() {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return Status::Io("direct transport: epoll_create1", errno);
  own_.host = HostIdentity();
  if (!options_.listen) return Status::Ok();
  if (const Status s = ListenUnix(&own_.unix_name, &unix_listener_); !s.ok()) return s;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kUnixListener;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, unix_listener_.get(), &event);
  if (options_.bind_ipv4.empty()) return Status::Ok();
  own_.ipv4 = options_.bind_ipv4;
  if (const Status s = ListenTcp(own_.ipv4, &own_.port, &tcp_listener_); !s.ok()) return s;
  event.data.u64 = kTcpListener;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, tcp_listener_.get(), &event);
  return Status::Ok();
}

Status DirectTransportImpl::AddPeer(int peer, const std::string& address) {
  Endpoint endpoint;
  if (peer < 0 || peer >= kMaxPeers || peer == options_.rank || !Endpoint::Parse(address, &endpoint)) {
    return Status::Invalid("direct transport: cannot add peer " + std::to_string(peer) + " at '" + address +
                           "'");
  }
  Peer* p = At(peer);
  p->endpoint = std::move(endpoint);
  p->known = true;
  size_ = std::max(size_, peer + 1);
  return Status::Ok();
}

DirectTransportImpl::Peer* DirectTransportImpl::At(int peer) { return &peers_[peer]; }

DirectTransportImpl::Connection* DirectTransportImpl::Find(uint64_t id) {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

DirectTransportImpl::Connection* DirectTransportImpl::Adopt(UniqueFd fd, State state, uint32_t events) {
  auto c = std::make_unique<Connection>();
  c->id = next_id_++;
  c->fd = std::move(fd);
  c->state = state;
  c->events = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = c->id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, c->fd.get(), &event);
  handshakes_.push_back({MonotonicNow() + kHandshakeLimit, c->id});
  return (connections_[c->id] = std::move(c)).get();
}

void DirectTransportImpl::Watch(Connection* c, uint32_t events) {
  if (c->events == events) return;
  c->events = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = c->id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, c->fd.get(), &event);
}

void DirectTransportImpl::Accept(uint64_t listener) {
  const int from = listener == kUnixListener ? unix_listener_.get() : tcp_listener_.get();
  for (;;) {
    UniqueFd fd(accept4(from, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno != EMFILE && errno != ENFILE) return;
      // The listener stays readable: look away for a moment instead of spinning on it.
      accept_again_ = MonotonicNow() + 100 * kMillisecond;
      epoll_event event{};
      event.data.u64 = listener;
      epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, from, &event);
      return;
    }
    if (strangers_ >= kMaxStrangers || !PrepareConnection(fd.get())) {
      ++refused_;
      continue;
    }
    ++strangers_;
    Adopt(std::move(fd), State::kAwaitHello, EPOLLIN);
  }
}

void DirectTransportImpl::Connect(int peer, Peer* p) {
  UniqueFd fd;
  bool again = false;
  const Status s = StartConnect(p->endpoint, own_.host, &fd, &again);
  if (again) {
    const bool first =
        std::none_of(retries_.begin(), retries_.end(), [&](const auto& r) { return r.second == peer; });
    if (first) retries_.push_back({MonotonicNow() + kHandshakeLimit, peer});
    return;
  }
  if (!s.ok()) return Close(peer, /*report=*/true);
  Connection* c = Adopt(std::move(fd), State::kConnecting, EPOLLOUT);
  c->peer = peer;
  p->attempt = c->id;
  p->connections.push_back(c->id);
}

void DirectTransportImpl::Send(int peer, std::vector<std::byte> frame) {
  const auto found = peers_.find(peer);
  if (found == peers_.end() || frame.empty() || frame.size() > kMaxFrameBytes) return;
  Peer* p = &found->second;
  if (p->gone || p->mute || (!p->known && p->sender == 0)) return;
  p->queued_bytes += frame.size();
  p->queue.push_back(std::move(frame));
  if (p->sender != 0) {
    if (p->queue.size() == 1) Write(p);  // else the socket was full already
  } else if (p->attempt == 0) {
    Connect(peer, p);
  }
}

size_t DirectTransportImpl::InFlight(int peer) const {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? 0 : found->second.queued_bytes;
}

size_t DirectTransportImpl::Poll(const FrameHandler& handler) {
  OnTime();
  epoll_event events[64];
  const int n = epoll_wait(epoll_.get(), events, 64, 0);
  size_t frames = 0;
  for (int i = 0; i < n; ++i) {
    const uint64_t id = events[i].data.u64;
    if (id < kFirstConnection) {
      Accept(id);
      continue;
    }
    // A handler may have closed it meanwhile: look it up, each time.
    if (events[i].events & EPOLLOUT) {
      if (Connection* c = Find(id)) OnWritable(c);
    }
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
      if (Connection* c = Find(id)) frames += Read(c, handler);
    }
  }
  doomed_.clear();
  return frames;
}

// Sockets stay readable until they are read, so there is never more to say than epoll says.
bool DirectTransportImpl::Arm() { return true; }

// What has to happen by time alone; the caller's safety timeout is what drives it when all is quiet.
void DirectTransportImpl::OnTime() {
  if (handshakes_.empty() && retries_.empty() && accept_again_ == 0) return;
  const TimeNs now = MonotonicNow();
  while (!handshakes_.empty() && handshakes_.front().at <= now) {
    Connection* c = Find(handshakes_.front().id);
    handshakes_.pop_front();
    if (c != nullptr && c->state != State::kOpen) Drop(c, /*refuse=*/true);
  }
  for (size_t left = retries_.size(); left > 0; --left) {
    const auto [until, peer] = retries_.front();
    retries_.pop_front();
    Peer* p = At(peer);
    if (p->gone || p->sender != 0 || p->attempt != 0) continue;
    if (until <= now) {
      Close(peer, /*report=*/true);
      continue;
    }
    Connect(peer, p);
    if (!retries_.empty() && retries_.back().second == peer) retries_.back().first = until;
  }
  if (accept_again_ != 0 && accept_again_ <= now) {
    accept_again_ = 0;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kUnixListener;
    if (unix_listener_.valid()) epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, unix_listener_.get(), &event);
    event.data.u64 = kTcpListener;
    if (tcp_listener_.valid()) epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, tcp_listener_.get(), &event);
  }
}

// The connection ended, or never became one. A peer is gone with its last open connection: what it sent on
// another may still be on the way.
void DirectTransportImpl::Drop(Connection* c, bool refuse) {
  const int peer = c->peer;
  const State state = c->state;
  const uint64_t id = c->id;
  Discard(c);
  const auto found = peers_.find(peer);
  Peer* p = found == peers_.end() ? nullptr : &found->second;
  if (state == State::kAwaitHello || state == State::kAwaitProof) {
    --strangers_;
    if (c->numbered_here) unused_.push_back(peer);
    if (refuse && (p == nullptr || p->sender == 0)) ++refused_;  // else it lost the race of two connects
    return;
  }
  if (p->attempt == id) p->attempt = 0;
  if (p->sender == id) Mute(p);
  if (p->sender != 0 && !p->connections.empty()) return;
  Close(peer, /*report=*/true);
}

// Nothing more can be sent. Reading goes on to the end by itself.
void DirectTransportImpl::Mute(Peer* p) {
  p->mute = true;
  p->queue.clear();
  p->queued_bytes = p->front_written = 0;
}

void DirectTransportImpl::Discard(Connection* c) {
  const auto found = connections_.find(c->id);
  if (found == connections_.end()) return;
  if (const auto p = peers_.find(c->peer); p != peers_.end()) std::erase(p->second.connections, c->id);
  c->fd.reset();  // leaves the epoll set with it
  doomed_.push_back(std::move(found->second));
  connections_.erase(found);
}

void DirectTransportImpl::Close(int peer, bool report) {
  Peer* p = At(peer);
  if (p->gone) return;
  p->gone = true;
  for (const uint64_t id : std::vector<uint64_t>(p->connections)) {
    if (Connection* c = Find(id)) Discard(c);
  }
  p->queue.clear();
  p->queued_bytes = p->front_written = 0;
  p->sender = p->attempt = 0;
  if (report) closed_.push_back(peer);
}

// Writes what is queued, then waits until the kernels have it: closing a socket with unread input resets it,
// which must not overtake our last frames.
void DirectTransportImpl::Shutdown(bool) {
  const TimeNs limit = MonotonicNow() + kFlushLimit;
  const auto busy = [this] {
    for (auto& [id, p] : peers_) {
      if (p.gone || p.mute) continue;
      if (!p.queue.empty()) return true;
      const Connection* c = Find(p.sender);
      int unsent = 0;  // for a Unix socket SIOCOUTQ counts what the peer has not read, which is safe with it
      if (c != nullptr && IsTcp(c->fd.get()) && ioctl(c->fd.get(), SIOCOUTQ, &unsent) == 0 && unsent > 0)
        return true;
    }
    return false;
  };
  while (busy() && MonotonicNow() < limit) {
    Poll([](int, Bytes) {});
    usleep(50);
  }
  for (auto& [peer, p] : peers_) Close(peer, /*report=*/false);
  unix_listener_.reset();
  tcp_listener_.reset();
}

}  // namespace rmpi
