// SPDX-License-Identifier: Apache-2.0
// Threads as peers, each with a port of its own, on one mapping: what a thread sanitizer can see. 80 senders
// need more than one word of dirty bits, 1000 slots a summary above the words; small rings make everybody
// wait for room; everybody sleeps.
#include <random>
#include <thread>

#include "tests/lane/lane_test_util.h"

namespace rmpi::lane {
namespace {

constexpr uint64_t kMessages = 150;

void SendAll(TestBoard* t, Peer self, Peer to, uint32_t seed) {
  auto port = t->MakePort(self);
  std::mt19937 random(seed);
  uint64_t next = 0;
  bool acknowledged = false;
  const TimeNs end = MonotonicNow() + 100 * kSecond;
  while (!acknowledged && MonotonicNow() < end) {
    for (unsigned burst = random() % 40; burst > 0 && next < kMessages; --burst, ++next) {
      const size_t size = random() % 20 ? random() % 120 : random() % 3000;
      const std::string text = Pattern(uint64_t{self.slot} << 32 | next, size);
      const Bytes parts[] = {AsBytes(&next, sizeof(next)), AsBytes(text)};
      ASSERT_TRUE(port->Send(to.slot, to.generation, parts));
    }
    port->Flush();
    port->Drain([&](uint16_t src, uint32_t, Bytes) { acknowledged |= src == to.slot; }, 10);
    if (next == kMessages && !acknowledged) port->Sleep(Sleeper::kMain, MonotonicNow() + 10 * kSecond);
  }
  EXPECT_TRUE(acknowledged) << "slot " << self.slot << ", backlog " << port->total_backlog_bytes();
}

void EightySenders(uint16_t slots) {
  constexpr size_t kSenders = 80;
  TestBoard t({.slots = slots, .ring_bytes = 4096, .max_lanes = 400});
  for (int i = 0; i < slots - 90; ++i) t.Open();
  const Peer r = t.Open();
  auto receiver = t.MakePort(r);
  std::vector<std::thread> threads;
  std::vector<uint64_t> next(t.board->slots(), 0);
  for (uint32_t i = 0; i < kSenders; ++i) {
    const Peer s = t.Open();
    threads.emplace_back([&t, s, r, i] { SendAll(&t, s, r, i); });
  }
  size_t finished = 0;
  const TimeNs end = MonotonicNow() + 100 * kSecond;
  while (finished < kSenders && MonotonicNow() < end) {
    receiver->Drain(
        [&](uint16_t src, uint32_t generation, Bytes m) {
          uint64_t n;
          ASSERT_GE(m.size(), sizeof(n));
          std::memcpy(&n, m.data(), sizeof(n));
          ASSERT_EQ(n, next[src]++);
          ASSERT_EQ(AsString(m.subspan(sizeof(n))), Pattern(uint64_t{src} << 32 | n, m.size() - sizeof(n)));
          if (n + 1 < kMessages) return;
          ++finished;
          ASSERT_TRUE(SendString(receiver.get(), src, generation, "all there"));
        },
        100);
    receiver->Flush();
    if (finished < kSenders && !receiver->Spin(20 * kMicrosecond)) {
      receiver->Sleep(Sleeper::kMain, MonotonicNow() + 10 * kSecond);
    }
  }
  EXPECT_EQ(finished, kSenders);
  for (auto& thread : threads) thread.join();
}

TEST(LaneThreadTest, EightySendersOneReceiver) { EightySenders(100); }
TEST(LaneThreadTest, EightySendersOneReceiverWithSummary) { EightySenders(1000); }

// While workers come and go in one thread each, the raylet's thread opens, marks and closes their slots.
TEST(LaneThreadTest, WorkersComeAndGo) {
  TestBoard t({.slots = 8, .ring_bytes = 4096, .max_lanes = 64});
  auto raylet = t.MakePort({kRayletSlot, 1});
  std::atomic<uint64_t> served{0};
  for (int generation = 0; generation < 60; ++generation) {
    std::vector<Peer> peers;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) peers.push_back(t.Open());
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        auto port = t.MakePort(peers[static_cast<size_t>(i)]);
        for (int k = 0; k < 20; ++k) {
          for (const Peer& p : peers) SendString(port.get(), p.slot, p.generation, std::string(200, 'w'));
          SendString(port.get(), kRayletSlot, 1, std::string(100, 'r'));
          port->Flush();
          served += port->Drain([](uint16_t, uint32_t, Bytes) {}, 50);
        }
      });
    }
    uint64_t to_raylet = 0;
    const auto read = [&] { return raylet->Drain([](uint16_t, uint32_t, Bytes) {}, 50); };
    const TimeNs end = MonotonicNow() + 20 * kSecond;
    while (to_raylet < 60 && MonotonicNow() < end) to_raylet += read();
    for (auto& thread : threads) thread.join();  // a process that exits without a word
    ASSERT_EQ(to_raylet, 60u);
    for (const Peer& p : peers) t.board->MarkDead(p.slot);
    read();
    for (const Peer& p : peers) {
      ASSERT_TRUE(raylet->DrainedFrom(p.slot, p.generation));
      raylet->ForgetPeer(p.slot, p.generation);
      t.board->CloseSlot(p.slot);
    }
    ASSERT_EQ(t.board->lanes_in_use(), 0u);
  }
  EXPECT_GT(served, 0u);
}

}  // namespace
}  // namespace rmpi::lane
