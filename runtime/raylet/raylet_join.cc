// SPDX-License-Identifier: Apache-2.0
// Nodes that join a running job: how the head lets them in, and how one finds its way. Such a node has one
// connection, with the head, which relays what is for others; objects go from node to node.
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include "objstore/spill/run_folders.h"
#include "runtime/base/session_socket.h"
#include "runtime/raylet/raylet_impl.h"
#include "runtime/transport/interface.h"
#include "runtime/transport/listen_file.h"
#include "runtime/transport/mpi.h"
#include "runtime/transport/split.h"

namespace rmpi {
namespace {

Status AskForTicket(const std::string& session, JoinTicket* ticket) {
  ClientHello hello;
  hello.is_node = 1;
  std::array<std::byte, sizeof *ticket> answer;
  static_assert(sizeof(ClientWelcome) < sizeof answer);
  size_t n = 0;
  if (Status s = AskSession(session, std::as_bytes(std::span(&hello, 1)), answer, &n); !s.ok()) return s;
  if (const auto refused = RefusalIn(std::span(answer).first(n))) return Status::Unavailable(*refused);
  if (n != sizeof *ticket) {
    return Status::Unavailable("the runtime at " + session +
                               " does not answer: it is ending, or of another user");
  }
  std::memcpy(ticket, answer.data(), sizeof *ticket);
  ticket->version[sizeof ticket->version - 1] = ticket->address[sizeof ticket->address - 1] = '\0';
  return Status::Ok();
}

// All processes of a run are of one build, as the ranks of a launch are.
Status CheckVersion(const std::string& head, const std::string& run) {
  if (head == BuildVersion()) return Status::Ok();
  return Status::Invalid(fmt::format("--join: {} is a run of ray-mpi {}, and this is {}: use the same one",
                                     run, head, BuildVersion()));
}

}  // namespace

std::string Raylet::Origin() const { return joined_ ? "joined later" : "rank " + std::to_string(rank_); }

// ---- the joining node -------------------------------------------------------------------------------------

Status Raylet::JoinRun() {
  joined_ = true;
  head_ = false;
  DirectOptions options;
  options.rank = kUnnumbered;
  options.listen = false;
  std::string address;
  if (std::filesystem::is_directory(config_.join)) {
    JoinTicket ticket;
    if (Status s = AskForTicket(config_.join, &ticket); !s.ok()) return s;
    if (Status s = CheckVersion(ticket.version, config_.join); !s.ok()) return s;
    options.secret = ticket.secret;
    address = ticket.address;
    one_host_ = ticket.one_host != 0;
  } else {
    ListenFile file;
    if (Status s = ReadListenFile(config_.join, &file); !s.ok()) return s;
    if (Status s = CheckVersion(file.version, config_.join); !s.ok()) return s;
    options.secret = file.secret;
    address = file.address;
    one_host_ = false;
  }
  secret_ = options.secret;
  std::unique_ptr<DirectTransport> direct;
  if (Status s = MakeDirectTransport(options, &direct); !s.ok()) return s;
  if (Status s = direct->AddPeer(0, address); !s.ok()) return s;
  rank_ = kUnnumbered;
  UseTransport(std::move(direct));
  return Status::Ok();
}

// ---- the head ---------------------------------------------------------------------------------------------

// Until somebody wants to join, nothing listens.
Status Raylet::OpenToNodes() {
  DirectOptions options;
  options.size = options.first_new_peer = launch_size_;
  if (launch_size_ == 1 &&
      getrandom(secret_.data(), secret_.size(), 0) != static_cast<ssize_t>(secret_.size()))
    return Status::Io("getrandom", errno);
  options.secret = secret_;
  if (!config_.listen.empty()) {
    NetInterface interface;
    if (Status s = JobInterface(&interface); !s.ok()) return s;
    options.bind_ipv4 = interface.ipv4;
  }
  std::unique_ptr<DirectTransport> direct;
  if (Status s = MakeDirectTransport(options, &direct); !s.ok()) return s;
  DirectTransport* const joiners = direct.get();
  if (transport_) {
    loop_.Remove(transport_->EpollFd());
    std::unique_ptr<Transport> both;
    if (Status s = SplitTransport::Make(std::move(transport_), std::move(direct), &both); !s.ok()) return s;
    UseTransport(std::move(both));
  } else {
    UseTransport(std::move(direct));
  }
  joiners_ = joiners;
  if (config_.listen.empty()) return Status::Ok();
  return WriteListenFile(config_.listen, {config_.run_id, BuildVersion(), joiners_->LocalAddress(), secret_});
}

// Whoever connects to the session's socket is this user's: it gets what it needs to connect to the head.
void Raylet::Invite(int fd) {
  if (!head_) {
    return Refuse(fd,
                  fmt::format("this is {} of the run, where nodes cannot join: join where its rank 0 runs, "
                              "or by the file of its --listen",
                              Origin()));
  }
  if (Status open = joiners_ == nullptr ? OpenToNodes() : Status::Ok(); !open.ok())
    return Refuse(fd, open.message());
  JoinTicket ticket;
  ticket.one_host = one_host_;
  ticket.secret = secret_;
  BuildVersion().copy(ticket.version, sizeof ticket.version - 1);
  joiners_->LocalAddress().copy(ticket.address, sizeof ticket.address - 1);
  send(fd, &ticket, sizeof ticket, MSG_NOSIGNAL | MSG_DONTWAIT);
  loop_.Remove(fd);
  connecting_.erase(fd);
}

// What the head knows; elsewhere what this node was told.
void Raylet::ShowNodes(int fd) {
  NodesReply reply;
  const auto add = [&](NodeRecord record) {
    record.data_address.clear();
    reply.nodes.push_back(std::move(record));
  };
  if (gcs_) {
    for (const auto& [id, record] : gcs_->nodes()) add(record);
  } else {
    for (const auto& [id, record] : nodes_) add(record);
  }
  Writer writer;
  writer(run_id_);
  writer(reply);
  send(fd, writer.bytes().data(), writer.bytes().size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  loop_.Remove(fd);
  connecting_.erase(fd);
}

void Raylet::OnJoin(int peer, NodeRecord record) {
  // A rank of the launch has to be let in although the program is over already: it is told that then.
  if (peer >= launch_size_ && (stopping_ || stop_asked_)) return links_->Drop(peer);
  record.rank = peer < launch_size_ ? peer : -peer;
  if (JoinedLater(record) && !transfer_) {  // from here on there is somebody to transfer objects to
    if (Status s = StartTransfer(); !s.ok())
      Warn("objects cannot be transferred to and from nodes that join: " + s.message());
    if (transfer_) gcs_->SetDataAddress(kHeadNode, transfer_->LocalAddress());
  }
  objstore::spill::NoteFoldersOfOthers(config_.session, record.spill_folders);
  gcs_->OnJoin(record, MonotonicNow());
}

// From a node that joined later, or to one. What is for a node that is gone is dropped: its sender hears of
// that death as everybody does. (Anybody but the head gets such only for a former life of its rank.)
void Raylet::Relay(const MessageHeader& header, Bytes body) {
  if (head_ && router_.PeerOf(header.dst.node) >= 0) router_.Forward(header, body);
}

}  // namespace rmpi
