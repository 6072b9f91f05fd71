// SPDX-License-Identifier: Apache-2.0
// Order, wrap, overflow, fragmentation and fairness, against a model, in one thread.
#include <algorithm>
#include <deque>
#include <random>

#include "tests/lane/lane_test_util.h"

namespace rmpi::lane {
namespace {

constexpr BoardOptions kSmall{.slots = 8, .ring_bytes = 4096, .max_lanes = 64};

// Sends, flushes and drains at random; every message arrives once, whole, in order.
void AgainstModel(uint32_t seed, size_t max_size, int rounds) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  TestBoard t(kSmall);
  const Peer a = t.Open(), b = t.Open();
  auto sender = t.MakePort(a), receiver = t.MakePort(b);
  std::deque<std::pair<uint64_t, size_t>> model;
  uint64_t sent = 0, got = 0;
  const auto check = [&](uint16_t src, uint32_t generation, Bytes message) {
    ASSERT_EQ(src, a.slot);
    ASSERT_EQ(generation, a.generation);
    ASSERT_FALSE(model.empty());
    const auto [n, size] = model.front();
    model.pop_front();
    ASSERT_EQ(AsString(message), Pattern(n, size)) << "message " << n;
    ++got;
  };
  for (int i = 0; i < rounds; ++i) {
    for (unsigned k = random() % 8; k > 0; --k) {
      const size_t size = random() % 4 ? random() % 200 : random() % max_size;
      const std::string text = Pattern(sent, size);
      const size_t cut = size ? random() % size : 0;
      const Bytes parts[] = {AsBytes(text.data(), cut), AsBytes(text.data() + cut, size - cut)};
      ASSERT_TRUE(sender->Send(b.slot, b.generation, parts));
      model.emplace_back(sent++, size);
    }
    if (random() % 2) sender->Flush();
    if (random() % 3 == 0) sender->Drain([](uint16_t, uint32_t, Bytes) { FAIL(); }, 10);
    if (random() % 2) receiver->Drain(check, random() % 10);
  }
  // Nothing is stuck: each side acts only when it is told to.
  for (int i = 0; i < 1000000 && !model.empty(); ++i) {
    sender->Flush();
    receiver->Drain(check, 5);
  }
  EXPECT_EQ(got, sent);
  EXPECT_EQ(sender->total_backlog_bytes(), 0u);
  EXPECT_EQ(receiver->Drain(check, 1), 0u);
  EXPECT_FALSE(receiver->HasMail());
  EXPECT_FALSE(receiver->TakeCorruptPeer());
}

TEST(LaneOrderTest, SmallMessagesMatchModel) {
  for (uint32_t seed = 1; seed <= 20; ++seed) AgainstModel(seed, 300, 2000);
}

TEST(LaneOrderTest, MixedWithFragmentsMatchModel) {
  for (uint32_t seed = 1; seed <= 20; ++seed) AgainstModel(seed, 20000, 500);
}

TEST(LaneOrderTest, OverflowLogMatchesModel) {
  std::mt19937 random(3);
  OverflowLog log;
  std::deque<std::string> model;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2) {
      const std::string text =
          Pattern(static_cast<uint64_t>(i), random() % 10 ? random() % 300 : random() % 9000);
      std::memcpy(log.Append(text.size()), text.data(), text.size());
      model.push_back(text);
    } else if (!model.empty()) {
      ASSERT_EQ(AsString(log.Front()), model.front());
      log.Pop();
      model.pop_front();
    }
    ASSERT_EQ(log.empty(), model.empty());
    ASSERT_EQ(log.bytes() == 0, model.empty());
  }
}

TEST(LaneOrderTest, InvisibleUntilFlush) {
  TestBoard t(kSmall);
  const Peer a = t.Open(), b = t.Open();
  auto sender = t.MakePort(a), receiver = t.MakePort(b);
  ASSERT_TRUE(SendString(sender.get(), b.slot, b.generation, "hello"));
  EXPECT_FALSE(receiver->HasMail());
  sender->Flush();
  EXPECT_TRUE(receiver->HasMail());
  std::string got;
  EXPECT_EQ(receiver->Drain([&](uint16_t, uint32_t, Bytes m) { got = AsString(m); }, 10), 1u);
  EXPECT_EQ(got, "hello");
}

