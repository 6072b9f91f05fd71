// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/interface.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "runtime/base/unique_fd.h"

namespace rmpi {
namespace {

struct LocalAddress {
  NetInterface interface;
  in_addr_t address;
  bool loopback;
};

std::vector<LocalAddress> LocalAddresses() {
  std::vector<LocalAddress> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> guard(list, &freeifaddrs);
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP)) continue;
    const in_addr a = reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &a, text, sizeof(text));
    out.push_back({{i->ifa_name, text}, a.s_addr, (i->ifa_flags & IFF_LOOPBACK) != 0});
  }
  return out;
}

bool Find(const std::vector<LocalAddress>& all, in_addr_t address, NetInterface* out) {
  for (const auto& a : all) {
    if (a.address != address || a.loopback) continue;
    *out = a.interface;
    return true;
  }
  return false;
}

bool OfHostName(const std::vector<LocalAddress>& all, NetInterface* out) {
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) != 0) return false;
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(host, nullptr, &hints, &list) != 0) return false;
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> guard(list, &freeaddrinfo);
  for (const addrinfo* i = list; i != nullptr; i = i->ai_next) {
    if (Find(all, reinterpret_cast<const sockaddr_in*>(i->ai_addr)->sin_addr.s_addr, out)) return true;
  }
  return false;
}

// Connecting a datagram socket sends nothing; the kernel only chooses the route.
bool OfRouteTo(const std::vector<LocalAddress>& all, const char* destination, NetInterface* out) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  if (inet_pton(AF_INET, destination, &to.sin_addr) != 1) return false;
  UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() || connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) return false;
  sockaddr_in from{};
  socklen_t length = sizeof(from);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&from), &length) != 0) return false;
  return Find(all, from.sin_addr.s_addr, out);
}

long EnvNumber(const char* name) {
  const char* text = getenv(name);
  return text == nullptr ? -1 : strtol(text, nullptr, 10);
}

}  // namespace

Status JobInterface(NetInterface* out) {
  const auto all = LocalAddresses();
  if (const char* wanted = getenv("RAY_MPI_INTERFACE"); wanted != nullptr && *wanted != '\0') {
    std::string have;
    for (const auto& a : all) {
      if (a.interface.name == wanted || a.interface.ipv4 == wanted) {
        *out = a.interface;
        return Status::Ok();
      }
      have += " " + a.interface.name + "=" + a.interface.ipv4;
    }
    return Status::Invalid(std::string("RAY_MPI_INTERFACE=") + wanted +
                           " names no IPv4 interface of this host, which has:" + have);
  }
  if (OfHostName(all, out)) return Status::Ok();
  if (const char* head = getenv("SLURM_LAUNCH_NODE_IPADDR"); head && OfRouteTo(all, head, out)) {
    return Status::Ok();
  }
  if (OfRouteTo(all, "192.0.2.1", out)) return Status::Ok();  // any address behind the default route
  return Status::NotFound(
      "no IPv4 interface found that reaches other hosts: the host name resolves to none and there is no "
      "default route; set RAY_MPI_INTERFACE to an interface's name");
}

bool LaunchIsOneHost() {
  if (const long size = EnvNumber("OMPI_COMM_WORLD_SIZE"); size > 0) {
    return EnvNumber("OMPI_COMM_WORLD_LOCAL_SIZE") == size;
  }
  if (const long nodes = EnvNumber("SLURM_STEP_NUM_NODES"); nodes > 0) return nodes == 1;
  if (const long size = EnvNumber("PMI_SIZE"); size > 0) return EnvNumber("MPI_LOCALNRANKS") == size;
  return false;
}

}  // namespace rmpi
