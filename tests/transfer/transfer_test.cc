// SPDX-License-Identifier: Apache-2.0
// Transfers between processes with arenas of their own, over UCX's tcp on the loopback interface.
#include "objstore/transfer/transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <map>
#include <random>
#include <thread>

#include "runtime/base/time.h"
#include "runtime/raylet/served_objects.h"
#include "tests/transfer/peer.h"

namespace rmpi {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// This process as requester.
struct Requester {
  TestArena arena;
  ServedObjects served;  // its transfer asks there
  std::unique_ptr<Transfer> transfer;
  std::map<uint64_t, Transfer::Completion> done;

  explicit Requester(uint64_t bytes = 160 * kMiB, uint8_t secret_change = 0, uint32_t chunk_bytes = 4 << 20)
      : arena(bytes) {
    Transfer::Options options;
    options.secret = kTestSecret;
    options.secret[0] = static_cast<uint8_t>(options.secret[0] ^ secret_change);
    options.arena_base = arena.base;
    options.arena_bytes = arena.bytes;
    options.net_devices = "lo";
    options.chunk_bytes = chunk_bytes;
    options.validator = [this](const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t offset,
                               uint64_t bytes) { return served.Look(id, attempt, segment, offset, bytes); };
    options.progress = [this](const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t end) {
      served.NoteArrived(id, attempt, segment, end);
    };
    const Status s = LoadTransfer(UCX_PLUGIN, options, &transfer);
    EXPECT_TRUE(s.ok()) << s.message();
  }
  void Add(uint32_t node, const Peer& peer) { EXPECT_TRUE(transfer->AddPeer(node, peer.address()).ok()); }
  void Fetch(uint64_t request, uint32_t node, uint64_t from, uint64_t to, uint64_t bytes) {
    transfer->Fetch(request, node, TestObject(), 0, from, to, bytes);
  }
  // Waits until `count` completions have come in all.
  bool Wait(size_t count, TimeNs limit = 20 * kSecond) {
    const TimeNs end = MonotonicNow() + limit;
    while (done.size() < count) {
      const TimeNs left = end - MonotonicNow();
      if (left <= 0) return false;
      pollfd event{transfer->EventFd(), POLLIN, 0};
      poll(&event, 1, static_cast<int>(left / kMillisecond) + 1);
      for (auto& c : transfer->TakeCompletions()) {
        const uint64_t request = c.request;
        EXPECT_TRUE(done.emplace(request, std::move(c)).second)
            << "request " << request << " completed twice";
      }
    }
    return true;
  }
  // Every byte, and the untouched ones around.
  void ExpectBytes(uint64_t to, uint64_t bytes, uint64_t seed, uint64_t from) {
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < bytes; ++i) wrong += arena.base[to + i] != PatternByte(seed, from + i);
    EXPECT_EQ(wrong, 0u) << "of " << bytes;
  }
};

TEST(Transfer, EverySizeAndOffsetArrivesWhole) {
  Peer source({.seed = 11});
  Requester r;
  r.Add(1, source);
  const uint64_t sizes[] = {
      0, 1, 63, 100 * 1024, 64 * 1024, 64 * 1024 - 1, 4 * kMiB, 4 * kMiB + 1, 9 * kMiB + 777, 64 * kMiB};
  uint64_t request = 0;
  for (const uint64_t size : sizes) {
    for (const uint64_t shift : {uint64_t{0}, uint64_t{3}}) {
      ++request;
      const uint64_t from = kMiB + 5 * shift, to = 2 * kMiB + 7 * shift;
      std::memset(r.arena.base + to - 64, 0x5a, size + 128);
      r.Fetch(request, 1, from, to, size);
      ASSERT_TRUE(r.Wait(request)) << size;
      ASSERT_TRUE(r.done[request].status.ok()) << r.done[request].status.message();
      EXPECT_EQ(r.done[request].bytes, size);
      r.ExpectBytes(to, size, 11, from);
      for (uint64_t i = 0; i < 64; ++i) {
        ASSERT_EQ(r.arena.base[to - 1 - i], std::byte{0x5a}) << "written before the destination";
        ASSERT_EQ(r.arena.base[to + size + i], std::byte{0x5a}) << "written behind the destination";
      }
    }
  }
  EXPECT_EQ(r.transfer->counters().refused, 0u);
}

