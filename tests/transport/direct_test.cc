// SPDX-License-Identifier: Apache-2.0
// The direct transport: several instances in one process, and clients that do not belong.
#include "runtime/transport/direct.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "runtime/base/unique_fd.h"
#include "runtime/transport/endpoint.h"
#include "runtime/transport/handshake.h"
#include "runtime/transport/siphash.h"
#include "tests/transport/traffic.h"

namespace rmpi {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr RunSecret kSecret = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

enum class Way { kUnix, kTcp };

std::unique_ptr<DirectTransport> Make(int rank, int size, const RunSecret& secret = kSecret) {
  std::unique_ptr<DirectTransport> t;
  const Status s = MakeDirectTransport({rank, size, secret, "127.0.0.1"}, &t);
  EXPECT_TRUE(s.ok()) << s.message();
  return t;
}

// With another host's identity in it, an address can only be reached by TCP.
std::string AddressOf(const DirectTransport& t, Way way) {
  const std::string address = t.LocalAddress();
  return way == Way::kUnix ? address : "elsewhere" + address.substr(address.find('|'));
}

struct Mesh {
  std::vector<std::unique_ptr<DirectTransport>> ends;

  Mesh(int size, Way way) {
    for (int i = 0; i < size; ++i) ends.push_back(Make(i, size));
    for (int i = 0; i < size; ++i) {
      for (int j = 0; j < size; ++j) {
        if (i == j) continue;
        EXPECT_TRUE(ends[i]->AddPeer(j, AddressOf(*ends[j], way)).ok());
      }
    }
  }
  // Polls everybody until `done` or a limit; true if done.
  template <typename Done, typename Handler>
  bool Run(Handler handler, Done done, TimeNs limit = 20 * kSecond) {
    const TimeNs end = MonotonicNow() + limit;
    while (!done()) {
      size_t frames = 0;
      for (auto& e : ends) {
        if (!e) continue;
        DirectTransport* self = e.get();
        frames += e->Poll([&](int peer, Bytes frame) { handler(self, peer, frame); });
      }
      if (frames == 0) usleep(20);
      if (MonotonicNow() > end) return false;
    }
    return true;
  }
};

std::vector<std::byte> Text(const std::string& text) {
  const auto* p = reinterpret_cast<const std::byte*>(text.data());
  return {p, p + text.size()};
}
std::string TextOf(Bytes frame) { return {reinterpret_cast<const char*>(frame.data()), frame.size()}; }

class Direct : public ::testing::TestWithParam<Way> {};

TEST_P(Direct, EverybodyConnectsToEverybodyAtOnceAndNothingIsLostOrReordered) {
  constexpr int kEnds = 5;
  constexpr uint64_t kFrames = 150;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Mesh mesh(kEnds, GetParam());
    std::mt19937_64 random(seed);
    std::map<std::pair<int, int>, uint64_t> sent, received;
    uint64_t bad = 0;
    for (uint64_t n = 0; n < kFrames; ++n) {
      for (int i = 0; i < kEnds; ++i) {
        const int j = static_cast<int>(random() % kEnds);
        if (i == j) continue;
        const size_t size = RandomSize(&random);
        mesh.ends[i]->Send(j, MakeFrame(sent[{i, j}]++, size, &random));
        if (random() % 4 == 0) {
          mesh.ends[i]->Poll([&](int peer, Bytes frame) {
            bad += !CheckFrame(frame, received[{peer, i}]++);
          });
        }
      }
    }
    const auto take = [&](DirectTransport* self, int peer, Bytes frame) {
      bad += !CheckFrame(frame, received[{peer, self->rank()}]++);
    };
    EXPECT_TRUE(mesh.Run(take, [&] { return received == sent; }));
    EXPECT_EQ(bad, 0u);
    for (auto& e : mesh.ends) {
      EXPECT_THAT(e->TakeClosedPeers(), IsEmpty());
      EXPECT_EQ(e->refused(), 0u);
    }
  }
}

