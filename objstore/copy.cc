// SPDX-License-Identifier: Apache-2.0
#include "objstore/copy.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rmpi::objstore {
namespace {

constexpr size_t kChunkBytes = 2 << 20;
constexpr int kMaxThreads = 4;
constexpr size_t kPopulateBytes = 64 << 10;  // below, a few faults are as cheap

using StreamCopy = void (*)(std::byte* dst, const std::byte* src, size_t n);

#if defined(__x86_64__)
// Each copies n bytes, n a multiple of 256, to a 64-byte-aligned destination with non-temporal stores. Every
// thread fences its own stores before it reports.
__attribute__((target("avx512f"))) void Stream512(std::byte* dst, const std::byte* src, size_t n) {
  for (size_t i = 0; i < n; i += 256) {
    const __m512i a = _mm512_loadu_si512(src + i);
    const __m512i b = _mm512_loadu_si512(src + i + 64);
    const __m512i c = _mm512_loadu_si512(src + i + 128);
    const __m512i d = _mm512_loadu_si512(src + i + 192);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i), a);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i + 64), b);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i + 128), c);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i + 192), d);
  }
  _mm_sfence();
}

__attribute__((target("avx2"))) void Stream256(std::byte* dst, const std::byte* src, size_t n) {
  for (size_t i = 0; i < n; i += 128) {
    const auto* from = reinterpret_cast<const __m256i*>(src + i);
    auto* to = reinterpret_cast<__m256i*>(dst + i);
    const __m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 1);
    const __m256i c = _mm256_loadu_si256(from + 2), d = _mm256_loadu_si256(from + 3);
    _mm256_stream_si256(to, a);
    _mm256_stream_si256(to + 1, b);
    _mm256_stream_si256(to + 2, c);
    _mm256_stream_si256(to + 3, d);
  }
  _mm_sfence();
}

void Stream128(std::byte* dst, const std::byte* src, size_t n) {
  for (size_t i = 0; i < n; i += 64) {
    const auto* from = reinterpret_cast<const __m128i*>(src + i);
    auto* to = reinterpret_cast<__m128i*>(dst + i);
    const __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
    const __m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
    _mm_stream_si128(to, a);
    _mm_stream_si128(to + 1, b);
    _mm_stream_si128(to + 2, c);
    _mm_stream_si128(to + 3, d);
  }
  _mm_sfence();
}

StreamCopy Widest() {
  if (__builtin_cpu_supports("avx512f")) return Stream512;
  if (__builtin_cpu_supports("avx2")) return Stream256;
  return Stream128;
}
#else
// Elsewhere the C library's memcpy knows its machine best.
void PlainCopy(std::byte* dst, const std::byte* src, size_t n) { std::memcpy(dst, src, n); }
StreamCopy Widest() { return PlainCopy; }
#endif

void CopyChunk(std::byte* dst, const std::byte* src, size_t n) {
  static const StreamCopy stream = Widest();
  const size_t head = std::min(n, (64 - reinterpret_cast<uintptr_t>(dst) % 64) % 64);
  if (head > 0) std::memcpy(dst, src, head);
  const size_t body = (n - head) / 256 * 256;
  stream(dst + head, src + head, body);
  const size_t done = head + body;
  if (done < n) std::memcpy(dst + done, src + done, n - done);
}

// One large copy, shared by the caller and its helpers: each takes the next chunk until none is left. The
// arena is null where nothing is to be mapped ahead.
struct Job {
  std::byte* dst;
  const std::byte* src;
  size_t n;
  Arena* arena;
  std::atomic<size_t> next{0};

  void Work() {
    for (;;) {
      const size_t at = next.fetch_add(kChunkBytes, std::memory_order_relaxed);
      if (at >= n) return;
      const size_t bytes = std::min(kChunkBytes, n - at);
      if (arena != nullptr) arena->Populate(static_cast<uint64_t>(dst + at - arena->data(0)), bytes);
      CopyChunk(dst + at, src + at, bytes);
    }
  }
};

void* RunHelper(void* job) {
  static_cast<Job*>(job)->Work();
  return nullptr;
}

int UsableCpus() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

// Helpers live only as long as the copy: a pool would have to survive forks and to be stopped, for 40 us
// saved per copy of at least 400 us. A helper that cannot be started is only missing speed.
void CopyParallel(Job* job) {
  const int helpers = std::min<int>({kMaxThreads, UsableCpus(), static_cast<int>(job->n / kChunkBytes)}) - 1;
  std::array<pthread_t, kMaxThreads> threads;
  int started = 0;
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are the application's, on its own threads
  while (started < helpers &&
         ::pthread_create(&threads[static_cast<size_t>(started)], nullptr, RunHelper, job) == 0) {
    ++started;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  job->Work();
  for (int i = 0; i < started; ++i) ::pthread_join(threads[static_cast<size_t>(i)], nullptr);
}

void Copy(Arena* arena, std::byte* dst, const std::byte* src, size_t n) {
  if (n == 0) return;
  if (n > kStreamBytes) {
    Job job{dst, src, n, arena};
    n > kParallelBytes ? CopyParallel(&job) : job.Work();
  } else {
    if (arena != nullptr && n >= kPopulateBytes) {
      arena->Populate(static_cast<uint64_t>(dst - arena->data(0)), n);
    }
    std::memcpy(dst, src, n);
  }
}

}  // namespace

void CopyIn(std::byte* dst, const std::byte* src, size_t n) { Copy(nullptr, dst, src, n); }

void CopyToArena(Arena* arena, uint64_t offset, const std::byte* src, size_t n) {
  Copy(arena, arena->data(offset), src, n);
}

}  // namespace rmpi::objstore
