// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/session_socket.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace rmpi {
namespace {

constexpr time_t kPatienceS = 10;

// Name of the abstract socket in <session>/session.json.
Status SocketName(const std::string& session, std::string* name) {
  std::ifstream in(session + "/session.json");
  if (!in)
    return Status::Unavailable("no ray-mpi runtime at " + session + " (there is no session.json to read)");
  const auto json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object() || !json.contains("socket") || !json["socket"].is_string()) {
    return Status::Unavailable(session + "/session.json is not a session file");
  }
  *name = json["socket"].get<std::string>();
  return Status::Ok();
}

Status OpenSocket(const std::string& name, UniqueFd* out) {
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un addr{};
  addr.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof addr.sun_path) return Status::Invalid("socket name too long: " + name);
  std::memcpy(addr.sun_path + 1, name.data(), name.size());  // abstract: starts with a zero byte
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&addr), size) != 0) {
    return Status::Unavailable("cannot connect to the runtime's socket @" + name + ": " +
                               std::strerror(errno));
  }
  // The name may outlive its runtime, and then be anybody's. Root may use the runtimes of others.
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 ||
      (peer.uid != geteuid() && peer.uid != 0 && geteuid() != 0)) {
    return Status::Unavailable("the socket @" + name + " is another user's");
  }
  *out = std::move(fd);
  return Status::Ok();
}

}  // namespace

Status ConnectToSession(const std::string& session, UniqueFd* out) {
  std::string name;
  if (Status s = SocketName(session, &name); !s.ok()) return s;
  return OpenSocket(name, out);
}

Status AskSession(const std::string& session, std::span<const std::byte> question,
                  std::span<std::byte> answer, size_t* size) {
  *size = 0;
  UniqueFd socket;
  if (Status s = ConnectToSession(session, &socket); !s.ok()) return s;
  const timeval patience{kPatienceS, 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const ssize_t sent = send(socket.get(), question.data(), question.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(question.size())) return Status::Ok();
  const ssize_t n = recv(socket.get(), answer.data(), answer.size(), 0);
  if (n > 0) *size = static_cast<size_t>(n);
  return Status::Ok();
}

}  // namespace rmpi
