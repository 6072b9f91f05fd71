// SPDX-License-Identifier: Apache-2.0
// The futex system call on words in shared memory (never FUTEX_PRIVATE: the waker is another process).
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "runtime/base/time.h"

namespace rmpi::lane {

// Returns 0 when woken (or spuriously), else EAGAIN (the word had changed), EINTR or ETIMEDOUT. The deadline
// is on CLOCK_MONOTONIC. There always is one: without, the kernel restarts the wait after an SA_RESTART
// handler.
inline int FutexWait(std::atomic<uint32_t>* word, uint32_t expected, TimeNs deadline_ns) {
  if (deadline_ns < 0) deadline_ns = 0;
  const timespec ts{static_cast<time_t>(deadline_ns / kSecond), static_cast<long>(deadline_ns % kSecond)};
  const long rc = syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT_BITSET, expected, &ts,
                          nullptr, FUTEX_BITSET_MATCH_ANY);
  return rc == 0 ? 0 : errno;
}

inline void FutexWake(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

}  // namespace rmpi::lane
