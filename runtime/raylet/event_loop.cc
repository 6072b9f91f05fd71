// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/event_loop.h"

#include <algorithm>

namespace rmpi {

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}

void EventLoop::Add(int fd, uint32_t events, Handler handler) {
  handlers_[fd] = std::move(handler);
  epoll_event ev{};
  ev.events = events;
  ev.data.fd = fd;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &ev);
}

void EventLoop::Remove(int fd) {
  if (handlers_.erase(fd) != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::Poll(TimeNs deadline) {
  const TimeNs now = MonotonicNow();
  // Rounded up: waking a little late costs less than waking twice.
  const TimeNs wait =
      deadline <= now ? 0 : (std::min(deadline - now, 10 * kSecond) + kMillisecond - 1) / kMillisecond;
  epoll_event events[64];
  const int n = epoll_wait(epoll_.get(), events, 64, static_cast<int>(wait));
  for (int i = 0; i < n; ++i) {
    const auto it = handlers_.find(events[i].data.fd);
    if (it == handlers_.end()) continue;  // removed by a handler before it
    const Handler handler = it->second;   // the handler may remove itself
    handler(events[i].events);
  }
}

}  // namespace rmpi
