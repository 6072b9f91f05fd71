// SPDX-License-Identifier: Apache-2.0
// EventLoop: epoll with a handler per descriptor. One thread.
#pragma once

#include <sys/epoll.h>

#include <functional>
#include <unordered_map>

#include "runtime/base/time.h"
#include "runtime/base/unique_fd.h"

namespace rmpi {

class EventLoop {
 public:
  using Handler = std::function<void(uint32_t events)>;

  EventLoop();
  void Add(int fd, uint32_t events, Handler handler);
  void Remove(int fd);
  // Waits until `deadline` at most (a deadline in the past: only looks) and runs the handlers that are due.
  void Poll(TimeNs deadline);

 private:
  UniqueFd epoll_;
  std::unordered_map<int, Handler> handlers_;
};

}  // namespace rmpi
