// SPDX-License-Identifier: Apache-2.0
// Prefaulter: makes free, cold memory of an arena warm in the background, so that a put finds pages that
// exist. A thread of its own at the lowest priority; the allocator stays with the control thread, which hands
// over one step's range at a time (Pump) and takes finished ones back.
//
// It never goes beyond its budget, and asks before each step whether there is room: memory beyond the
// cgroup's limit is not an error but SIGKILL.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "objstore/allocator.h"
#include "objstore/arena.h"

namespace rmpi::objstore {

class Prefaulter {
 public:
  struct Options {
    uint64_t budget_bytes = 0;       // in all
    uint64_t step_bytes = 16 << 20;  // the most that may be overshot if may_take is late
    int busy_percent = 50;           // sleeps the rest of the time between steps
    // Whether the node can spare that many bytes more now. On the prefaulter's thread. False ends the work.
    std::function<bool(uint64_t)> may_take;
    // A step is done: make the control thread call Pump. On the prefaulter's thread.
    std::function<void()> wake;
  };
  Prefaulter(Arena* arena, Options options);
  ~Prefaulter();  // waits for the step in progress
  Prefaulter(const Prefaulter&) = delete;
  Prefaulter& operator=(const Prefaulter&) = delete;

  // On the control thread: marks what is done, hands out the next cold range. False: nothing more to do.
  bool Pump(Allocator* allocator);
  // Ends the work for good, e.g. when the node's memory gets scarce. Any thread.
  void Stop();
  uint64_t done_bytes() const { return done_bytes_; }  // control thread

 private:
  void Run();
  bool Step(Range range);

  Arena* const arena_;
  const Options options_;
  uint64_t done_bytes_ = 0;  // control thread only, as is handed_bytes_
  uint64_t handed_bytes_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Range> todo_;  // guarded by mutex_, as all below
  std::optional<Range> done_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace rmpi::objstore