TEST_P(Direct, ASlowReceiverDoesNotBlockTheSender) {
  Mesh mesh(2, GetParam());
  std::mt19937_64 random(3);
  constexpr uint64_t kFrames = 200;
  uint64_t next = 0, bad = 0;
  const auto take = [&](DirectTransport*, int, Bytes frame) { bad += !CheckFrame(frame, next++); };
  mesh.ends[0]->Send(1, MakeFrame(0, 10, &random));
  ASSERT_TRUE(mesh.Run(take, [&] { return next == 1; }));
  for (uint64_t i = 1; i < kFrames; ++i) mesh.ends[0]->Send(1, MakeFrame(i, kMaxFrameBytes, &random));
  EXPECT_GT(mesh.ends[0]->InFlight(1), 20u * kMaxFrameBytes);
  EXPECT_TRUE(mesh.Run(take, [&] { return next == kFrames; }));
  EXPECT_EQ(mesh.ends[0]->InFlight(1), 0u);
  EXPECT_EQ(bad, 0u);
}

TEST_P(Direct, LastFramesArriveBeforeTheClose) {
  Mesh mesh(2, GetParam());
  std::mt19937_64 random(4);
  for (uint64_t i = 0; i < 30; ++i) mesh.ends[0]->Send(1, MakeFrame(i, 100000, &random));
  mesh.ends[1]->Send(0, Text("unread by the other, who leaves"));
  uint64_t next = 0, bad = 0;
  const auto take = [&](DirectTransport* self, int, Bytes frame) {
    if (self->rank() == 1) bad += !CheckFrame(frame, next++);
  };
  ASSERT_TRUE(mesh.Run(take, [&] { return next > 0 && mesh.ends[0]->InFlight(1) == 0; }));
  mesh.ends[1]->Send(0, Text("this too"));
  mesh.ends[0]->Shutdown(true);
  mesh.ends[0].reset();
  EXPECT_TRUE(mesh.Run(take, [&] { return next == 30; }));
  EXPECT_EQ(bad, 0u);
  std::vector<int> closed;
  EXPECT_TRUE(mesh.Run(take, [&] {
    for (int p : mesh.ends[1]->TakeClosedPeers()) closed.push_back(p);
    return !closed.empty();
  }));
  EXPECT_THAT(closed, ElementsAre(0));
  mesh.ends[1]->Send(0, Text("into the void"));
  EXPECT_EQ(mesh.ends[1]->InFlight(0), 0u);
}

TEST_P(Direct, ADroppedPeerIsNotHeardAndNotSpokenTo) {
  Mesh mesh(3, GetParam());
  std::vector<std::string> heard;
  const auto take = [&](DirectTransport* self, int peer, Bytes frame) {
    if (self->rank() == 0) heard.push_back(std::to_string(peer) + TextOf(frame));
  };
  mesh.ends[1]->Send(0, Text("a"));
  ASSERT_TRUE(mesh.Run(take, [&] { return heard.size() == 1; }));
  mesh.ends[1]->Send(0, Text("b"));
  mesh.ends[0]->DropPeer(1);
  mesh.ends[1]->Send(0, Text("c"));
  mesh.ends[2]->Send(0, Text("d"));
  ASSERT_TRUE(mesh.Run(take, [&] { return heard.size() == 2; }));
  EXPECT_THAT(heard, ElementsAre("1a", "2d"));
  EXPECT_THAT(mesh.ends[0]->TakeClosedPeers(), IsEmpty());  // it was our own doing
  mesh.ends[0]->Send(1, Text("e"));
  EXPECT_EQ(mesh.ends[0]->InFlight(1), 0u);
}

TEST_P(Direct, AHandlerMayDropThePeerItHearsAndAnswerOthers) {
  Mesh mesh(3, GetParam());
  int from1 = 0, at2 = 0;
  for (int i = 0; i < 10; ++i) mesh.ends[1]->Send(0, Text("x"));
  const auto take = [&](DirectTransport* self, int peer, Bytes) {
    if (self->rank() == 2) ++at2;
    if (self->rank() != 0) return;
    from1 += peer == 1;
    self->DropPeer(1);
    self->Send(2, Text("dropped"));
  };
  EXPECT_TRUE(mesh.Run(take, [&] { return at2 == 1; }));
  EXPECT_EQ(from1, 1);
}

