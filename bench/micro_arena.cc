// SPDX-License-Identifier: Apache-2.0
// The object store on one node: create, seal, pin and unpin of small objects, and copies into the arena
// against plain memcpy into the same memory. Ratios are printed as counters; "cold" is memory that nobody has
// touched before.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "objstore/client.h"
#include "objstore/copy.h"
#include "objstore/store.h"

namespace rmpi::objstore {
namespace {

constexpr uint32_t kNode = 1;

template <typename T>
T Must(Status s, T value) {
  if (!s.ok()) {
    std::fprintf(stderr, "%s\n", s.message().c_str());
    std::exit(1);
  }
  return value;
}

std::unique_ptr<Arena> MakeArena(uint64_t bytes) {
  UniqueFd fd;
  std::unique_ptr<Arena> arena;
  Status s = Arena::CreateFd({bytes, true, ""}, &fd);
  if (s.ok()) s = Arena::Map(fd.get(), 0, &arena);
  return Must(s, std::move(arena));
}

std::unique_ptr<PinTable> MakePinTable() {
  UniqueFd fd;
  std::unique_ptr<PinTable> pins;
  Status s = PinTable::CreateFd(64, &fd);
  if (s.ok()) s = PinTable::Map(fd.get(), &pins);
  return Must(s, std::move(pins));
}

ObjectId MakeId(uint64_t n) {
  ObjectId id;
  id.task.job.value = 1;
  id.task.owner = {kNode, 1, 0, 1};
  id.task.sequence = TaskId::Sequence(TaskKind::kPut, n);
  return id;
}

// A whole small object's life in its client; the raylet's part (a lease per 16 MiB, announcement and FREE per
// object) is in it when state.range(1) is 1.
void ObjectLife(benchmark::State& state) {
  const auto size = static_cast<uint64_t>(state.range(0));
  const bool with_raylet = state.range(1) == 1;
  auto arena = MakeArena(1 << 30);
  auto pins = MakePinTable();
  Store store(arena.get(), pins.get(), kNode);
  Client client(arena.get(), pins.get(), kNode, 1);
  const std::vector<std::byte> value(size, std::byte{1});
  uint64_t n = 0;
  for (auto _ : state) {
    const ObjectId id = MakeId(++n);
    Locator l;
    uint64_t extent_bytes = 0;
    while (client.Create(id, 0, size, &l, &extent_bytes) != Client::CreateResult::kOk) {
      for (const Range& r : client.TakeRetired()) store.ReturnExtent(1, 1, r);
      client.AddExtent(store.LeaseExtent(1, 1, extent_bytes).value());
    }
    std::memcpy(arena->data(l.offset), value.data(), size);
    client.Seal(l);
    if (with_raylet) store.OnSealed(1, 1, id, 0, l, id.owner());
    if (client.Pin(l, id, 0) != Client::PinResult::kPinned) state.SkipWithError("not pinned");
    client.Unpin(l);
    if (with_raylet) {
      store.Free(id, 0);
    } else {
      client.Abort(l);
    }
  }
}
BENCHMARK(ObjectLife)->ArgNames({"bytes", "raylet"})->Args({1024, 0})->Args({1024, 1})->Args({1 << 20, 1});

void PinUnpin(benchmark::State& state) {
  auto arena = MakeArena(1 << 20);
  auto pins = MakePinTable();
  Client client(arena.get(), pins.get(), kNode, 1);
  client.AddExtent({0, 64 << 10});
  Locator l;
  uint64_t extent_bytes;
  if (client.Create(MakeId(1), 0, 1024, &l, &extent_bytes) != Client::CreateResult::kOk) std::abort();
  client.Seal(l);
  for (auto _ : state) {
    benchmark::DoNotOptimize(client.Pin(l, MakeId(1), 0));
    client.Unpin(l);
  }
}
BENCHMARK(PinUnpin);

// What the raylet's look for pins costs, by the number of processes that hold some.
void FreeLooksForPins(benchmark::State& state) {
  auto pins = MakePinTable();
  for (uint16_t slot = 0; slot < state.range(0); ++slot) {
    pins->Open(slot);
    for (uint64_t i = 1; i <= 100; ++i) pins->Add(slot, PinTable::KeyOf(0, 64 * 17 * i));
  }
  uint64_t n = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(pins->Pinned(PinTable::KeyOf(0, 64 * (++n % 100'000 + 10'000))));
}
BENCHMARK(FreeLooksForPins)->Arg(1)->Arg(8)->Arg(64);

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// CopyToArena and memcpy in turn into the same warm range; the counter vs_memcpy is their ratio.
void CopyWarm(benchmark::State& state) {
  const auto n = static_cast<size_t>(state.range(0));
  auto arena = MakeArena(n + (1 << 20));
  const std::vector<std::byte> source(n, std::byte{1});
  CopyToArena(arena.get(), 64, source.data(), n);
  double ours = 0, plain = 0;
  for (auto _ : state) {
    plain += Seconds([&] { std::memcpy(arena->data(64), source.data(), n); });
    const double t = Seconds([&] { CopyToArena(arena.get(), 64, source.data(), n); });
    state.SetIterationTime(t);
    ours += t;
  }
  const double rounds = static_cast<double>(state.iterations());
  state.counters["GB/s"] = static_cast<double>(n) * rounds / ours / 1e9;
  state.counters["memcpy_GB/s"] = static_cast<double>(n) * rounds / plain / 1e9;
  state.counters["vs_memcpy"] = plain / ours;
}
BENCHMARK(CopyWarm)
    ->Arg(256 << 10)
    ->Arg(1 << 20)
    ->Arg(4 << 20)
    ->Arg(8 << 20)
    ->Arg(16 << 20)
    ->Arg(100'000'000)
    ->Arg(1 << 30)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

// Into memory never touched (resident 0), or touched by another process but not mapped in this one (resident
// 1).
void CopyCold(benchmark::State& state) {
  const auto n = static_cast<size_t>(state.range(0));
  const bool resident = state.range(1) == 1;
  const std::vector<std::byte> source(n, std::byte{1});
  double ours = 0, plain = 0;
  for (auto _ : state) {
    for (double* sum : {&plain, &ours}) {
      UniqueFd fd;
      std::unique_ptr<Arena> arena;
      Status s = Arena::CreateFd({n + (1 << 20), true, ""}, &fd);
      if (s.ok() && resident) {
        s = Arena::Map(fd.get(), 0, &arena);
        if (s.ok()) ::madvise(arena->data(0), arena->size(), MADV_POPULATE_WRITE);
      }
      if (s.ok()) s = Arena::Map(fd.get(), 0, &arena);
      Must(s, 0);
      const double t = Seconds([&] {
        if (sum == &plain) {
          std::memcpy(arena->data(64), source.data(), n);
        } else {
          CopyToArena(arena.get(), 64, source.data(), n);
        }
      });
      *sum += t;
      if (sum == &ours) state.SetIterationTime(t);
    }
  }
  const double rounds = static_cast<double>(state.iterations());
  state.counters["GB/s"] = static_cast<double>(n) * rounds / ours / 1e9;
  state.counters["memcpy_GB/s"] = static_cast<double>(n) * rounds / plain / 1e9;
  state.counters["vs_memcpy"] = plain / ours;
}
BENCHMARK(CopyCold)
    ->ArgNames({"bytes", "resident"})
    ->Args({1 << 20, 0})
    ->Args({100'000'000, 0})
    ->Args({100'000'000, 1})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rmpi::objstore

BENCHMARK_MAIN();
