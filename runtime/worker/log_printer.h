// SPDX-License-Identifier: Apache-2.0
// LogPrinter: writes the workers' lines on the driver's terminal, "(name pid=1, host) text", and folds a line
// that several workers write alike into one with a count, as Ray does.
//
// It has a thread of its own: a terminal or pipe that nobody reads must hold up neither the lanes nor the
// program. What waits here is bounded by those who send: a raylet sends no more than 1 MiB that `printed` has
// not confirmed.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "runtime/base/time.h"
#include "runtime/ids/ids.h"
#include "runtime/message/messages.h"

namespace rmpi {

class LogPrinter {
 public:
  using Printed = std::function<void(const Address& from, uint64_t bytes)>;

  // `printed` is called by the printer's thread, which holds no lock then.
  LogPrinter(int out_fd, int err_fd, Printed printed);
  ~LogPrinter();  // Finish
  LogPrinter(const LogPrinter&) = delete;
  LogPrinter& operator=(const LogPrinter&) = delete;

  // Any thread; never waits.
  void Add(const Address& from, LogLines lines);
  // Returns when all that was added is written, or its reader is gone.
  void Finish();

 private:
  struct Item {
    Address from;
    LogLines lines;
  };
  struct Repeated {
    std::string first;  // the line as first seen
    std::string prefix;
    int fd = 1;
    int32_t first_pid = 0;
    uint32_t count = 0;
    TimeNs since = 0;
  };
  void Run();
  void Print(const LogLines& lines, TimeNs now);
  // Prints the counts whose time has come (all of them at the end).
  void PrintCounts(TimeNs now, bool all);
  static void Write(int fd, const std::string& text);
  std::string Prefix(const LogLines& lines, int fd) const;
  void PrintRepeated(const Repeated& r, std::string* text);

  const int fds_[2];
  const Printed printed_;
  bool colour_[2];
  bool fold_;
  bool told_ = false;                                 // the thread's own: the user knows how to see all lines
  std::unordered_map<std::string, Repeated> recent_;  // the thread's own

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queue_;
  bool finish_ = false;
  std::thread thread_;
};

}  // namespace rmpi