TEST(Transfer, ManyFetchesOfTwoSourcesAtOnce) {
  Peer one({.seed = 1}), two({.seed = 2});
  Requester r(160 * kMiB, 0, 256 * 1024);
  r.Add(1, one);
  r.Add(2, two);
  std::mt19937_64 random(5);
  struct Piece {
    uint64_t from, to, bytes, seed;
  };
  std::vector<Piece> pieces;
  uint64_t to = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    const uint64_t bytes = random() % 8 == 0 ? random() % (2 * kMiB) : random() % 5000;
    const uint64_t seed = 1 + random() % 2;
    pieces.push_back({random() % (100 * kMiB), to, bytes, seed});
    r.Fetch(i, static_cast<uint32_t>(seed), pieces.back().from, to, bytes);
    to += bytes;
  }
  ASSERT_LT(to, r.arena.bytes);
  ASSERT_TRUE(r.Wait(pieces.size()));
  for (uint64_t i = 0; i < pieces.size(); ++i) {
    ASSERT_TRUE(r.done[i].status.ok()) << r.done[i].status.message();
    r.ExpectBytes(pieces[i].to, pieces[i].bytes, pieces[i].seed, pieces[i].from);
  }
}

TEST(Transfer, BothEndsFetchFromEachOther) {
  Peer a({.seed = 21}), b({.seed = 22});
  EXPECT_EQ(a.Ask("add", 2, b.address()), "ok");
  EXPECT_EQ(b.Ask("add", 1, a.address()), "ok");
  EXPECT_EQ(a.Ask("fetch 2 20000000 22"), "ok 0");
  // a's arena now begins as b's: what b fetches of it is its own.
  EXPECT_EQ(b.Ask("fetch 1 20000000 22"), "ok 0");
}

TEST(Transfer, WhatIsGoneIsSaidToBeGone) {
  Peer source({.seed = 3, .reject_from = 10 * kMiB});
  Requester r;
  r.Add(1, source);
  r.Fetch(1, 1, 10 * kMiB, 0, kMiB);                                  // not there
  r.Fetch(2, 1, 2 * kMiB, 0, 20 * kMiB);                              // gone half-way
  r.transfer->Fetch(3, 1, TestObject(7), 0, 0, 30 * kMiB, kMiB);      // another object
  r.transfer->Fetch(4, 1, TestObject(), 1, 0, 30 * kMiB, kMiB);       // another attempt
  r.Fetch(5, 1, 127 * kMiB, 30 * kMiB, 2 * kMiB);                     // beyond the source's arena
  r.Fetch(6, 1, ~uint64_t{0} - 5, 30 * kMiB, kMiB);                   // wraps
  r.transfer->Fetch(7, 1, TestObject(), 0, {9, 0}, 30 * kMiB, kMiB);  // no such segment
  r.Fetch(8, 1, 0, 40 * kMiB, kMiB);                                  // fine
  ASSERT_TRUE(r.Wait(8));
  for (uint64_t i = 1; i <= 7; ++i) EXPECT_EQ(r.done[i].status.code(), StatusCode::kNotFound) << i;
  EXPECT_TRUE(r.done[8].status.ok());
  r.ExpectBytes(40 * kMiB, kMiB, 3, 0);
}

