// SPDX-License-Identifier: Apache-2.0
// How far a program has come: one line that is rewritten on a terminal, a line for every tenth in a log.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

class Progress {
 public:
  Progress(std::string unit, size_t total)
      : unit_(std::move(unit)), total_(total), terminal_(::isatty(STDOUT_FILENO) != 0) {}

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  /// `done` of the total are done; `note` says what came out so far.
  void Update(size_t done, const std::string& note) {
    if (terminal_) {
      Draw(done, note);
    } else if (done * 10 / total_ > shown_ * 10 / total_) {
      std::printf("[%6.1f s] %zu/%zu %s, %s\n", seconds(), done, total_, unit_.c_str(), note.c_str());
      std::fflush(stdout);
      shown_ = done;
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Draw(size_t done, const std::string& note) {
    if (done < total_ && Clock::now() < next_draw_) return;
    next_draw_ = Clock::now() + std::chrono::milliseconds(50);
    constexpr size_t kWidth = 30;
    const size_t filled = kWidth * done / total_;
    const std::string bar = std::string(filled, '=') + std::string(kWidth - filled, ' ');
    std::printf("\r[%s] %zu/%zu %s, %s\033[K%s", bar.c_str(), done, total_, unit_.c_str(), note.c_str(),
                done == total_ ? "\n" : "");
    std::fflush(stdout);
  }

  const std::string unit_;
  const size_t total_;
  const bool terminal_;
  const Clock::time_point start_ = Clock::now();
  size_t shown_ = 0;
  Clock::time_point next_draw_;
};
