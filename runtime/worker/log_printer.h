// SPDX-License-Identifier: Apache-2.0
// LogPrinter: writes the workers' lines on the driver's terminal, "(name pid=1, host) text", and folds a line
// that several workers write alike into one with a count, as Ray does. Any thread.
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/message/messages.h"

namespace rmpi {

class LogPrinter {
 public:
  LogPrinter(int out_fd, int err_fd);

  void Print(const LogLines& lines, TimeNs now);
  // Prints the counts whose time has come (all of them at the end).
  void Flush(TimeNs now, bool all);

 private:
  struct Repeated {
    std::string first;  // the line as first seen
    std::string prefix;
    int fd = 1;
    int32_t first_pid = 0;
    uint32_t count = 0;
    TimeNs since = 0;
  };
  void Write(int fd, const std::string& text);
  std::string Prefix(const LogLines& lines, int fd) const;
  void PrintRepeated(const Repeated& r, std::string* text) const;

  std::mutex mutex_;
  int fds_[2];
  bool colour_[2];
  bool fold_;
  std::unordered_map<std::string, Repeated> recent_;
};

}  // namespace rmpi