TEST(LaneOrderTest, ReserveInPlaceIsAlignedAndOrdered) {
  TestBoard t(kSmall);
  const Peer a = t.Open(), b = t.Open();
  auto sender = t.MakePort(a), receiver = t.MakePort(b);
  for (uint64_t i = 0; i < 1000; ++i) {  // 16 KiB of records through 4 KiB: ring first, then the log
    std::byte* at = sender->Reserve(b.slot, b.generation, sizeof(i));
    ASSERT_NE(at, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(at) % 8, 0u);
    std::memcpy(at, &i, sizeof(i));
    sender->Commit();
  }
  EXPECT_GT(sender->backlog_bytes(b.slot), 0u);
  EXPECT_EQ(sender->backlog_bytes(b.slot), sender->total_backlog_bytes());
  uint64_t next = 0;
  while (next < 1000) {
    sender->Flush();
    ASSERT_GT(receiver->Drain(
                  [&](uint16_t, uint32_t, Bytes m) {
                    uint64_t i;
                    ASSERT_EQ(m.size(), sizeof(i));
                    std::memcpy(&i, m.data(), sizeof(i));
                    ASSERT_EQ(i, next++);
                  },
                  SIZE_MAX / 2),
              0u);
  }
}

// The receiver makes room and rings; the sender needs nothing but its own Drain to go on.
TEST(LaneOrderTest, RoomWakesTheSender) {
  TestBoard t(kSmall);
  const Peer a = t.Open(), b = t.Open();
  auto sender = t.MakePort(a), receiver = t.MakePort(b);
  for (int i = 0; i < 500; ++i)
    ASSERT_TRUE(SendString(sender.get(), b.slot, b.generation, std::string(100, 'x')));
  sender->Flush();
  size_t got = 0;
  for (int round = 0; round < 100 && got < 500; ++round) {
    got += receiver->Drain([](uint16_t, uint32_t, Bytes) {}, 1000);
    if (got == 500) break;
    ASSERT_TRUE(sender->HasMail()) << "the sender was not told about room after " << got;
    sender->Drain([](uint16_t, uint32_t, Bytes) { FAIL(); }, 1);
  }
  EXPECT_EQ(got, 500u);
}

TEST(LaneOrderTest, LargestMessage) {
  TestBoard t({.slots = 4, .ring_bytes = 64 << 10, .max_lanes = 16});
  const Peer a = t.Open(), b = t.Open();
  auto sender = t.MakePort(a), receiver = t.MakePort(b);
  const std::string big = Pattern(7, size_t{16} << 20);
  ASSERT_TRUE(SendString(sender.get(), b.slot, b.generation, big));
  ASSERT_TRUE(SendString(sender.get(), b.slot, b.generation, "after"));
  std::vector<std::string> got;
  for (int i = 0; i < 5000 && got.size() < 2; ++i) {
    sender->Flush();
    receiver->Drain([&](uint16_t, uint32_t, Bytes m) { got.push_back(AsString(m)); }, 4);
  }
  ASSERT_EQ(got.size(), 2u);
  EXPECT_TRUE(got[0] == big);
  EXPECT_EQ(got[1], "after");
}

TEST(LaneOrderTest, SendToSelf) {
  TestBoard t(kSmall);
  const Peer a = t.Open();
  auto port = t.MakePort(a);
  ASSERT_TRUE(SendString(port.get(), a.slot, a.generation, "me"));
  port->Flush();
  EXPECT_EQ(port->Drain([&](uint16_t src, uint32_t, Bytes) { EXPECT_EQ(src, a.slot); }, 10), 1u);
}

// A sender with a full lane does not hide the others, and replies sent from the handler arrive.
TEST(LaneOrderTest, RoundRobinBetweenSenders) {
  TestBoard t({.slots = 8, .ring_bytes = 64 << 10, .max_lanes = 64});
  const Peer r = t.Open();
  auto receiver = t.MakePort(r);
  std::vector<Peer> peers;
  std::vector<std::unique_ptr<Port>> senders;
  for (int i = 0; i < 3; ++i) {
    peers.push_back(t.Open());
    senders.push_back(t.MakePort(peers.back()));
    for (int k = 0; k < (i == 0 ? 1000 : 1); ++k) SendString(senders.back().get(), r.slot, r.generation, "m");
    senders.back()->Flush();
  }
  std::vector<uint16_t> order;
  receiver->Drain(
      [&](uint16_t src, uint32_t generation, Bytes) {
        order.push_back(src);
        ASSERT_TRUE(SendString(receiver.get(), src, generation, "reply"));
      },
      100);
  receiver->Flush();
  ASSERT_EQ(order.size(), 100u);
  for (int i = 1; i < 3; ++i) {
    const auto at = std::find(order.begin(), order.end(), peers[static_cast<size_t>(i)].slot) - order.begin();
    EXPECT_LT(at, 70) << "sender " << i << " waited for the busy one";
    EXPECT_EQ(senders[static_cast<size_t>(i)]->Drain([](uint16_t, uint32_t, Bytes) {}, 10), 1u);
  }
}

}  // namespace
}  // namespace rmpi::lane
