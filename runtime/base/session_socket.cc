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

#include "runtime/base/fd_passing.h"

namespace rmpi {
namespace {

constexpr TimeNs kPatience = 10 * kSecond;
constexpr size_t kMaxRefusal = 1024;

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

// *said: the whole question is under way.
Status Say(const std::string& session, std::span<const std::byte> question, TimeNs patience, UniqueFd* socket,
           bool* said) {
  if (Status s = ConnectToSession(session, socket); !s.ok()) return s;
  const timeval wait{static_cast<time_t>(patience / kSecond),
                     static_cast<suseconds_t>(patience % kSecond / kMicrosecond)};
  setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  *said = send(socket->get(), question.data(), question.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(question.size());
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
  bool said = false;
  if (Status s = Say(session, question, kPatience, &socket, &said); !s.ok() || !said) return s;
  const ssize_t n = recv(socket.get(), answer.data(), answer.size(), 0);
  if (n > 0) *size = static_cast<size_t>(n);
  return Status::Ok();
}

Status AskSessionAtLength(const std::string& session, std::span<const std::byte> question, TimeNs patience,
                          std::vector<std::byte>* answer, std::vector<std::byte>* refusal) {
  answer->clear();
  refusal->clear();
  UniqueFd socket, file;
  bool said = false;
  if (Status s = Say(session, question, patience, &socket, &said); !s.ok()) return s;
  std::vector<std::byte> datagram(kMaxRefusal);
  const ssize_t n =
      said ? ReceiveFds(socket.get(), datagram.data(), datagram.size(), std::span(&file, 1), 0) : 0;
  LongAnswer head;
  if (n >= static_cast<ssize_t>(sizeof head)) std::memcpy(&head, datagram.data(), sizeof head);
  if (n == static_cast<ssize_t>(sizeof head) && head.magic == kLongAnswer && file.valid()) {
    answer->resize(head.bytes);
    if (pread(file.get(), answer->data(), answer->size(), 0) == static_cast<ssize_t>(answer->size()))
      return Status::Ok();
  } else if (n > 0) {
    datagram.resize(static_cast<size_t>(n));
    *refusal = std::move(datagram);
    return Status::Ok();
  }
  return Status::Unavailable("the runtime at " + session +
                             " does not answer: it is ending, or its head is too busy");
}

}  // namespace rmpi