TEST(Transfer, MistakesOfTheCallerAreErrors) {
  Peer source({.seed = 3});
  Requester r(kMiB);
  r.Add(1, source);
  r.Fetch(1, 1, 0, 0, kMiB + 1);
  r.Fetch(2, 1, 0, ~uint64_t{0}, 2);
  r.Fetch(3, 77, 0, 0, 1);
  ASSERT_TRUE(r.Wait(3));
  EXPECT_EQ(r.done[1].status.code(), StatusCode::kInvalid);
  EXPECT_EQ(r.done[2].status.code(), StatusCode::kInvalid);
  EXPECT_EQ(r.done[3].status.code(), StatusCode::kUnavailable);
  EXPECT_FALSE(r.transfer->AddPeer(2, "").ok());
}

TEST(Transfer, FurtherSegmentsCanBeAdded) {
  Peer source({.seed = 4});
  Requester r(kMiB);
  TestArena more(32 * kMiB);
  r.Add(1, source);
  r.transfer->AddSegment(3, more.base, more.bytes);
  r.transfer->Fetch(1, 1, TestObject(), 0, 64, {3, 128}, 20 * kMiB);
  ASSERT_TRUE(r.Wait(1));
  ASSERT_TRUE(r.done[1].status.ok()) << r.done[1].status.message();
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < 20 * kMiB; ++i) wrong += more.base[128 + i] != PatternByte(4, 64 + i);
  EXPECT_EQ(wrong, 0u);
}

// Starts large fetches, lets some bytes arrive, does `what`, and expects errors of all within two seconds.
template <typename What>
void BreakInTheMiddle(Requester* r, What what) {
  for (uint64_t i = 0; i < 4; ++i) r->Fetch(i, 1, 0, i * 40 * kMiB, 40 * kMiB);
  while (r->transfer->counters().chunks_in < 3) usleep(100);
  what();
  const TimeNs begin = MonotonicNow();
  ASSERT_TRUE(r->Wait(4, 5 * kSecond));
  EXPECT_LT(MonotonicNow() - begin, 2 * kSecond);
  size_t failed = 0;
  for (const auto& [request, c] : r->done) failed += !c.status.ok();
  EXPECT_GT(failed, 0u);
}

TEST(Transfer, ASourceKilledInTheMiddleIsAnErrorAndOthersGoOn) {
  Peer one({.seed = 1}), two({.seed = 2});
  Requester r(200 * kMiB, 0, 256 * 1024);
  r.Add(1, one);
  r.Add(2, two);
  BreakInTheMiddle(&r, [&] { one.Kill(); });
  for (const auto& [request, c] : r.done) {
    const bool fine = c.status.ok() || c.status.code() == StatusCode::kUnavailable;
    EXPECT_TRUE(fine) << c.status.message();
  }
  r.Fetch(10, 2, 0, 170 * kMiB, 8 * kMiB);
  r.Fetch(11, 1, 0, 180 * kMiB, kMiB);  // nobody listens there any more
  ASSERT_TRUE(r.Wait(6, 5 * kSecond));
  EXPECT_TRUE(r.done[10].status.ok()) << r.done[10].status.message();
  r.ExpectBytes(170 * kMiB, 8 * kMiB, 2, 0);
  EXPECT_EQ(r.done[11].status.code(), StatusCode::kUnavailable);
  r.transfer->DropPeer(1);
  r.Fetch(12, 1, 0, 0, 1);
  ASSERT_TRUE(r.Wait(7, kSecond));
  EXPECT_EQ(r.done[12].status.code(), StatusCode::kUnavailable);
}

// A silent node: no packet tells of its end, only DropPeer does.
TEST(Transfer, AStoppedSourceIsLeftBehindByDropPeer) {
  Peer one({.seed = 1});
  Requester r(200 * kMiB, 0, 256 * 1024);
  r.Add(1, one);
  BreakInTheMiddle(&r, [&] {
    kill(one.pid(), SIGSTOP);
    usleep(20000);
    r.transfer->DropPeer(1);
  });
  // Nothing may be written after the completions.
  std::memset(r.arena.base, 0x77, r.arena.bytes);
  kill(one.pid(), SIGCONT);
  usleep(300000);
  uint64_t written = 0;
  for (uint64_t i = 0; i < r.arena.bytes; ++i) written += r.arena.base[i] != std::byte{0x77};
  EXPECT_EQ(written, 0u);
}

