// SPDX-License-Identifier: Apache-2.0
#include "objstore/prefault.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/base/time.h"

#ifndef MADV_POPULATE_WRITE  // Linux 5.14; older C libraries do not name it
#define MADV_POPULATE_WRITE 23
#endif

namespace rmpi::objstore {

Prefaulter::Prefaulter(Arena* arena, Options options) : arena_(arena), options_(std::move(options)) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Prefaulter::~Prefaulter() {
  Stop();
  thread_.join();
}

void Prefaulter::Stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

bool Prefaulter::Pump(Allocator* allocator) {
  std::lock_guard lock(mutex_);
  if (done_) {
    allocator->MarkWarm(*done_);
    done_bytes_ += done_->bytes;
    done_.reset();
  }
  if (stopped_) return false;
  if (todo_) return true;
  // Counted in whole pages, as they are used: a range may begin and end within one.
  const uint64_t page = arena_->page_bytes();
  const uint64_t limit = std::min(options_.step_bytes, options_.budget_bytes - handed_bytes_) / page * page;
  auto cold = allocator->NextCold(limit);
  if (!cold) {
    stopped_ = true;
    changed_.notify_all();
    return false;
  }
  const uint64_t first_page = cold->offset / page * page;
  cold->bytes = std::min(cold->bytes, first_page + limit - cold->offset);
  handed_bytes_ += RoundUp(cold->end(), page) - first_page;
  todo_ = cold;
  changed_.notify_all();
  return true;
}

bool Prefaulter::Step(Range range) {
  const uint64_t page = arena_->page_bytes();
  const uint64_t begin = range.offset / page * page;
  const uint64_t end = std::min(RoundUp(range.end(), page), arena_->size());
  if (options_.may_take && !options_.may_take(end - begin)) return false;
  return ::madvise(arena_->data(begin), end - begin, MADV_POPULATE_WRITE) == 0;
}

void Prefaulter::Run() {
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)),
                19);  // of this thread alone, on Linux
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopped_ || todo_; });
    if (stopped_) return;
    const Range range = *todo_;
    lock.unlock();
    const TimeNs start = MonotonicNow();
    const bool ok = Step(range);
    const TimeNs busy_ns = MonotonicNow() - start;
    lock.lock();
    todo_.reset();
    if (ok) {
      done_ = range;
    } else {
      stopped_ = true;  // no room, or a kernel that cannot: memory is then made on first use
    }
    lock.unlock();
    if (options_.wake) options_.wake();
    lock.lock();
    const auto rest =
        std::chrono::nanoseconds(busy_ns * (100 - options_.busy_percent) / options_.busy_percent);
    changed_.wait_for(lock, rest, [this] { return stopped_; });
  }
}

}  // namespace rmpi::objstore
