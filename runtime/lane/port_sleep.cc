// SPDX-License-Identifier: Apache-2.0
// The sleeping part of Port: any thread of the process, no lock held.
#include <sched.h>

#include "runtime/lane/futex.h"
#include "runtime/lane/port.h"

namespace rmpi::lane {
namespace {

constexpr TimeNs kStarvedRetryNs = 10 * kMillisecond;

int IndexOf(Sleeper who) { return who == Sleeper::kMain ? 0 : 1; }

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

}  // namespace

bool Port::Publish(Sleeper who) {
  // Sequentially consistent, as are the looks for dirty bits after it: a sender marks a lane and then looks
  // at this word. One of us sees the other.
  me_->asleep.exchange(static_cast<uint32_t>(who), std::memory_order_seq_cst);
  PublishCpu();
  if (!HasMail()) return false;
  if (who == Sleeper::kAwake) return true;
  if (me_->asleep.exchange(0, std::memory_order_seq_cst) != 0 && who != Sleeper::kEventFd) {
    me_->futex[IndexOf(who)].fetch_add(1, std::memory_order_release);
    FutexWake(&me_->futex[IndexOf(who)]);
  }
  return true;
}

// Takes our own name back after a wait. A sender may have taken it already, or another thread replaced it.
void Port::Withdraw(Sleeper who) {
  uint32_t expected = static_cast<uint32_t>(who);
  me_->asleep.compare_exchange_strong(expected, 0, std::memory_order_seq_cst);
}

Wake Port::Sleep(Sleeper who, TimeNs deadline_ns) {
  me_->asleep.exchange(static_cast<uint32_t>(who), std::memory_order_seq_cst);
  PublishCpu();
  if (HasMail()) {
    Withdraw(who);
    return Wake::kMail;
  }
  return Park(who, deadline_ns);
}

Wake Port::Park(Sleeper who, TimeNs deadline_ns) {
  const int i = IndexOf(who);
  bool retry = false;
  if (starved_.load(std::memory_order_relaxed)) {
    const TimeNs soon = MonotonicNow() + kStarvedRetryNs;
    retry = soon < deadline_ns;
    if (retry) deadline_ns = soon;
  }
  uint32_t now = me_->futex[i].load(std::memory_order_acquire);
  while (now == seen_[i]) {  // a ring since our last wait ends this one
    const int error = FutexWait(&me_->futex[i], now, deadline_ns);
    now = me_->futex[i].load(std::memory_order_acquire);
    if (now != seen_[i]) break;
    if (error == EINTR || error == ETIMEDOUT) {
      Withdraw(who);
      return error == EINTR ? Wake::kSignal : retry ? Wake::kKicked : Wake::kTimeout;
    }
  }
  seen_[i] = now;
  Withdraw(who);
  if (kicked_[i].exchange(false, std::memory_order_acquire)) return Wake::kKicked;
  return HasMail() ? Wake::kMail : Wake::kKicked;
}

void Port::Kick(Sleeper who) {
  if (who == Sleeper::kEventFd) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(raylet_eventfd_, &one, sizeof(one));
    return;
  }
  const int i = IndexOf(who);
  kicked_[i].store(true, std::memory_order_release);
  me_->futex[i].fetch_add(1, std::memory_order_release);
  FutexWake(&me_->futex[i]);
}

uint32_t Port::PublishCpu() {
  const uint32_t cpu_plus_1 = static_cast<uint32_t>(sched_getcpu() + 1);
  if (me_->cpu_plus_1.load(std::memory_order_relaxed) != cpu_plus_1) {
    me_->cpu_plus_1.store(cpu_plus_1, std::memory_order_relaxed);
  }
  return cpu_plus_1;
}

bool Port::PeersShareCpu(uint32_t cpu_plus_1) const {
  uint64_t peers = active_.load(std::memory_order_relaxed);
  if (peers == 0) return false;
  for (; peers != 0; peers >>= 16) {
    const size_t peer = (peers & 0xFFFF) - 1;
    if (board_->records_[peer].cpu_plus_1.load(std::memory_order_relaxed) != cpu_plus_1) return false;
  }
  return true;
}

bool Port::Spin(TimeNs spin_ns) {
  constexpr int kPausesPerLook = 128;
  if (HasMail()) return true;
  const TimeNs end = MonotonicNow() + spin_ns;
  do {
    // On one CPU our spinning is what keeps the peer from answering.
    if (PeersShareCpu(PublishCpu())) return HasMail();
    for (int i = 0; i < kPausesPerLook; ++i) {
      Pause();
      if (HasMail()) return true;
    }
    sched_yield();  // somebody else's turn, if anybody waits for this CPU
  } while (MonotonicNow() < end);
  return HasMail();
}

}  // namespace rmpi::lane
