// SPDX-License-Identifier: Apache-2.0
// The limit that puts of large arrays are compared with: how fast this machine copies `bytes` from warm
// private pages to warm shared pages, by memcpy and by non-temporal stores, with a given number of threads.
// Prints one JSON line per way: {"row": "memcpy", "bytes": ..., "threads": ..., "samples": [GB/s, ...]}.
//   memcpy_limit [bytes [threads [rounds]]]
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using Copy = void (*)(std::byte* dst, const std::byte* src, size_t n);

void Plain(std::byte* dst, const std::byte* src, size_t n) { std::memcpy(dst, src, n); }

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void Stream512(std::byte* dst, const std::byte* src, size_t n) {
  for (size_t i = 0; i + 64 <= n; i += 64) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i), _mm512_loadu_si512(src + i));
  }
  _mm_sfence();
}

__attribute__((target("avx2"))) void Stream256(std::byte* dst, const std::byte* src, size_t n) {
  for (size_t i = 0; i + 32 <= n; i += 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(dst + i),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + i)));
  }
  _mm_sfence();
}

void Stream128(std::byte* dst, const std::byte* src, size_t n) {
  for (size_t i = 0; i + 16 <= n; i += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(dst + i),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i)));
  }
  _mm_sfence();
}

Copy Streaming() {
  if (__builtin_cpu_supports("avx512f")) return Stream512;
  return __builtin_cpu_supports("avx2") ? Stream256 : Stream128;
}
#else
Copy Streaming() { return Plain; }
#endif

std::byte* Pages(size_t bytes, int flags) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (address == MAP_FAILED) {
    std::perror("memcpy_limit: mmap");
    std::exit(1);
  }
  std::memset(address, 1, bytes);
  return static_cast<std::byte*>(address);
}

// One copy, split evenly; the threads are made anew, as they are for a put.
double SecondsOfOneCopy(Copy copy, std::byte* dst, const std::byte* src, size_t bytes, int threads) {
  const auto start = std::chrono::steady_clock::now();
  const size_t share = bytes / static_cast<size_t>(threads) / 4096 * 4096;
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) {
    const size_t from = share * static_cast<size_t>(i);
    helpers.emplace_back(copy, dst + from, src + from, i == threads - 1 ? bytes - from : share);
  }
  copy(dst, src, threads == 1 ? bytes : share);
  for (std::thread& helper : helpers) helper.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Measure(const char* name, Copy copy, std::byte* dst, const std::byte* src, size_t bytes, int threads,
             int rounds) {
  SecondsOfOneCopy(copy, dst, src, bytes, threads);  // warm-up, not counted
  std::printf("{\"row\": \"%s\", \"unit\": \"GB/s\", \"bytes\": %zu, \"threads\": %d, \"samples\": [", name,
              bytes, threads);
  for (int round = 0; round < rounds; ++round) {
    const double seconds = SecondsOfOneCopy(copy, dst, src, bytes, threads);
    std::printf("%s%.4f", round == 0 ? "" : ", ", static_cast<double>(bytes) / seconds / 1e9);
  }
  std::printf("]}\n");
}

}  // namespace

int main(int argc, char** argv) {
  const size_t bytes = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000'000;
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 9;
  if (bytes < 4096 || bytes % 64 != 0 || threads < 1 || threads > 64 || rounds < 1) {
    std::fprintf(stderr, "usage: memcpy_limit [bytes, a multiple of 64 [threads, 1 to 64 [rounds]]]\n");
    return 2;
  }
  const std::byte* source = Pages(bytes, MAP_PRIVATE);
  std::byte* target = Pages(bytes, MAP_SHARED);
  Measure("memcpy", Plain, target, source, bytes, threads, rounds);
  Measure("non-temporal copy", Streaming(), target, source, bytes, threads, rounds);
  return 0;
}
