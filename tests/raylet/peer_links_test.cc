// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/peer_links.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>

namespace rmpi {
namespace {

// Frames go into a list; the test moves them.
class ListTransport : public Transport {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  void Send(int, std::vector<std::byte> frame) override {
    EXPECT_FALSE(frame.empty());
    EXPECT_LE(frame.size(), kMaxFrameBytes);
    in_flight += frame.size();
    frames.push_back(std::move(frame));
  }
  size_t InFlight(int) const override { return in_flight; }
  size_t Poll(const FrameHandler& handler) override {
    const auto arrived = std::move(incoming);
    incoming.clear();
    for (const auto& f : arrived) handler(1, f);
    return arrived.size();
  }
  int EpollFd() const override { return -1; }
  bool Arm() override { return true; }
  void DropPeer(int) override { dropped = true; }
  std::vector<int> TakeClosedPeers() override { return {}; }
  void Shutdown(bool) override {}

  std::deque<std::vector<std::byte>> frames, incoming;
  size_t in_flight = 0;
  bool dropped = false;
};

class PeerLinksTest : public testing::Test {
 protected:
  void Queue(size_t bytes) {
    MessageHeader h;
    h.type = static_cast<uint16_t>(1 + queued_ % 1000);
    h.body_bytes = static_cast<uint32_t>(bytes);
    std::vector<std::byte> body(bytes, static_cast<std::byte>(queued_));
    ++queued_;
    links_.Queue(1, h, body);
  }
  size_t Receive() {
    return links_.Poll([&](int peer, const MessageHeader& h, Bytes body) {
      EXPECT_EQ(peer, 1);
      EXPECT_EQ(h.type, 1 + received_ % 1000);
      ASSERT_EQ(h.body_bytes, body.size());
      for (std::byte b : body) ASSERT_EQ(b, static_cast<std::byte>(received_));
      ++received_;
    });
  }

  ListTransport transport_;
  PeerLinks links_{&transport_};
  size_t queued_ = 0, received_ = 0;
};

TEST_F(PeerLinksTest, ManySmallMessagesShareAFrame) {
  for (int i = 0; i < 500; ++i) Queue(100);
  links_.Flush();
  EXPECT_EQ(transport_.frames.size(), 1U);
  transport_.incoming.swap(transport_.frames);
  Receive();
  EXPECT_EQ(received_, 500U);
}

TEST_F(PeerLinksTest, ALargeMessageTakesSeveralFrames) {
  Queue(3);
  Queue(1 << 20);
  Queue(0);
  links_.Flush();
  EXPECT_GT(transport_.frames.size(), 4U);
  transport_.incoming.swap(transport_.frames);
  Receive();
  EXPECT_EQ(received_, 3U);
}

TEST_F(PeerLinksTest, MessagesAreWholeWhereverTheFramesAreCut) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 200; ++i) Queue(random() % 700);
  links_.Flush();
  std::vector<std::byte> stream;
  for (const auto& f : transport_.frames) stream.insert(stream.end(), f.begin(), f.end());
  for (size_t at = 0; at < stream.size();) {
    const size_t n = std::min<size_t>(1 + random() % 90, stream.size() - at);
    const auto begin = stream.begin() + static_cast<std::ptrdiff_t>(at);
    transport_.incoming.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(n));
    Receive();
    at += n;
  }
  EXPECT_EQ(received_, 200U);
}

TEST_F(PeerLinksTest, AFullTransportKeepsTheRestHere) {
  for (int i = 0; i < 80; ++i) Queue(1 << 20);
  links_.Flush();
  EXPECT_LE(transport_.in_flight, kMaxInFlightBytes + kMaxFrameBytes);
  EXPECT_TRUE(links_.congested());
  while (queued_ != received_) {
    ASSERT_FALSE(transport_.frames.empty());
    transport_.incoming.swap(transport_.frames);
    transport_.in_flight = 0;
    Receive();
    links_.Flush();
  }
  EXPECT_FALSE(links_.congested());
}

TEST_F(PeerLinksTest, ADroppedPeerGetsAndGivesNothing) {
  Queue(10);
  links_.Flush();
  links_.Drop(1);
  EXPECT_TRUE(transport_.dropped);
  transport_.incoming.swap(transport_.frames);
  Receive();
  EXPECT_EQ(received_, 0U);
  Queue(10);
  links_.Flush();
  EXPECT_TRUE(transport_.frames.empty());
}

TEST_F(PeerLinksTest, APeerThatSpeaksNonsenseIsNotHeardAnyMore) {
  transport_.incoming.emplace_back(100, std::byte{0xEE});
  Receive();
  Queue(4);
  links_.Flush();
  transport_.incoming.swap(transport_.frames);
  Receive();
  EXPECT_EQ(received_, 0U);
}

}  // namespace
}  // namespace rmpi