TEST_P(Direct, AWrongSecretGetsNowhere) {
  auto right = Make(0, 2);
  RunSecret other = kSecret;
  other[7] ^= 1;
  auto wrong = Make(1, 2, other);
  ASSERT_TRUE(wrong->AddPeer(0, AddressOf(*right, GetParam())).ok());
  wrong->Send(0, Text("let me in"));
  size_t frames = 0;
  std::vector<int> closed;
  for (const TimeNs end = MonotonicNow() + 10 * kSecond; MonotonicNow() < end && closed.empty(); usleep(50)) {
    frames += right->Poll([](int, Bytes) {});
    wrong->Poll([](int, Bytes) {});
    closed = wrong->TakeClosedPeers();
  }
  EXPECT_THAT(closed, ElementsAre(0));
  for (int i = 0; i < 100; ++i, usleep(50)) frames += right->Poll([](int, Bytes) {});
  EXPECT_EQ(frames, 0u);
  EXPECT_EQ(right->refused(), 1u);
  EXPECT_THAT(right->TakeClosedPeers(), IsEmpty());
}

TEST_P(Direct, AJoinerThatNobodyAddedConnectsByItself) {
  Mesh mesh(2, GetParam());
  auto joiner = Make(7, 2);
  ASSERT_TRUE(joiner->AddPeer(0, AddressOf(*mesh.ends[0], GetParam())).ok());
  joiner->Send(0, Text("hello"));
  mesh.ends.push_back(std::move(joiner));
  std::string answer;
  const auto take = [&](DirectTransport* self, int peer, Bytes frame) {
    if (self->rank() == 7) answer = TextOf(frame);
    if (self->rank() == 0) self->Send(peer, Text("welcome " + std::to_string(peer)));
  };
  EXPECT_TRUE(mesh.Run(take, [&] { return !answer.empty(); }));
  EXPECT_EQ(answer, "welcome 7");
  EXPECT_EQ(mesh.ends[0]->size(), 8);
}

TEST_P(Direct, SleepsUntilThereIsWork) {
  Mesh mesh(2, GetParam());
  int got = 0;
  const auto count = [&](DirectTransport*, int, Bytes) { ++got; };
  mesh.ends[0]->Send(1, Text("1"));
  ASSERT_TRUE(mesh.Run(count, [&] { return got == 1; }));
  ASSERT_TRUE(mesh.Run(count, [&] { return mesh.ends[0]->Arm() && mesh.ends[1]->Arm(); }));
  epoll_event event;
  const UniqueFd epoll(NestedEpoll(mesh.ends[1].get()));
  EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 50), 0);
  mesh.ends[0]->Send(1, Text("2"));
  EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 5000), 1);
  mesh.ends[1]->Poll([&](int, Bytes) { ++got; });
  EXPECT_EQ(got, 2);
}

INSTANTIATE_TEST_SUITE_P(Ways, Direct, ::testing::Values(Way::kUnix, Way::kTcp),
                         [](const auto& way) { return way.param == Way::kUnix ? "Unix" : "Tcp"; });

// ---- clients that do not belong ---------------------------------------------------------------------------

