// SPDX-License-Identifier: Apache-2.0
// Frames that can be checked: {sequence, size, seed, checksummed noise}. Shared by the transports' tests.
#pragma once

#include <sys/epoll.h>
#include <sys/resource.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/transport/transport.h"

namespace rmpi {

struct TrafficHeader {
  uint64_t sequence;
  uint64_t size;
  uint64_t sum;
};

inline uint64_t Sum(const std::byte* data, size_t size) {
  uint64_t sum = 1469598103934665603ULL;
  for (size_t i = 0; i < size; ++i) sum = (sum ^ static_cast<uint8_t>(data[i])) * 1099511628211ULL;
  return sum;
}

inline std::vector<std::byte> MakeFrame(uint64_t sequence, size_t size, std::mt19937_64* random) {
  std::vector<std::byte> frame(std::max(size, sizeof(TrafficHeader)));
  for (size_t i = sizeof(TrafficHeader); i < frame.size(); i += 8) {
    const uint64_t word = (*random)();
    std::memcpy(frame.data() + i, &word, std::min<size_t>(8, frame.size() - i));
  }
  const TrafficHeader header{sequence, frame.size(),
                             Sum(frame.data() + sizeof(TrafficHeader), frame.size() - sizeof(TrafficHeader))};
  std::memcpy(frame.data(), &header, sizeof(header));
  return frame;
}

// True when the frame is whole and is number `sequence`.
inline bool CheckFrame(Bytes frame, uint64_t sequence) {
  TrafficHeader header;
  if (frame.size() < sizeof(header)) return false;
  std::memcpy(&header, frame.data(), sizeof(header));
  return header.sequence == sequence && header.size == frame.size() &&
         header.sum == Sum(frame.data() + sizeof(header), frame.size() - sizeof(header));
}

// Mostly small, some large, now and then the largest.
inline size_t RandomSize(std::mt19937_64* random) {
  const uint64_t r = (*random)();
  switch (r % 16) {
    case 0:
      return kMaxFrameBytes;
    case 1:
    case 2:
    case 3:
      return r / 16 % kMaxFrameBytes + 1;
    default:
      return r / 16 % 2000 + 1;
  }
}

// Frames that a sleeper found only because its safety timeout ended: each is a wake-up that was missing, or a
// coincidence.
inline uint64_t late_frames = 0;

// One turn of a control thread: poll, and sleep if there is nothing. Returns the frames delivered.
inline size_t Turn(Transport* t, int epoll, const FrameHandler& handler, int timeout_ms = 100) {
  if (const size_t n = t->Poll(handler); n > 0) return n;
  if (!t->Arm()) return 0;
  epoll_event event;
  if (epoll_wait(epoll, &event, 1, timeout_ms) != 0) return 0;
  const size_t late = t->Poll(handler);
  late_frames += late;
  return late;
}

inline int NestedEpoll(Transport* t) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  epoll_ctl(epoll, EPOLL_CTL_ADD, t->EpollFd(), &event);
  return epoll;
}

inline TimeNs CpuTime() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * kSecond + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

}  // namespace rmpi
