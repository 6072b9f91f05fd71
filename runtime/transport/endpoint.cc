// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

namespace rmpi {
namespace {

constexpr int kBacklog = 4096;

bool FillUnix(const std::string& name, sockaddr_un* address, socklen_t* length) {
  if (name.empty() || name.size() + 1 > sizeof(address->sun_path)) return false;
  *address = {};
  address->sun_family = AF_UNIX;
  std::memcpy(address->sun_path + 1, name.data(), name.size());
  *length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return true;
}

bool FillTcp(const std::string& ipv4, uint16_t port, sockaddr_in* address) {
  *address = {};
  address->sin_family = AF_INET;
  address->sin_port = htons(port);
  return inet_pton(AF_INET, ipv4.c_str(), &address->sin_addr) == 1;
}

}  // namespace

std::string Endpoint::ToString() const {
  const std::string tcp = port == 0 ? "" : ipv4 + ":" + std::to_string(port);
  return host + "|" + unix_name + "|" + tcp;
}

bool Endpoint::Parse(const std::string& text, Endpoint* out) {
  const size_t first = text.find('|');
  const size_t second = first == std::string::npos ? first : text.find('|', first + 1);
  if (second == std::string::npos) return false;
  *out = {text.substr(0, first), text.substr(first + 1, second - first - 1), "", 0};
  const std::string tcp = text.substr(second + 1);
  if (tcp.empty()) return !out->host.empty();
  const size_t colon = tcp.rfind(':');
  if (colon == std::string::npos) return false;
  const unsigned long port = strtoul(tcp.c_str() + colon + 1, nullptr, 10);
  out->ipv4 = tcp.substr(0, colon);
  out->port = static_cast<uint16_t>(port);
  sockaddr_in address;
  return port > 0 && port < 65536 && FillTcp(out->ipv4, out->port, &address);
}

std::string HostIdentity() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat info {};
  stat("/proc/self/ns/net", &info);
  return boot + "/" + std::to_string(info.st_ino);
}

Status ListenUnix(std::string* name, UniqueFd* out) {
  uint64_t random[2] = {};
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) return Status::Io("getrandom", errno);
  char text[64];
  snprintf(text, sizeof(text), "ray-mpi-%016llx%016llx", static_cast<unsigned long long>(random[0]),
           static_cast<unsigned long long>(random[1]));
  *name = text;
  sockaddr_un address{};
  socklen_t length = 0;
  FillUnix(*name, &address, &length);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid() || bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    return Status::Io("direct transport: listening on an abstract Unix socket", errno);
  }
  *out = std::move(fd);
  return Status::Ok();
}

Status ListenTcp(const std::string& ipv4, uint16_t* port, UniqueFd* out) {
  sockaddr_in address;
  if (!FillTcp(ipv4, 0, &address)) return Status::Invalid("direct transport: not an IPv4 address: " + ipv4);
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  socklen_t length = sizeof(address);
  if (!fd.valid() || bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(fd.get(), kBacklog) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return Status::Io("direct transport: listening on " + ipv4, errno);
  }
  *port = ntohs(address.sin_port);
  *out = std::move(fd);
  return Status::Ok();
}

Status StartConnect(const Endpoint& to, const std::string& own_host, UniqueFd* out, bool* again) {
  *again = false;
  const bool local = to.host == own_host && !to.unix_name.empty();
  if (!local && to.port == 0) {
    return Status::Unavailable("direct transport: the peer listens on its own host only (" + to.host + ")");
  }
  sockaddr_un unix_address;
  sockaddr_in tcp_address;
  socklen_t length = sizeof(tcp_address);
  const bool filled =
      local ? FillUnix(to.unix_name, &unix_address, &length) : FillTcp(to.ipv4, to.port, &tcp_address);
  if (!filled) return Status::Invalid("direct transport: malformed address " + to.ToString());
  UniqueFd fd(socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Status::Io("direct transport: socket", errno);
  const auto* address = local ? reinterpret_cast<const sockaddr*>(&unix_address)
                              : reinterpret_cast<const sockaddr*>(&tcp_address);
  if (connect(fd.get(), address, length) != 0 && errno != EINPROGRESS) {
    *again = local && errno == EAGAIN;
    return Status::Io("direct transport: connecting to " + to.ToString(), errno);
  }
  if (!PrepareConnection(fd.get())) {
    return Status::Unavailable("direct transport: " + to.unix_name + " is another user's socket");
  }
  *out = std::move(fd);
  return Status::Ok();
}

bool PrepareConnection(int fd) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return false;
  if (domain == AF_UNIX) {
    ucred peer{};
    length = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return true;
}

}  // namespace rmpi