TEST(Transfer, CancelledFetchesCompleteAndAreNotWrittenToAgain) {
  Peer one({.seed = 1});
  Requester r(200 * kMiB, 0, 256 * 1024);
  r.Add(1, one);
  for (uint64_t i = 0; i < 4; ++i) r.Fetch(i, 1, 0, i * 40 * kMiB, 40 * kMiB);
  while (r.transfer->counters().chunks_in < 3) usleep(100);
  for (uint64_t i = 0; i < 4; ++i) r.transfer->Cancel(i);
  r.transfer->Cancel(99);
  ASSERT_TRUE(r.Wait(4, 2 * kSecond));
  for (const auto& [request, c] : r.done) {
    EXPECT_EQ(c.status.code(), StatusCode::kInterrupted);
    EXPECT_LT(c.bytes, 40 * kMiB);
  }
  std::memset(r.arena.base, 0x77, 160 * kMiB);
  r.Fetch(10, 1, 0, 170 * kMiB, 20 * kMiB);  // the connection is still good
  ASSERT_TRUE(r.Wait(5));
  EXPECT_TRUE(r.done[10].status.ok());
  r.ExpectBytes(170 * kMiB, 20 * kMiB, 1, 0);
  uint64_t written = 0;
  for (uint64_t i = 0; i < 160 * kMiB; ++i) written += r.arena.base[i] != std::byte{0x77};
  EXPECT_EQ(written, 0u);
}

TEST(Transfer, ARequesterKilledInTheMiddleDoesNotHurtTheSource) {
  Peer source({.seed = 8});
  {
    Peer requester({.seed = 9});
    EXPECT_EQ(requester.Ask("add", 1, source.address()), "ok");
    EXPECT_EQ(requester.Ask("fetch 1 1000000 8"), "ok 0");
    // Asked in a process of its own, for this one has to kill it meanwhile.
    const pid_t killer = fork();
    if (killer == 0) {
      usleep(5000);
      kill(requester.pid(), SIGKILL);
      _exit(0);
    }
    requester.Ask("fetch 1 120000000 8");
    waitpid(killer, nullptr, 0);
  }
  Requester r;
  r.Add(1, source);
  r.Fetch(1, 1, 0, 0, 50 * kMiB);
  ASSERT_TRUE(r.Wait(1));
  EXPECT_TRUE(r.done[1].status.ok());
  r.ExpectBytes(0, 50 * kMiB, 8, 0);
}

TEST(Transfer, WhatIsStillComingIsPassedOnAsItComes) {
  constexpr uint64_t kBytes = 100 * kMiB;
  Peer source({.seed = 8}), leaf({.seed = 9});
  Requester r(kBytes, 0, kMiB);
  r.Add(1, source);
  EXPECT_EQ(leaf.Ask("add", 2, r.transfer->LocalAddress()), "ok");
  r.served.Coming({TestObject(), 0}, {2, 0, 0, kBytes}, /*open=*/true);
  std::string answer;
  std::thread reader([&] { answer = leaf.Ask("fetch 2 " + std::to_string(kBytes) + " 8"); });
  usleep(50000);  // it asks before anything is here
  EXPECT_EQ(r.transfer->counters().chunks_out, 0U);
  r.Fetch(1, 1, 0, 0, kBytes);
  uint64_t passed_on = 0;
  while (r.done.empty()) {
    passed_on = r.transfer->counters().chunks_out;
    r.Wait(1, kMillisecond);
  }
  reader.join();
  EXPECT_EQ(answer, "ok 0");
  EXPECT_GT(passed_on, 0U) << "before it was here whole";
  EXPECT_EQ(r.served.Arrived({TestObject(), 0}), kBytes);
}

