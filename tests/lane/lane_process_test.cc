// SPDX-License-Identifier: Apache-2.0
// Processes as peers: killed at any instruction, sleeping on each other, many at once.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <functional>
#include <random>

#include "runtime/lane/claim_writer.h"
#include "tests/lane/lane_test_util.h"

namespace rmpi::lane {
namespace {

pid_t Fork(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(100);
    _exit(body());
  }
  return pid;
}

int StatusOf(pid_t pid) {
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

// A worker that claims, answers and retires as fast as it can, until it is killed.
int Produce(TestBoard* t, Peer self, Peer to, uint32_t seed) {
  auto port = t->MakePort(self);
  std::mt19937 random(seed);
  ClaimWriter claims(t->board.get(), self.slot);
  std::vector<uint32_t> answered;
  uint64_t claimed = 0;
  for (;;) {
    for (unsigned burst = 1 + random() % 20; burst > 0; --burst) {
      Claim claim;
      claim.task.owner = {1, to.slot, 0, to.generation};
      claim.task.sequence = claimed;
      const auto entry = claims.Put(claim);
      if (!entry) break;
      const std::string text = Pattern(claimed, random() % 50 ? random() % 200 : random() % 5000);
      const Bytes parts[] = {AsBytes(&claimed, sizeof(claimed)), AsBytes(text)};
      if (!port->Send(to.slot, to.generation, parts)) return 1;
      ++claimed;
      answered.push_back(*entry);
    }
    port->Flush();
    port->Drain([](uint16_t, uint32_t, Bytes) {}, 10);
    if (port->total_backlog_bytes() == 0) {
      for (uint32_t entry : answered) claims.Drop(entry);
      answered.clear();
    } else {
      port->Sleep(Sleeper::kMain, MonotonicNow() + kSecond);
    }
  }
}

TEST(LaneProcessTest, KilledProducersTearNothing) {
  constexpr int kKills = 300;
  TestBoard t({.slots = 8, .ring_bytes = 8192, .max_lanes = 64});
  auto raylet = t.MakePort({kRayletSlot, 1});
  const Peer r = t.Open();
  auto receiver = t.MakePort(r);
  std::mt19937 random(42);
  uint64_t total = 0;
  for (int kill_number = 0; kill_number < kKills; ++kill_number) {
    const Peer w = t.Open();
    const pid_t pid = Fork([&] { return Produce(&t, w, r, static_cast<uint32_t>(kill_number)); });
    uint64_t next = 0;
    const auto check = [&](uint16_t src, uint32_t generation, Bytes m) {
      ASSERT_EQ(src, w.slot);
      ASSERT_EQ(generation, w.generation);
      uint64_t n;
      ASSERT_GE(m.size(), sizeof(n));
      std::memcpy(&n, m.data(), sizeof(n));
      ASSERT_EQ(n, next++);
      ASSERT_EQ(AsString(m.subspan(sizeof(n))), Pattern(n, m.size() - sizeof(n)));
      if (n % 8 == 0) SendString(receiver.get(), src, generation, "go on");
    };
    const TimeNs until = MonotonicNow() + static_cast<TimeNs>(random() % 3000) * kMicrosecond;
    do {
      receiver->Drain(check, 1 + random() % 50);
      receiver->Flush();
      if (random() % 4 == 0) receiver->Sleep(Sleeper::kMain, until);
    } while (MonotonicNow() < until);
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    ASSERT_TRUE(WIFSIGNALED(StatusOf(pid)));
    t.board->MarkDead(w.slot);
    while (!receiver->DrainedFrom(w.slot, w.generation)) receiver->Drain(check, 1000);
    ASSERT_FALSE(receiver->TakeCorruptPeer()) << "kill " << kill_number;
    // What the worker called answered has arrived; what it may have started is in the table.
    std::vector<Claim> claims = t.board->ReadClaims(w.slot);
    std::sort(claims.begin(), claims.end(),
              [](const Claim& a, const Claim& b) { return a.task.sequence < b.task.sequence; });
    for (size_t i = 0; i < claims.size(); ++i) {
      ASSERT_EQ(claims[i].task.sequence, claims[0].task.sequence + i);
    }
    if (!claims.empty()) {
      ASSERT_GE(next, claims.front().task.sequence) << "kill " << kill_number;
      ASSERT_LE(next, claims.back().task.sequence + 1) << "an answer without a claim, kill " << kill_number;
    }
    receiver->ForgetPeer(w.slot, w.generation);
    raylet->ForgetPeer(w.slot, w.generation);
    t.board->CloseSlot(w.slot);
    ASSERT_EQ(t.board->state(w.slot), SlotState::kFree) << "kill " << kill_number;
    ASSERT_EQ(t.board->lanes_in_use(), 0u);
    total += next;
    ASSERT_FALSE(HasFatalFailure());
  }
  EXPECT_GT(total, 1000u);
  RecordProperty("messages", std::to_string(total));
}

// Both sides go to sleep for every message: no wake-up is ever lost.
TEST(LaneProcessTest, SleepingPingPong) {
  constexpr uint64_t kTrips = 3000;
  TestBoard t;
  const Peer a = t.Open(), b = t.Open();
  const auto play = [&](Peer self, Peer other, bool first) {
    auto port = t.MakePort(self);
    uint64_t got = 0, sleeps = 0;
    if (first) SendString(port.get(), other.slot, other.generation, "ball");
    port->Flush();
    while (got < kTrips) {
      port->Drain(
          [&](uint16_t src, uint32_t generation, Bytes) {
            ++got;
            if (!first || got < kTrips) SendString(port.get(), src, generation, "ball");
          },
          1);
      port->Flush();
      if (got == kTrips) break;
      if (port->Sleep(Sleeper::kMain, MonotonicNow() + 20 * kSecond) == Wake::kTimeout) return 1;
      ++sleeps;
    }
    return sleeps > kTrips / 4 ? 0 : 2;
  };
  const pid_t pid = Fork([&] { return play(b, a, false); });
  EXPECT_EQ(play(a, b, true), 0);
  EXPECT_EQ(StatusOf(pid), 0);
}

// 70 processes on a board with a summary above its dirty masks, everybody asleep most of the time.
TEST(LaneProcessTest, SeventyProcesses) {
  constexpr uint64_t kEach = 200;
  TestBoard t({.slots = 1000, .ring_bytes = 4096, .max_lanes = 512});
  for (int i = 0; i < 900; ++i) t.Open();  // the last groups
  const Peer r = t.Open();
  auto receiver = t.MakePort(r);
  std::vector<pid_t> pids;
  std::vector<uint64_t> next(t.board->slots(), 0);
  for (int i = 0; i < 70; ++i) {
    const Peer p = t.Open();
    pids.push_back(Fork([&t, p, r] {
      auto port = t.MakePort(p);
      uint64_t answered = 0;
      for (uint64_t n = 0; n < kEach; ++n) {
        const std::string text(n % 100, 'p');
        const Bytes parts[] = {AsBytes(&n, sizeof(n)), AsBytes(text)};
        if (!port->Send(r.slot, r.generation, parts)) return 1;
        if (n % 10 != 9) continue;
        port->Flush();
        while (answered < n / 10) {
          answered += port->Drain([](uint16_t, uint32_t, Bytes) {}, 10);
          if (answered < n / 10 &&
              port->Sleep(Sleeper::kMain, MonotonicNow() + 50 * kSecond) == Wake::kTimeout)
            return 2;
        }
      }
      return 0;
    }));
  }
  uint64_t total = 0;
  while (total < 70 * kEach) {
    total += receiver->Drain(
        [&](uint16_t src, uint32_t generation, Bytes m) {
          uint64_t n;
          ASSERT_GE(m.size(), sizeof(n));
          std::memcpy(&n, m.data(), sizeof(n));
          ASSERT_EQ(n, next[src]++);
          if (n % 10 == 9) SendString(receiver.get(), src, generation, "next");
        },
        1000);
    receiver->Flush();
    if (total < 70 * kEach) {
      ASSERT_NE(receiver->Sleep(Sleeper::kMain, MonotonicNow() + 50 * kSecond), Wake::kTimeout) << total;
    }
  }
  for (const pid_t pid : pids) EXPECT_EQ(StatusOf(pid), 0);
}

}  // namespace
}  // namespace rmpi::lane