UniqueFd RawClient(const DirectTransport& to) {
  Endpoint endpoint;
  EXPECT_TRUE(Endpoint::Parse(to.LocalAddress(), &endpoint));
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

// Polls until the transport has refused `count` connections; the time that took.
TimeNs UntilRefused(DirectTransport* t, uint64_t count) {
  const TimeNs begin = MonotonicNow();
  while (t->refused() < count && MonotonicNow() < begin + 10 * kSecond) {
    t->Poll([](int, Bytes) { ADD_FAILURE() << "a stranger's frame was delivered"; });
    usleep(500);
  }
  EXPECT_EQ(t->refused(), count);
  return MonotonicNow() - begin;
}

TEST(DirectStranger, GarbageIsRefusedAtOnce) {
  auto t = Make(0, 1);
  const UniqueFd client = RawClient(*t);
  const std::string garbage(4096, 'G');
  ASSERT_EQ(write(client.get(), garbage.data(), garbage.size()), static_cast<ssize_t>(garbage.size()));
  EXPECT_LT(UntilRefused(t.get(), 1), kSecond);
}

TEST(DirectStranger, TheSilentAndTheHalfOpenAreRefusedInTime) {
  auto t = Make(0, 1);
  const UniqueFd silent = RawClient(*t), half = RawClient(*t);
  const Hello hello{kHelloMagic, kTransportProtocol, 1, 0, {}};
  ASSERT_EQ(write(half.get(), &hello, sizeof(hello) - 1), static_cast<ssize_t>(sizeof(hello) - 1));
  EXPECT_LT(UntilRefused(t.get(), 2), 6 * kSecond);
}

// A head that gives numbers from 3 on, and ends that ask for one.
struct Newcomers {
  std::unique_ptr<DirectTransport> head;
  std::vector<std::unique_ptr<DirectTransport>> ends;

  explicit Newcomers(int first) {
    DirectOptions options{0, 1, kSecret, ""};
    options.first_new_peer = first;
    EXPECT_TRUE(MakeDirectTransport(options, &head).ok());
  }
  DirectTransport* Add(const RunSecret& secret = kSecret) {
    DirectOptions options{kUnnumbered, 1, secret, ""};
    options.listen = false;
    EXPECT_TRUE(MakeDirectTransport(options, &ends.emplace_back()).ok());
    EXPECT_TRUE(ends.back()->AddPeer(0, head->LocalAddress()).ok());
    ends.back()->Send(0, Text("here"));
    return ends.back().get();
  }
  std::map<int, std::string> Poll(TimeNs how_long) {
    std::map<int, std::string> heard;
    for (const TimeNs end = MonotonicNow() + how_long; MonotonicNow() < end; usleep(50)) {
      head->Poll([&](int peer, Bytes frame) { heard[peer] += TextOf(frame); });
      for (auto& e : ends) e->Poll([](int, Bytes) {});
    }
    return heard;
  }
};

TEST(DirectNewcomer, IsNumberedByWhomItConnectsTo) {
  Newcomers all(3);
  DirectTransport* first = all.Add();
  all.Poll(100 * kMillisecond);
  DirectTransport* second = all.Add();
  all.Poll(100 * kMillisecond);
  EXPECT_EQ(first->rank(), 3);
  EXPECT_EQ(second->rank(), 4);
  all.head->Send(4, Text("you"));
  std::string heard;
  for (const TimeNs end = MonotonicNow() + 5 * kSecond; heard.empty() && MonotonicNow() < end;) {
    all.head->Poll([](int, Bytes) {});
    second->Poll([&](int peer, Bytes frame) { heard = std::to_string(peer) + TextOf(frame); });
  }
  EXPECT_EQ(heard, "0you");
  all.ends.erase(all.ends.begin());  // its number is not given again
  all.Poll(100 * kMillisecond);
  EXPECT_THAT(all.head->TakeClosedPeers(), ElementsAre(3));
  DirectTransport* third = all.Add();
  all.Poll(100 * kMillisecond);
  EXPECT_EQ(third->rank(), 5);
}

TEST(DirectNewcomer, WithoutTheSecretIsRefusedAndTakesNoNumber) {
  Newcomers all(3);
  RunSecret wrong = kSecret;
  wrong[15] ^= 1;
  DirectTransport* stranger = all.Add(wrong);
  EXPECT_THAT(all.Poll(200 * kMillisecond), IsEmpty());
  EXPECT_THAT(stranger->TakeClosedPeers(), ElementsAre(0));
  EXPECT_EQ(all.head->refused(), 1U);
  DirectTransport* friendly = all.Add();
  EXPECT_THAT(all.Poll(200 * kMillisecond), ElementsAre(std::pair<const int, std::string>(3, "here")));
  EXPECT_EQ(friendly->rank(), 3);
}

TEST(DirectNewcomer, IsRefusedWhereNobodyMayJoin) {
  Newcomers all(-1);
  DirectTransport* end = all.Add();
  EXPECT_THAT(all.Poll(200 * kMillisecond), IsEmpty());
  EXPECT_THAT(end->TakeClosedPeers(), ElementsAre(0));
}

TEST(DirectStranger, AReplayedProofIsWorthNothing) {
  auto t = Make(0, 1);
  const UniqueFd client = RawClient(*t);
  const Hello hello{kHelloMagic, kTransportProtocol, 1, 0, {}};
  Nonce old_nonce{};
  old_nonce[0] = 42;
  ASSERT_EQ(write(client.get(), &hello, sizeof(hello)), static_cast<ssize_t>(sizeof(hello)));
  const ProofBytes proof = Prove(kSecret, Prover::kConnector, hello, old_nonce, 1);
  ASSERT_EQ(write(client.get(), &proof, sizeof(proof)), static_cast<ssize_t>(sizeof(proof)));
  EXPECT_LT(UntilRefused(t.get(), 1), kSecond);
  EXPECT_EQ(t->size(), 1);
}

TEST(DirectStranger, TheAcceptorsProofCannotBeMirroredBack) {
  const Hello hello{kHelloMagic, kTransportProtocol, 1, 0, {}};
  EXPECT_NE(Prove(kSecret, Prover::kAcceptor, hello, {}, 1),
            Prove(kSecret, Prover::kConnector, hello, {}, 1));
}

TEST(DirectStranger, FramesOfImpossibleLengthCloseThePeer) {
  auto t = Make(0, 1);
  const UniqueFd client = RawClient(*t);
  const Hello hello{kHelloMagic, kTransportProtocol, 1, 0, {}};
  ASSERT_EQ(write(client.get(), &hello, sizeof(hello)), static_cast<ssize_t>(sizeof(hello)));
  Welcome welcome{};
  while (recv(client.get(), &welcome, sizeof(welcome), MSG_DONTWAIT) != sizeof(welcome)) {
    t->Poll([](int, Bytes) {});
  }
  const ProofBytes proof = Prove(kSecret, Prover::kConnector, hello, welcome.nonce, welcome.peer);
  ASSERT_EQ(write(client.get(), &proof, sizeof(proof)), static_cast<ssize_t>(sizeof(proof)));
  const uint32_t length = kMaxFrameBytes + 1;
  ASSERT_EQ(write(client.get(), &length, sizeof(length)), static_cast<ssize_t>(sizeof(length)));
  std::vector<int> closed;
  for (const TimeNs end = MonotonicNow() + 5 * kSecond; closed.empty() && MonotonicNow() < end; usleep(100)) {
    t->Poll([](int, Bytes) { ADD_FAILURE(); });
    closed = t->TakeClosedPeers();
  }
  EXPECT_THAT(closed, ElementsAre(1));
}

TEST(DirectEndpoint, MalformedAddressesAreRefused) {
  auto t = Make(0, 1);
  for (const char* text :
       {"", "x", "a|b", "a|b|c", "a|b|1.2.3.4:0", "a|b|1.2.3.4:99999", "|b|", "a|b|host:80"}) {
    EXPECT_FALSE(t->AddPeer(1, text).ok()) << text;
  }
  EXPECT_FALSE(t->AddPeer(0, t->LocalAddress()).ok()) << "itself";
}

TEST(DirectEndpoint, ADeadAddressIsReportedAsClosed) {
  auto t = Make(0, 2);
  std::string address;
  {
    auto gone = Make(1, 2);
    address = gone->LocalAddress();
  }
  for (const std::string& a : {address, "elsewhere" + address.substr(address.find('|'))}) {
    auto fresh = Make(0, 2);
    ASSERT_TRUE(fresh->AddPeer(1, a).ok());
    fresh->Send(1, Text("anybody?"));
    std::vector<int> closed;
    for (const TimeNs end = MonotonicNow() + 5 * kSecond; closed.empty() && MonotonicNow() < end;
         usleep(100)) {
      fresh->Poll([](int, Bytes) {});
      closed = fresh->TakeClosedPeers();
    }
    EXPECT_THAT(closed, ElementsAre(1));
  }
}

// The published vector: key 00..0f, input 00..0e.
TEST(SipHash, MatchesItsReference) {
  std::array<uint8_t, 16> key;
  uint8_t input[15];
  for (uint8_t i = 0; i < 16; ++i) key[i] = i;
  for (uint8_t i = 0; i < 15; ++i) input[i] = i;
  EXPECT_EQ(SipHash24(key, input, sizeof(input)), 0xa129ca6149be45e5ULL);
}

}  // namespace
}  // namespace rmpi
