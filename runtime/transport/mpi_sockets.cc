// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/mpi_sockets.h"

#include <dirent.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace rmpi {
namespace {

uint16_t PortOf(const sockaddr_storage& a) {
  if (a.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(a).sin_port);
  if (a.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(a).sin6_port);
  return 0;
}

using End = MpiSockets::Ends::End;

End EndOf(const sockaddr_storage& a) {
  End end;
  end.port = PortOf(a);
  if (a.ss_family == AF_INET) {
    end.ip[10] = end.ip[11] = 0xff;
    std::memcpy(end.ip.data() + 12, &reinterpret_cast<const sockaddr_in&>(a).sin_addr, 4);
  } else if (a.ss_family == AF_INET6) {
    std::memcpy(end.ip.data(), &reinterpret_cast<const sockaddr_in6&>(a).sin6_addr, 16);
  }
  return end;
}

bool EndsOf(int fd, MpiSockets::Ends* out) {
  sockaddr_storage local{}, remote{};
  socklen_t length = sizeof(local);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) != 0) return false;
  length = sizeof(remote);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&remote), &length) != 0) return false;
  *out = {EndOf(local), EndOf(remote)};
  return true;
}

template <typename Visit>
void ForEachSocket(Visit visit) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/proc/self/fd"), &closedir);
  if (!dir) return;
  while (const dirent* entry = readdir(dir.get())) {
    char* end = nullptr;
    const long fd = strtol(entry->d_name, &end, 10);
    if (end == entry->d_name || *end != '\0') continue;
    struct stat info;
    if (fstat(static_cast<int>(fd), &info) == 0 && S_ISSOCK(info.st_mode))
      visit(static_cast<int>(fd), info.st_ino);
  }
}

bool IsTcp(int fd) {
  int domain = 0, type = 0;
  socklen_t length = sizeof(int);
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return false;
  if (domain != AF_INET && domain != AF_INET6) return false;
  length = sizeof(int);
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

bool IsListening(int fd) {
  int listening = 0;
  socklen_t length = sizeof(int);
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening != 0;
}

uint16_t LocalPort(int fd) {
  sockaddr_storage a{};
  socklen_t length = sizeof(a);
  return getsockname(fd, reinterpret_cast<sockaddr*>(&a), &length) == 0 ? PortOf(a) : 0;
}

}  // namespace

MpiSockets::MpiSockets()
    : input_(epoll_create1(EPOLL_CLOEXEC)),
      output_(epoll_create1(EPOLL_CLOEXEC)),
      listeners_(epoll_create1(EPOLL_CLOEXEC)) {
  Add(output_.get());
  Add(listeners_.get());
  ForEachSocket([this](int, ino_t inode) { before_.insert(inode); });
}

bool MpiSockets::Add(int fd) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return epoll_ctl(input_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

std::vector<uint16_t> MpiSockets::FindListeners() {
  std::vector<uint16_t> ports;
  ForEachSocket([&](int fd, ino_t inode) {
    if (before_.contains(inode) || !IsTcp(fd) || !IsListening(fd)) return;
    if (const uint16_t port = LocalPort(fd); port != 0) {
      own_ports_.set(port);
      ports.push_back(port);
    }
  });
  return ports;
}

void MpiSockets::SetAllPorts(const std::vector<uint16_t>& ports) {
  for (uint16_t p : ports) all_ports_.set(p);
  all_ports_.reset(0);
  ExpectChange();
  Rescan();
}

MpiSockets::Kind MpiSockets::Classify(int fd) const {
  if (!IsTcp(fd)) return Kind::kForeign;
  const uint16_t local = LocalPort(fd);
  if (IsListening(fd)) return own_ports_[local] ? Kind::kListener : Kind::kForeign;
  if (own_ports_[local]) return Kind::kConnection;
  sockaddr_storage peer{};
  socklen_t length = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) {
    return errno == ENOTCONN ? Kind::kUnknown : Kind::kForeign;  // still connecting: look again later
  }
  return all_ports_[PortOf(peer)] ? Kind::kConnection : Kind::kForeign;
}

void MpiSockets::Watch(int fd, Kind kind) const {
  epoll_event event{};
  event.data.fd = fd;
  event.events = EPOLLIN;
  if (kind == Kind::kListener) {
    epoll_ctl(listeners_.get(), EPOLL_CTL_ADD, fd, &event);
    return;
  }
  epoll_ctl(input_.get(), EPOLL_CTL_ADD, fd, &event);
  event.events = EPOLLOUT | EPOLLET;
  epoll_ctl(output_.get(), EPOLL_CTL_ADD, fd, &event);
}

