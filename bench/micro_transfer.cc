// SPDX-License-Identifier: Apache-2.0
// GB/s of a transfer between two processes' arenas over the loopback interface, beside one raw TCP stream
// between the same two processes into the same memory: the limit of what a copying transport can do here.
// Warm pages.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "objstore/transfer/transfer.h"

namespace rmpi {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kArenaBytes = 512 * kMiB;

std::byte* MakeArena() {
  const int fd = memfd_create("bench", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, kArenaBytes) != 0) abort();
  void* p = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) abort();
  std::memset(p, 1, kArenaBytes);
  return static_cast<std::byte*>(p);
}

std::unique_ptr<Transfer> MakeTransfer(std::byte* arena) {
  Transfer::Options options;
  options.arena_base = arena;
  options.arena_bytes = kArenaBytes;
  options.net_devices = "lo";
  if (const char* chunk = getenv("CHUNK_KIB"))
    options.chunk_bytes = static_cast<uint32_t>(atoi(chunk)) * 1024;
  if (const char* chunks = getenv("CHUNKS")) options.chunks_in_flight = static_cast<uint32_t>(atoi(chunks));
  options.validator = [](const ObjectId&, uint32_t, uint32_t, uint64_t, uint64_t) {
    return Transfer::Held::kHere;
  };
  std::unique_ptr<Transfer> transfer;
  const Status s = LoadTransfer(UCX_PLUGIN, options, &transfer);
  if (s.ok()) return transfer;
  fprintf(stderr, "%s\n", s.message().c_str());
  exit(1);
}

bool WriteAll(int fd, const void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = send(fd, static_cast<const std::byte*>(data) + done, size - done, MSG_NOSIGNAL);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

bool ReadAll(int fd, void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = recv(fd, static_cast<std::byte*>(data) + done, size - done, 0);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

// The other process: says {port, length of address, address} on its stdout, then serves until it is killed.
int Source() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::byte* arena = MakeArena();
  const auto transfer = MakeTransfer(arena);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return 1;
  }
  const std::string own = transfer->LocalAddress();
  const uint64_t head[2] = {address.sin_port, own.size()};
  if (write(1, head, sizeof(head)) != sizeof(head) || write(1, own.data(), own.size()) < 0) return 1;
  const int client = accept(listener, nullptr, nullptr);
  for (uint64_t bytes; ReadAll(client, &bytes, sizeof(bytes));) WriteAll(client, arena, bytes);
  pause();
  return 0;
}

struct Pair {
  std::byte* arena = MakeArena();
  std::unique_ptr<Transfer> transfer = MakeTransfer(arena);
  pid_t source = -1;
  int stream = -1;

  Pair() {
    int out[2];
    if (pipe(out) != 0) abort();
    source = fork();
    if (source == 0) {
      dup2(out[1], 1);
      execl("/proc/self/exe", "micro_transfer", "--source", nullptr);
      _exit(127);
    }
    close(out[1]);
    uint64_t head[2];
    if (read(out[0], head, sizeof(head)) != sizeof(head)) exit(1);
    std::string address(head[1], '\0');
    if (read(out[0], address.data(), address.size()) != static_cast<ssize_t>(address.size())) exit(1);
    if (!transfer->AddPeer(1, address).ok()) exit(1);
    stream = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = static_cast<in_port_t>(head[0]);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(stream, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) exit(1);
  }
  ~Pair() {
    kill(source, SIGKILL);
    waitpid(source, nullptr, 0);
  }
};

Pair& ThePair() {
  static Pair pair;
  return pair;
}

void BM_Fetch(benchmark::State& state) {
  Pair& pair = ThePair();
  const auto bytes = static_cast<uint64_t>(state.range(0));
  for (auto _ : state) {
    pair.transfer->Fetch(1, 1, ObjectId{TaskId{JobId{1}, Address{1, 1, 0, 1}, 1}, 0, 0}, 0, 0, 0, bytes);
    auto done = pair.transfer->TakeCompletions();
    for (; done.empty(); done = pair.transfer->TakeCompletions()) {
      pollfd event{pair.transfer->EventFd(), POLLIN, 0};
      poll(&event, 1, -1);
    }
    if (!done[0].status.ok()) state.SkipWithError(done[0].status.message().c_str());
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes) * static_cast<int64_t>(state.iterations()));
}

void BM_RawTcp(benchmark::State& state) {
  Pair& pair = ThePair();
  const auto bytes = static_cast<uint64_t>(state.range(0));
  for (auto _ : state) {
    if (!WriteAll(pair.stream, &bytes, sizeof(bytes)) || !ReadAll(pair.stream, pair.arena, bytes)) {
      state.SkipWithError("the stream broke");
      return;
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes) * static_cast<int64_t>(state.iterations()));
}

#define SIZES ->Arg(4096)->Arg(64 << 10)->Arg(kMiB)->Arg(64 * kMiB)->Arg(512 * kMiB)->UseRealTime()
BENCHMARK(BM_RawTcp) SIZES;
BENCHMARK(BM_Fetch) SIZES;

}  // namespace
}  // namespace rmpi

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--source") == 0) return rmpi::Source();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
