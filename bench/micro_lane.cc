// SPDX-License-Identifier: Apache-2.0
// The lane by itself: records per second one way (ends on two CPUs), and round trips of one small message,
// spinning and sleeping, on two CPUs and on one. Peers are threads with a port each. Beside them, in the same
// run, the limit that decides the sleeping ones: a bare futex round trip.
#include <benchmark/benchmark.h>
#include <sched.h>

#include <cstring>
#include <thread>

#include "runtime/lane/futex.h"
#include "runtime/lane/port.h"

namespace rmpi::lane {
namespace {

// Where the ends run decides more than anything else here, and a busy scheduler puts both on one CPU.
void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

struct Pair {
  Pair() {
    UniqueFd fd;
    if (!Board::Create({}, &fd).ok() || !Board::Map(fd.get(), &board).ok()) std::abort();
    for (Peer* p : {&a, &b}) {
      if (!board->OpenSlot(1, &p->slot, &p->generation).ok()) std::abort();
    }
    sched_getaffinity(0, sizeof(before), &before);
  }
  ~Pair() { sched_setaffinity(0, sizeof(before), &before); }
  std::unique_ptr<Board> board;
  Peer a, b;
  cpu_set_t before;
};

void SendWord(Port* port, Peer to, uint64_t word, size_t size) {
  std::byte* at = port->Reserve(to.slot, to.generation, size);
  std::memcpy(at, &word, sizeof(word));
  port->Commit();
}

// Waits for mail: spins 50 us, then sleeps. With spin_ns 0, sleeps at once.
void Await(Port* port, TimeNs spin_ns) {
  if (spin_ns > 0 && port->Spin(spin_ns)) return;
  port->Sleep(Sleeper::kMain, MonotonicNow() + 10 * kSecond);
}

constexpr uint64_t kStop = UINT64_MAX;

// Arguments: message bytes, messages per Flush.
void BM_OneWay(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0));
  const int batch = static_cast<int>(state.range(1));
  Pair pair;
  Port sender(pair.board.get(), pair.a.slot, pair.a.generation, -1);
  PinTo(0);
  std::thread peer([&] {
    PinTo(1);
    Port port(pair.board.get(), pair.b.slot, pair.b.generation, -1);
    for (bool stop = false; !stop;) {
      port.Drain(
          [&](uint16_t, uint32_t, Bytes m) {
            uint64_t word;
            std::memcpy(&word, m.data(), sizeof(word));
            stop |= word == kStop;
          },
          1 << 20);
      if (!stop) Await(&port, 50 * kMicrosecond);
    }
  });
  const auto await_room = [&] {
    while (sender.total_backlog_bytes() > (1 << 20)) {
      Await(&sender, 50 * kMicrosecond);
      sender.Drain([](uint16_t, uint32_t, Bytes) {}, 1);
      sender.Flush();
    }
  };
  for (auto _ : state) {
    for (int i = 0; i < batch; ++i) SendWord(&sender, pair.b, 0, size);
    sender.Flush();
    await_room();
  }
  SendWord(&sender, pair.b, kStop, size);
  sender.Flush();
  while (sender.total_backlog_bytes() != 0) {
    Await(&sender, 50 * kMicrosecond);
    sender.Drain([](uint16_t, uint32_t, Bytes) {}, 1);
    sender.Flush();
  }
  peer.join();  // all of it was received, within the measured process but after the clock
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(BM_OneWay)->Args({64, 1})->Args({64, 32})->Args({256, 32})->Args({4096, 8})->UseRealTime();

void RoundTrip(benchmark::State& state, TimeNs spin_ns, int cpu, int peer_cpu) {
  Pair pair;
  Port port(pair.board.get(), pair.a.slot, pair.a.generation, -1);
  PinTo(cpu);
  std::thread peer([&] {
    PinTo(peer_cpu);
    Port echo(pair.board.get(), pair.b.slot, pair.b.generation, -1);
    for (bool stop = false; !stop;) {
      echo.Drain(
          [&](uint16_t, uint32_t, Bytes m) {
            uint64_t word;
            std::memcpy(&word, m.data(), sizeof(word));
            stop |= word == kStop;
            SendWord(&echo, pair.a, word, 64);
          },
          16);
      echo.Flush();
      if (!stop) Await(&echo, spin_ns);
    }
  });
  const auto trip = [&](uint64_t word) {
    SendWord(&port, pair.b, word, 64);
    port.Flush();
    while (port.Drain([](uint16_t, uint32_t, Bytes) {}, 1) == 0) Await(&port, spin_ns);
  };
  for (auto _ : state) trip(1);
  trip(kStop);
  peer.join();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(RoundTrip, spinning_two_cpus, 50 * kMicrosecond, 0, 1)->UseRealTime();
BENCHMARK_CAPTURE(RoundTrip, sleeping_two_cpus, 0, 0, 1)->UseRealTime();
BENCHMARK_CAPTURE(RoundTrip, spinning_one_cpu, 50 * kMicrosecond, 0, 0)->UseRealTime();
BENCHMARK_CAPTURE(RoundTrip, sleeping_one_cpu, 0, 0, 0)->UseRealTime();

// The limit: two threads, two futex words, nothing else.
void FutexRoundTrip(benchmark::State& state, int cpu, int peer_cpu) {
  Pair affinity;
  PinTo(cpu);
  std::atomic<uint32_t> there{0}, back{0};
  std::atomic<bool> stop{false};
  const auto await = [](std::atomic<uint32_t>* word, uint32_t old) {
    while (word->load(std::memory_order_acquire) == old) FutexWait(word, old, MonotonicNow() + 10 * kSecond);
  };
  const auto post = [](std::atomic<uint32_t>* word) {
    word->fetch_add(1, std::memory_order_release);
    FutexWake(word);
  };
  std::thread peer([&] {
    PinTo(peer_cpu);
    for (uint32_t n = 0; !stop.load(std::memory_order_acquire); ++n) {
      await(&there, n);
      post(&back);
    }
  });
  uint32_t n = 0;
  for (auto _ : state) {
    post(&there);
    await(&back, n++);
  }
  stop.store(true, std::memory_order_release);
  post(&there);
  peer.join();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(FutexRoundTrip, two_cpus, 0, 1)->UseRealTime();
BENCHMARK_CAPTURE(FutexRoundTrip, one_cpu, 0, 0)->UseRealTime();

// What one message costs its sender when nobody sleeps and nobody listens in: reserve, copy, commit, flush.
void BM_SendFlushDrainSelf(benchmark::State& state) {
  Pair pair;
  Port port(pair.board.get(), pair.a.slot, pair.a.generation, -1);
  for (auto _ : state) {
    SendWord(&port, pair.a, 1, 64);
    port.Flush();
    benchmark::DoNotOptimize(port.Drain([](uint16_t, uint32_t, Bytes) {}, 4));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_SendFlushDrainSelf);

}  // namespace
}  // namespace rmpi::lane
