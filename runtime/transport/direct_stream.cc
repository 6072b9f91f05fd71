// SPDX-License-Identifier: Apache-2.0
// DirectTransportImpl: what goes over one connection, the handshake and then frames {length, bytes}.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/transport/direct_transport.h"
#include "runtime/transport/siphash.h"

namespace rmpi {
namespace {

constexpr size_t kReadPerTurn = 1024 * 1024;  // from one connection, so that others get theirs
constexpr int kFramesPerWrite = 32;

bool WriteSmall(int fd, const void* data, size_t size) {
  return send(fd, data, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

template <typename T>
bool Take(Bytes* bytes, T* out) {
  if (bytes->size() < sizeof(T)) return false;
  std::memcpy(out, bytes->data(), sizeof(T));
  *bytes = bytes->subspan(sizeof(T));
  return true;
}

}  // namespace

void DirectTransportImpl::Write(Peer* p) {
  Connection* c = Find(p->sender);
  if (c == nullptr) return;
  while (!p->queue.empty()) {
    uint32_t headers[kFramesPerWrite];
    iovec parts[2 * kFramesPerWrite];
    size_t count = 0, skip = p->front_written;
    const size_t frames = std::min<size_t>(p->queue.size(), kFramesPerWrite);
    for (size_t i = 0; i < frames; ++i) {
      auto& frame = p->queue[i];
      headers[i] = static_cast<uint32_t>(frame.size());
      const size_t of_header = std::min(skip, kHeaderBytes), of_frame = skip - of_header;
      parts[count++] = {reinterpret_cast<std::byte*>(&headers[i]) + of_header, kHeaderBytes - of_header};
      parts[count++] = {frame.data() + of_frame, frame.size() - of_frame};
      skip = 0;
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t n = sendmsg(c->fd.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return Watch(c, EPOLLIN | EPOLLOUT);
    if (n < 0) {  // reading will come to the end by itself, after what the peer still sent
      Mute(p);
      break;
    }
    p->front_written += static_cast<size_t>(n);
    while (!p->queue.empty() && p->front_written >= kHeaderBytes + p->queue.front().size()) {
      p->front_written -= kHeaderBytes + p->queue.front().size();
      p->queued_bytes -= p->queue.front().size();
      p->queue.pop_front();
    }
  }
  Watch(c, EPOLLIN);
}

size_t DirectTransportImpl::Read(Connection* c, const FrameHandler& handler) {
  size_t frames = 0;
  for (size_t total = 0; total < kReadPerTurn && c->fd.valid();) {
    const ssize_t n = recv(c->fd.get(), scratch_.data(), scratch_.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      Drop(c, /*refuse=*/c->state == State::kAwaitProof);  // it did not like our proof
      return frames;
    }
    total += static_cast<size_t>(n);
    std::vector<std::byte> joined;
    Bytes bytes(scratch_.data(), static_cast<size_t>(n));
    if (!c->partial.empty()) {
      joined.swap(c->partial);
      joined.insert(joined.end(), bytes.begin(), bytes.end());
      bytes = joined;
    }
    frames += Consume(c, &bytes, handler);
    if (!c->fd.valid()) break;
    if (!joined.empty() && bytes.size() == joined.size()) {
      c->partial.swap(joined);
    } else {
      c->partial.assign(bytes.begin(), bytes.end());
    }
    if (static_cast<size_t>(n) < scratch_.size()) break;
  }
  return frames;
}

size_t DirectTransportImpl::Consume(Connection* c, Bytes* bytes, const FrameHandler& handler) {
  size_t frames = 0;
  while (c->fd.valid()) {
    if (c->state != State::kOpen) {
      if (!Shake(c, bytes)) return frames;
      continue;
    }
    Bytes rest = *bytes;
    uint32_t size = 0;
    if (!Take(&rest, &size)) return frames;
    if (size == 0 || size > kMaxFrameBytes) {
      Close(c->peer, /*report=*/true);  // it does not speak our language: whatever follows is noise
      return frames;
    }
    if (rest.size() < size) return frames;
    handler(c->peer, rest.first(size));
    ++frames;
    *bytes = rest.subspan(size);
  }
  return frames;
}

// Takes one message of the handshake. False: not all of it is here, or the connection is gone.
bool DirectTransportImpl::Shake(Connection* c, Bytes* bytes) {
  bool good = false;
  if (c->state == State::kAwaitHello) {
    Hello hello;
    if (!Take(bytes, &hello)) return false;
    good = OnHello(c, hello);
  } else if (c->state == State::kAwaitWelcome) {
    Welcome welcome;
    if (!Take(bytes, &welcome)) return false;
    good = OnWelcome(c, welcome);
  } else if (c->state == State::kAwaitProof) {
    ProofBytes proof;
    if (!Take(bytes, &proof)) return false;
    const ProofBytes wanted =
        Prove(options_.secret, Prover::kConnector, c->hello, c->acceptor_nonce, c->peer);
    good = SameBytes(&proof, &wanted, sizeof(proof)) && !At(c->peer)->gone;
    if (good) {
      --strangers_;
      At(c->peer)->connections.push_back(c->id);
      size_ = std::max(size_, c->peer + 1);
      Open(c);
    }
  }
  if (!good) Drop(c, /*refuse=*/true);
  return good;
}

// Who it is from now on, or -1: nobody that we would talk to.
int DirectTransportImpl::NumberFor(const Hello& hello) {
  if (hello.from != kNewPeer) return hello.from < kMaxPeers && hello.from != options_.rank ? hello.from : -1;
  if (!unused_.empty()) {
    const int peer = unused_.back();
    unused_.pop_back();
    return peer;
  }
  return next_peer_ < 0 || next_peer_ >= kMaxPeers ? -1 : next_peer_++;
}

bool DirectTransportImpl::OnHello(Connection* c, const Hello& hello) {
  if (hello.magic != kHelloMagic || hello.protocol != kTransportProtocol || hello.to != options_.rank)
    return false;
  Welcome welcome{};
  if (!DrawNonce(&welcome.nonce)) return false;
  welcome.peer = NumberFor(hello);
  if (welcome.peer < 0) return false;
  welcome.proof = Prove(options_.secret, Prover::kAcceptor, hello, welcome.nonce, welcome.peer);
  c->peer = welcome.peer;
  c->numbered_here = hello.from == kNewPeer;
  c->hello = hello;
  c->acceptor_nonce = welcome.nonce;
  c->state = State::kAwaitProof;
  return WriteSmall(c->fd.get(), &welcome, sizeof(welcome));
}

bool DirectTransportImpl::OnWelcome(Connection* c, const Welcome& welcome) {
  const ProofBytes wanted = Prove(options_.secret, Prover::kAcceptor, c->hello, welcome.nonce, welcome.peer);
  if (!SameBytes(&welcome.proof, &wanted, sizeof(wanted))) return false;
  if (options_.rank == kUnnumbered) options_.rank = welcome.peer;
  if (welcome.peer != options_.rank) return false;
  const ProofBytes proof = Prove(options_.secret, Prover::kConnector, c->hello, welcome.nonce, welcome.peer);
  if (!WriteSmall(c->fd.get(), &proof, sizeof(proof))) return false;
  At(c->peer)->attempt = 0;
  Open(c);
  return true;
}

void DirectTransportImpl::OnWritable(Connection* c) {
  if (c->state == State::kOpen) return Write(At(c->peer));
  if (c->state != State::kConnecting) return;
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(c->fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  c->hello = {kHelloMagic, kTransportProtocol, options_.rank, c->peer, {}};
  if (error != 0 || !DrawNonce(&c->hello.nonce) || !WriteSmall(c->fd.get(), &c->hello, sizeof(c->hello))) {
    Drop(c, /*refuse=*/false);
    return;
  }
  c->state = State::kAwaitWelcome;
  Watch(c, EPOLLIN);
}

// Both ends have proved themselves. The first connection that opens becomes the one we send on; an attempt of
// our own that has not opened by then is not needed any more, and nothing was sent on it.
void DirectTransportImpl::Open(Connection* c) {
  c->state = State::kOpen;
  Peer* p = At(c->peer);
  if (p->sender != 0) return;
  p->sender = c->id;
  if (Connection* attempt = Find(p->attempt); attempt != nullptr && attempt != c) Discard(attempt);
  p->attempt = 0;
  Write(p);
}

}  // namespace rmpi
