// SPDX-License-Identifier: Apache-2.0
// MPI and UCX in one process, as in a raylet: each rank of a launch fetches from its neighbour while the
// control thread sleeps on MPI's sockets. Run under mpirun or srun; with one rank it fetches from itself.
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <map>

#include "objstore/transfer/transfer.h"
#include "runtime/transport/interface.h"
#include "runtime/transport/mpi.h"
#include "tests/transfer/peer.h"
#include "tests/transport/traffic.h"

namespace rmpi {
namespace {

constexpr uint64_t kBytes = 96 * kMiB;

std::vector<std::byte> Frame(const std::string& text) {
  const auto* p = reinterpret_cast<const std::byte*>(text.data());
  return {p, p + text.size()};
}

TEST(MpiTransfer, EachRankFetchesFromItsNeighbourWhileControlSleeps) {
  MpiLaunch launch;
  const Status joined = LoadMpiTransport(MPI_PLUGIN, &launch);
  ASSERT_TRUE(joined.ok()) << joined.message();
  const std::unique_ptr<Transport> transport = std::move(launch.transport);
  const int rank = transport->rank(), size = transport->size(), next = (rank + 1) % size;

  TestArena arena(2 * kBytes);
  for (uint64_t i = 0; i < kBytes / 8; ++i) {
    const uint64_t word = PatternWord(static_cast<uint64_t>(rank), i);
    std::memcpy(arena.base + 8 * i, &word, 8);
  }
  std::memset(arena.base + kBytes, 0, kBytes);  // warm
  NetInterface interface;
  const bool one_host = LaunchIsOneHost();
  ASSERT_TRUE(one_host || JobInterface(&interface).ok());
  Transfer::Options options;
  options.secret = launch.secret;
  options.arena_base = arena.base;
  options.arena_bytes = arena.bytes;
  options.net_devices = one_host ? "lo" : NetDevices(interface.name);
  options.validator = [](const ObjectId& id, uint32_t, uint32_t, uint64_t, uint64_t) {
    return id == TestObject() ? Transfer::Held::kHere : Transfer::Held::kGone;
  };
  std::unique_ptr<Transfer> transfer;
  const Status loaded = LoadTransfer(UCX_PLUGIN, options, &transfer);
  ASSERT_TRUE(loaded.ok()) << loaded.message();

  // Everybody tells everybody its address, and later that it has done.
  const int epoll = NestedEpoll(transport.get());
  epoll_event event{};
  event.events = EPOLLIN;
  epoll_ctl(epoll, EPOLL_CTL_ADD, transfer->EventFd(), &event);
  std::map<int, std::string> addresses{{rank, transfer->LocalAddress()}};
  int finished = 0;
  const auto take = [&](int peer, Bytes frame) {
    std::string text(reinterpret_cast<const char*>(frame.data()), frame.size());
    if (text == "done")
      ++finished;
    else
      addresses[peer] = text;
  };
  const TimeNs limit = MonotonicNow() + 30 * kSecond;
  for (int p = 0; p < size; ++p) {
    if (p != rank) transport->Send(p, Frame(transfer->LocalAddress()));
  }
  while (addresses.size() < static_cast<size_t>(size) && MonotonicNow() < limit)
    Turn(transport.get(), epoll, take);
  ASSERT_EQ(addresses.size(), static_cast<size_t>(size));

  ASSERT_TRUE(transfer->AddPeer(static_cast<uint32_t>(next), addresses[next]).ok());
  const TimeNs begin = MonotonicNow();
  transfer->Fetch(1, static_cast<uint32_t>(next), TestObject(), 0, 0, kBytes, kBytes);
  std::vector<Transfer::Completion> done;
  uint64_t turns = 0;
  while (done.empty() && MonotonicNow() < limit) {
    Turn(transport.get(), epoll, take);
    ++turns;
    done = transfer->TakeCompletions();
  }
  const double seconds = static_cast<double>(MonotonicNow() - begin) / 1e9;
  ASSERT_EQ(done.size(), 1u);
  ASSERT_TRUE(done[0].status.ok()) << done[0].status.message();
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < kBytes; ++i)
    wrong += arena.base[kBytes + i] != PatternByte(static_cast<uint64_t>(next), i);
  EXPECT_EQ(wrong, 0u);
  printf("rank %d: %.2f GB/s, control thread woke %lu times\n", rank, kBytes / seconds / 1e9,
         static_cast<unsigned long>(turns));
  // UCX's sockets carried thousands of segments; they must not have woken the control thread.
  EXPECT_LT(turns, 500u);

  for (int p = 0; p < size; ++p) {
    if (p != rank) transport->Send(p, Frame("done"));
  }
  while (finished < size - 1 && MonotonicNow() < limit) Turn(transport.get(), epoll, take);
  EXPECT_EQ(finished, size - 1);
  transfer.reset();
  transport->Shutdown(true);
}

}  // namespace
}  // namespace rmpi
