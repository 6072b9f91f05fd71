// SPDX-License-Identifier: Apache-2.0
// Bells: who is woken, by what, and that nobody sleeps over mail.
#include <signal.h>

#include <thread>

#include "tests/lane/lane_test_util.h"

namespace rmpi::lane {
namespace {

constexpr TimeNs kLong = 20 * kSecond;  // longer than any test may take; reached only by a lost wake-up

struct LaneSleepTest : ::testing::Test {
  TestBoard t{{.slots = 8, .ring_bytes = 4096, .max_lanes = 64}};
  Peer a = t.Open(), b = t.Open();
  std::unique_ptr<Port> sender = t.MakePort(a), receiver = t.MakePort(b);

  void Post() {
    ASSERT_TRUE(SendString(sender.get(), b.slot, b.generation, "m"));
    sender->Flush();
  }
  size_t Read() {
    return receiver->Drain([](uint16_t, uint32_t, Bytes) {}, 100);
  }
  // Until the receiver has said that `who` sleeps; a thread is then in, or just before, its futex wait.
  void AwaitAsleep(Sleeper who) {
    const TimeNs end = MonotonicNow() + kLong;
    while (LaneTestAccess::AsleepOf(t.board.get(), b.slot).load() != static_cast<uint32_t>(who)) {
      ASSERT_LT(MonotonicNow(), end);
      std::this_thread::yield();
    }
  }
};

TEST_F(LaneSleepTest, MailThatIsThereEndsTheSleep) {
  Post();
  EXPECT_EQ(receiver->Sleep(Sleeper::kMain, kNever), Wake::kMail);
  EXPECT_EQ(Read(), 1u);
}

TEST_F(LaneSleepTest, Timeout) {
  const TimeNs end = MonotonicNow() + 5 * kMillisecond;
  EXPECT_EQ(receiver->Sleep(Sleeper::kMain, end), Wake::kTimeout);
  EXPECT_GE(MonotonicNow(), end);
  EXPECT_EQ(receiver->Sleep(Sleeper::kBackground, 0), Wake::kTimeout) << "a deadline in the past";
  EXPECT_FALSE(receiver->Spin(100 * kMicrosecond));
}

TEST_F(LaneSleepTest, MailWakes) {
  for (const Sleeper who : {Sleeper::kMain, Sleeper::kBackground}) {
    Wake wake = Wake::kTimeout;
    std::thread thread([&] { wake = receiver->Sleep(who, MonotonicNow() + kLong); });
    AwaitAsleep(who);
    Post();
    thread.join();
    EXPECT_EQ(wake, Wake::kMail);
    EXPECT_EQ(Read(), 1u);
  }
}

TEST_F(LaneSleepTest, KickWakesWithoutMail) {
  Wake wake = Wake::kTimeout;
  std::thread thread([&] { wake = receiver->Sleep(Sleeper::kBackground, MonotonicNow() + kLong); });
  AwaitAsleep(Sleeper::kBackground);
  receiver->Kick(Sleeper::kBackground);
  thread.join();
  EXPECT_EQ(wake, Wake::kKicked);
  receiver->Kick(Sleeper::kMain);  // before the sleep: not lost
  EXPECT_EQ(receiver->Sleep(Sleeper::kMain, MonotonicNow() + kLong), Wake::kKicked);
}

TEST_F(LaneSleepTest, SignalEndsTheSleepEvenWithRestartingHandlers) {
  struct sigaction action {
  }, old;
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
  Wake wake = Wake::kTimeout;
  std::atomic<bool> done{false};
  std::thread thread([&] {
    wake = receiver->Sleep(Sleeper::kMain, kNever);
    done = true;
  });
  AwaitAsleep(Sleeper::kMain);
  while (!done) {  // the first may arrive just before the futex wait
    pthread_kill(thread.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  thread.join();
  EXPECT_EQ(wake, Wake::kSignal);
  sigaction(SIGUSR1, &old, nullptr);
}

// The background thread waits while main drives, takes over when main leaves, and is left alone when main is
// back.
TEST_F(LaneSleepTest, HandoverBetweenMainAndBackground) {
  std::atomic<int> background_wakes{0};
  std::atomic<bool> stop{false};
  std::thread background([&] {
    while (!stop) {
      const Wake wake = receiver->Park(Sleeper::kBackground, MonotonicNow() + kLong);
      if (wake == Wake::kTimeout) break;
      ++background_wakes;
    }
  });
  const auto await_background = [&](int n) {
    const TimeNs end = MonotonicNow() + kLong;
    while (background_wakes < n && MonotonicNow() < end) std::this_thread::yield();
    return background_wakes.load();
  };
  for (int round = 1; round <= 50; ++round) {
    EXPECT_FALSE(receiver->Publish(Sleeper::kBackground));  // main leaves for user code
    Post();
    ASSERT_EQ(await_background(round), round);
    ASSERT_EQ(Read(), 1u);
    receiver->Publish(Sleeper::kAwake);  // main is back, and sleeps itself
    std::thread peer([&] {
      AwaitAsleep(Sleeper::kMain);
      Post();
    });
    ASSERT_EQ(receiver->Sleep(Sleeper::kMain, MonotonicNow() + kLong), Wake::kMail);
    peer.join();
    ASSERT_EQ(Read(), 1u);
    ASSERT_EQ(background_wakes, round) << "main's mail woke the background thread";
  }
  Post();  // while main is awake: no bell
  EXPECT_EQ(background_wakes, 50);
  EXPECT_TRUE(receiver->Publish(Sleeper::kBackground)) << "mail came just before main left";
  EXPECT_EQ(await_background(51), 51);
  stop = true;
  receiver->Kick(Sleeper::kBackground);
  background.join();
}

TEST_F(LaneSleepTest, RayletIsRungThroughItsEventFdOnlyWhenArmed) {
  auto raylet = t.MakePort({kRayletSlot, 1});
  const auto rings = [&] {
    uint64_t n = 0;
    return read(t.event.get(), &n, sizeof(n)) == sizeof(n) ? n : 0;
  };
  const auto post = [&] {
    ASSERT_TRUE(SendString(sender.get(), kRayletSlot, 1, "m"));
    sender->Flush();
  };
  post();
  EXPECT_EQ(rings(), 0u) << "awake";
  EXPECT_TRUE(raylet->Publish(Sleeper::kEventFd)) << "must not sleep on mail";
  EXPECT_EQ(raylet->Drain([](uint16_t, uint32_t, Bytes) {}, 10), 1u);
  EXPECT_FALSE(raylet->Publish(Sleeper::kEventFd));
  post();
  post();
  EXPECT_EQ(rings(), 1u) << "one bell per sleep";
  EXPECT_EQ(raylet->Drain([](uint16_t, uint32_t, Bytes) {}, 10), 2u);
}

// A sender took the bell, and was killed before it rang: the raylet's MarkDead rings.
TEST_F(LaneSleepTest, DeathOfASenderWithTheBellInHand) {
  Post();
  ASSERT_EQ(Read(), 1u);
  Wake wake = Wake::kTimeout;
  std::thread thread([&] { wake = receiver->Sleep(Sleeper::kMain, MonotonicNow() + kLong); });
  AwaitAsleep(Sleeper::kMain);
  LaneTestAccess::AsleepOf(t.board.get(), b.slot).store(0);
  t.board->MarkDead(a.slot);
  thread.join();
  EXPECT_EQ(wake, Wake::kMail);
}

TEST_F(LaneSleepTest, NoSpinningWithAPeerOnOurCpu) {
  cpu_set_t old, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(old), &old), 0);
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  Post();
  ASSERT_EQ(Read(), 1u);
  sender->Publish(Sleeper::kAwake);  // says where it runs: here
  const TimeNs start = MonotonicNow();
  EXPECT_FALSE(receiver->Spin(kLong));
  EXPECT_LT(MonotonicNow() - start, kLong / 2);
  ASSERT_EQ(sched_setaffinity(0, sizeof(old), &old), 0);
}

}  // namespace
}  // namespace rmpi::lane