TEST(Transfer, WhatWillNotComeAnyMoreIsRefused) {
  Peer leaf({.seed = 9});
  Requester r(kMiB);
  EXPECT_EQ(leaf.Ask("add", 2, r.transfer->LocalAddress()), "ok");
  r.served.Coming({TestObject(), 0}, {2, 0, 0, kMiB}, /*open=*/true);
  std::string answer;
  std::thread reader([&] { answer = leaf.Ask("fetch 2 " + std::to_string(kMiB) + " 8"); });
  usleep(50000);
  r.served.Coming({TestObject(), 0}, {2, 0, 0, kMiB}, /*open=*/false);
  r.transfer->Recheck();
  reader.join();
  EXPECT_THAT(answer, HasSubstr("no longer has object"));
}

TEST(Transfer, AWrongSecretIsIgnoredAndCounted) {
  Peer source({.seed = 8});
  Requester wrong(kMiB, 1);
  wrong.Add(1, source);
  wrong.Fetch(1, 1, 0, 0, 1000);
  EXPECT_FALSE(wrong.Wait(1, kSecond / 2));
  EXPECT_THAT(source.Ask("counters"), StartsWith("refused 1 gone 0 out 0"));
  wrong.transfer->Cancel(1);
  ASSERT_TRUE(wrong.Wait(1, kSecond));
  Requester right;
  right.Add(1, source);
  right.Fetch(1, 1, 0, 0, 1000);
  ASSERT_TRUE(right.Wait(1));
  EXPECT_TRUE(right.done[1].status.ok());
}

// A command may come at any point of the data thread's way to sleep: it must wake it.
TEST(Transfer, NoCommandIsSleptThrough) {
  Requester r(kMiB);
  for (int round = 0; round < 40000; ++round) {
    r.Fetch(1, /*node=*/99, 0, 0, 1000);  // answered by the data thread itself: no such node
    const TimeNs second_at = MonotonicNow() + round % 100 * 200;
    while (MonotonicNow() < second_at) {
    }
    r.Fetch(2, 99, 0, 0, 1000);
    ASSERT_TRUE(r.Wait(2, 5 * kSecond)) << "round " << round;
    r.done.clear();
  }
}

TEST(Transfer, IdleCostsNothing) {
  Peer source({.seed = 8});
  Requester r;
  r.Add(1, source);
  r.Fetch(1, 1, 0, 0, 10 * kMiB);
  ASSERT_TRUE(r.Wait(1));
  usleep(200000);
  const auto own_cpu = [] {
    rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000L + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
  };
  const long own = own_cpu(), theirs = std::stol(source.Ask("cpu"));
  usleep(2000000);
  const long own_us = own_cpu() - own, their_us = std::stol(source.Ask("cpu")) - theirs;
  printf("idle CPU over 2 s: requester %ld us, source %ld us\n", own_us, their_us);
  EXPECT_LT(own_us, 20000);
  EXPECT_LT(their_us, 20000);
}

TEST(TransferLoader, ErrorsNameWhatToDo) {
  std::unique_ptr<Transfer> t;
  const Status s = LoadTransfer("/nowhere/libray-mpi-ucx.so", {}, &t);
  EXPECT_EQ(s.code(), StatusCode::kUnavailable);
  EXPECT_THAT(s.message(), HasSubstr("/nowhere/libray-mpi-ucx.so"));
  Transfer::Options no_device;
  no_device.net_devices = "nosuchdevice0";
  EXPECT_THAT(LoadTransfer(UCX_PLUGIN, no_device, &t).message(), HasSubstr("nosuchdevice0"));
}

TEST(TransferLoader, NetDevicesBeginWithTheInterface) { EXPECT_THAT(NetDevices("eth0"), StartsWith("eth0")); }

}  // namespace
}  // namespace rmpi

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--peer") == 0) return rmpi::PeerMain(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