void MpiSockets::LookForConnections() {
  epoll_event events[16];
  const int n = epoll_wait(listeners_.get(), events, 16, 0);
  for (int i = 0; i < n; ++i) {
    const auto s = sockets_.find(events[i].data.fd);
    if (s != sockets_.end() && s->second.peer != kNobody) {
      NoteHangUp(&s->second);
    } else {
      ExpectChange();
    }
  }
}

void MpiSockets::NoteHangUp(Socket* s) {
  hung_up_.push_back({s->peer, MonotonicNow()});
  s->peer = kNobody;
}

std::vector<MpiSockets::Ends> MpiSockets::Connections() {
  Rescan();
  std::vector<Ends> out;
  for (const auto& [fd, s] : sockets_) {
    Ends ends;
    if (s.kind == Kind::kConnection && EndsOf(fd, &ends)) out.push_back(ends);
  }
  return out;
}

std::vector<bool> MpiSockets::Assign(const std::vector<Ends>& theirs, int peer) {
  std::vector<bool> ours(theirs.size());
  for (auto& [fd, s] : sockets_) {
    Ends ends;
    if (s.kind != Kind::kConnection || s.peer != kNobody || !EndsOf(fd, &ends)) continue;
    for (size_t i = 0; i < theirs.size(); ++i) {
      if (theirs[i].local != ends.remote || theirs[i].remote != ends.local) continue;
      ours[i] = true;
      s.peer = peer;
      epoll_event event{};
      event.events = EPOLLRDHUP | EPOLLET;
      event.data.fd = fd;
      epoll_ctl(listeners_.get(), EPOLL_CTL_ADD, fd, &event);
    }
  }
  return ours;
}

std::vector<int> MpiSockets::TakeHungUp() {
  std::vector<int> out;
  if (hung_up_.empty()) return out;
  const TimeNs before = MonotonicNow() - kLastWords;
  std::erase_if(hung_up_, [&](const HungUp& h) {
    if (h.since > before) return false;
    out.push_back(h.peer);
    return true;
  });
  return out;
}

void MpiSockets::Rescan() {
  const TimeNs begin = MonotonicNow();
  for (auto& [fd, s] : sockets_) s.seen = false;
  ForEachSocket([this](int fd, ino_t inode) {
    if (before_.contains(inode)) return;
    Socket& s = sockets_[fd];
    const bool known = s.inode == inode;
    s.seen = true;
    if (known && s.kind != Kind::kUnknown) return;
    if (s.peer != kNobody) NoteHangUp(&s);  // MPI was quicker than we, and the number is in use again
    const Kind was = known ? s.kind : Kind::kForeign;
    s.inode = inode;
    s.kind = Classify(fd);
    if (was == Kind::kForeign && s.kind != Kind::kForeign) Watch(fd, s.kind);
    if (was == Kind::kUnknown && s.kind == Kind::kForeign) {
      epoll_ctl(input_.get(), EPOLL_CTL_DEL, fd, nullptr);
      epoll_ctl(output_.get(), EPOLL_CTL_DEL, fd, nullptr);
    }
  });
  for (auto& [fd, s] : sockets_) {
    if (!s.seen && s.peer != kNobody) NoteHangUp(&s);
  }
  std::erase_if(sockets_, [](const auto& entry) { return !entry.second.seen; });
  const TimeNs end = MonotonicNow();
  scanned_at_ = end;
  next_scan_ = end + 4 * (end - begin);  // with thousands of sockets a scan takes its time
}

bool MpiSockets::Check(bool progress_was_made) {
  epoll_event events[64];
  const int n = epoll_wait(input_.get(), events, 64, 0);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    if (fd == output_.get()) {
      epoll_event edges[64];
      while (epoll_wait(output_.get(), edges, 64, 0) == 64) {
      }
      continue;
    }
    if (fd == listeners_.get()) {
      ExpectChange();
      continue;
    }
    if (!sockets_.contains(fd)) continue;
    if (progress_was_made) fruitless_ = 0;
    if (++fruitless_ >= kStuckLimit) {
      // Level-triggered it would keep us awake for ever; by edges it still tells of anything new.
      epoll_event event{};
      event.events = EPOLLIN | EPOLLET;
      event.data.fd = fd;
      epoll_ctl(input_.get(), EPOLL_CTL_MOD, fd, &event);
    }
  }
  if (n <= 0) fruitless_ = 0;
  if (calm_at_ == 0 && n > 0) return true;
  const TimeNs now = MonotonicNow();
  if (calm_at_ != 0) {
    if (now < next_scan_) return true;  // do not sleep on an outdated set
    Rescan();
    if (now >= calm_at_) calm_at_ = 0;
  } else if (now - scanned_at_ >= kScanAnyway) {
    Rescan();
  }
  return n > 0;
}

}  // namespace rmpi
