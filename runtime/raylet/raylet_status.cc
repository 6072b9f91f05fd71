// SPDX-License-Identifier: Apache-2.0
// Questions of people's commands (`ray-mpi status`, `ray-mpi drain`), which come in on the session's socket
// and are passed on to the head; and what this node has to say when the head asks.
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/base/fd_passing.h"
#include "runtime/base/session_socket.h"
#include "runtime/raylet/raylet_impl.h"

namespace rmpi {
namespace {

std::string TaskName(const SlotNotes& notes) { return {notes.name, strnlen(notes.name, sizeof notes.name)}; }

}  // namespace

// Its socket stays among those that connect, and whoever asked is forgotten when it closes.
void Raylet::PassQuestion(int fd, Question question, Bytes body) {
  if (node_ == 0) return Refuse(fd, "the runtime is coming up: its ranks have not all met yet");
  const uint64_t nonce = next_nonce_++;
  if (question == kAsksStatus) {
    router_.Send(GcsAddress(), MsgType::kStats, Nonce{nonce});
  } else if (question == kAsksDrain) {
    DrainRequest m;
    Reader reader(body);
    reader(m);
    if (!reader.Done()) return Refuse(fd, "what is to be drained cannot be read");
    m.nonce = nonce;
    router_.Send(GcsAddress(), MsgType::kDrainRequest, m);
  } else {
    return Refuse(fd, "this runtime does not know that question");
  }
  connecting_.at(fd)->question = nonce;
}

// In a file in memory: a datagram holds no answer about thousands of nodes, and nobody has to wait for one
// who does not read.
void Raylet::AnswerQuestion(uint64_t question, Bytes answer) {
  for (const auto& [fd, c] : connecting_) {
    if (c->question != question) continue;
    const int socket = fd;
    const UniqueFd file(memfd_create("ray-mpi-answer", MFD_CLOEXEC));
    const ssize_t n = file.valid() ? write(file.get(), answer.data(), answer.size()) : -1;
    if (n != static_cast<ssize_t>(answer.size()))
      return Refuse(socket, std::string("no memory for the answer: ") + std::strerror(errno));
    const LongAnswer head{kLongAnswer, answer.size()};
    const int fds[] = {file.get()};
    SendFds(socket, &head, sizeof head, fds, MSG_DONTWAIT);
    loop_.Remove(socket);
    connecting_.erase(socket);
    return;
  }
}

StatsReply Raylet::StoreFigures() const {
  const auto s = store_->GetStats();
  StatsReply reply;
  reply.capacity = s.capacity_bytes;
  reply.used = s.primary_bytes + s.copy_bytes;
  reply.objects = s.primaries + s.copies - s.backed + spiller_->manager().GetStats().objects;
  reply.moved = pulls_->moved_bytes();
  return reply;
}

void Raylet::SendNodeStatus(uint64_t nonce) {
  NodeStatus m;
  m.nonce = nonce;
  if (store_) {
    const StatsReply s = StoreFigures();
    m.store_bytes = s.capacity;
    m.store_used_bytes = s.used;
    m.store_objects = s.objects;
    m.spilled_bytes = spiller_->manager().GetStats().bytes;
  }
  m.available = scheduler_->available();
  scheduler_->bundles().ForEach([&](const auto&, const sched::Amounts& total, const sched::Pool& pool) {
    sched::Add(&m.in_groups, total);
    sched::Add(&m.in_groups_available, pool.available());
  });
  for (const auto& [slot, c] : clients_) {
    WorkerStatus& w = m.workers.emplace_back();
    w.pid = c->pid;
    w.slot = slot;
    w.driver = c->is_driver;
    w.job = c->job;
    w.task = TaskName(notes_[slot]);
    const auto view = scheduler_->ViewOf(c->address);
    if (!view) continue;
    w.language = view->language;
    w.blocked = view->blocked;
    w.leased = view->leased;
    w.actor = view->actor;
    w.resources = view->resources;
    w.cpus.assign(view->cpus.begin(), view->cpus.end());
    w.devices = view->devices;
  }
  for (const auto& [shape, count] : scheduler_->Waiting()) m.waiting.push_back({shape, count, false, ""});
  router_.Send(GcsAddress(), MsgType::kStatsReply, m);
}

}  // namespace rmpi
