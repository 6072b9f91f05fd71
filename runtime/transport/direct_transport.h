// SPDX-License-Identifier: Apache-2.0
// The implementation behind direct.h.
//
// Order without negotiation: an end *sends* on one connection only, the first that opens, and receives on
// any. So when both ends connect at once and both connections open, each direction still has one stream. A
// connection that closes takes its peer with it (TakeClosedPeers): nothing is ever reconnected.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/base/unique_fd.h"
#include "runtime/transport/direct.h"
#include "runtime/transport/endpoint.h"
#include "runtime/transport/handshake.h"

namespace rmpi {

class DirectTransportImpl final : public DirectTransport {
 public:
  explicit DirectTransportImpl(const DirectOptions& options);
  Status Listen();

  int rank() const override { return options_.rank; }
  int size() const override { return size_; }
  void Send(int peer, std::vector<std::byte> frame) override;
  size_t InFlight(int peer) const override;
  size_t Poll(const FrameHandler& handler) override;
  int EpollFd() const override { return epoll_.get(); }
  bool Arm() override;
  void DropPeer(int peer) override { Close(peer, /*report=*/false); }
  std::vector<int> TakeClosedPeers() override { return std::exchange(closed_, {}); }
  void Shutdown(bool all_peers_alive) override;

  std::string LocalAddress() const override { return own_.ToString(); }
  Status AddPeer(int peer, const std::string& address) override;
  uint64_t refused() const override { return refused_; }

 private:
  static constexpr int kMaxPeers = 1 << 20;
  static constexpr size_t kHeaderBytes = 4;  // a frame's length

  enum class State : uint8_t { kConnecting, kAwaitWelcome, kAwaitHello, kAwaitProof, kOpen };
  struct Connection {
    uint64_t id;
    UniqueFd fd;
    State state;
    int peer = -1;        // only claimed, until kOpen
    uint32_t events = 0;  // that epoll watches for
    Hello hello{};
    Nonce acceptor_nonce{};
    bool numbered_here = false;      // we gave it its number
    std::vector<std::byte> partial;  // of a message that has not arrived in full
  };
  struct Peer {
    Endpoint endpoint;
    bool known = false;                 // endpoint is set
    bool gone = false;                  // closed or dropped
    bool mute = false;                  // a write failed; reading goes on to the end
    uint64_t sender = 0;                // the open connection that we send on; 0: none yet
    uint64_t attempt = 0;               // our own connection while it shakes hands
    std::vector<uint64_t> connections;  // all of its: sender, attempt, and open ones that we only read
    std::deque<std::vector<std::byte>> queue;
    size_t queued_bytes = 0;   // of frames, without their headers
    size_t front_written = 0;  // of the first one's header and frame
  };
  struct Timed {
    TimeNs at;
    uint64_t id;
  };

  Peer* At(int peer);
  Connection* Find(uint64_t id);
  Connection* Adopt(UniqueFd fd, State state, uint32_t events);
  void Watch(Connection* c, uint32_t events);
  void Accept(uint64_t listener);
  void Connect(int peer, Peer* p);
  void OnTime();

  size_t Read(Connection* c, const FrameHandler& handler);
  size_t Consume(Connection* c, Bytes* bytes, const FrameHandler& handler);
  bool Shake(Connection* c, Bytes* bytes);
  int NumberFor(const Hello& hello);
  bool OnHello(Connection* c, const Hello& hello);
  bool OnWelcome(Connection* c, const Welcome& welcome);
  void OnWritable(Connection* c);
  void Open(Connection* c);
  void Write(Peer* p);
  void Drop(Connection* c, bool refuse);
  void Mute(Peer* p);
  void Discard(Connection* c);
  void Close(int peer, bool report);

  DirectOptions options_;
  int size_;
  Endpoint own_;
  UniqueFd epoll_, unix_listener_, tcp_listener_;
  std::unordered_map<int, Peer> peers_;
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> doomed_;  // freed at the end of Poll, when no caller holds them
  std::deque<Timed> handshakes_;                     // when each must be done; in order of time
  std::vector<int> closed_;
  std::deque<std::pair<TimeNs, int>> retries_;  // connects to be tried again until then
  std::vector<std::byte> scratch_;
  uint64_t next_id_;
  int next_peer_;            // the number for the next end that has none
  std::vector<int> unused_;  // given to ends that then did not prove themselves
  size_t strangers_ = 0;     // accepted and not yet open
  TimeNs accept_again_ = 0;  // out of file descriptors: listen no more until then
  uint64_t refused_ = 0;
};

}  // namespace rmpi
