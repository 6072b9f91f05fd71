// SPDX-License-Identifier: Apache-2.0
// Who connects, what they get, and what is done when they are gone (PROTOCOL C2, T6).
#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <ctime>

#include "runtime/base/fd_passing.h"
#include "runtime/raylet/raylet_impl.h"

namespace rmpi {
namespace {

constexpr TimeNs kStatusPatience = 200 * kMillisecond;  // for the keeper to say how it ended
constexpr TimeNs kJobEndPatience = 700 * kMillisecond;
constexpr size_t kLogBacklog = 4 << 20;
constexpr size_t kUnprintedLogs = 1 << 20;  // sent to a driver by this node, which it has not yet printed
constexpr TimeNs kAcceptPause = 200 * kMillisecond;
constexpr size_t kCausesKept = 256;  // for those who ask for a process later

}  // namespace

void Raylet::OnConnect() {
  const int fd = accept4(config_.listen_fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
    // It stays readable: looked at again a little later, not in a loop.
    spdlog::warn("a client waits: accept: {}; this raylet has {} clients", std::strerror(errno),
                 clients_.size());
    loop_.Remove(config_.listen_fd);
    listen_again_ = MonotonicNow() + kAcceptPause;
  }
  if (fd < 0) return;
  auto c = std::make_unique<Client>();
  c->socket.reset(fd);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || (peer.uid != geteuid() && peer.uid != 0))
    return;
  c->pid = peer.pid;
  connecting_[fd] = std::move(c);
  loop_.Add(fd, EPOLLIN, [this, fd](uint32_t) { OnHello(fd); });
}

void Raylet::Refuse(int fd, const std::string& why) {
  ClientWelcome w;
  w.refused = 1;
  why.copy(w.text, sizeof w.text - 1);
  SendFds(fd, &w, sizeof w, {}, MSG_DONTWAIT);
  loop_.Remove(fd);
  connecting_.erase(fd);
}

void Raylet::OnHello(int fd) {
  std::array<std::byte, kMaxHelloBytes> datagram;
  const ssize_t n = recv(fd, datagram.data(), datagram.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  ClientHello hello;
  const bool whole = n >= static_cast<ssize_t>(sizeof hello);
  if (whole) std::memcpy(&hello, datagram.data(), sizeof hello);
  if (!whole || hello.magic != kHelloMagic) {
    loop_.Remove(fd);
    connecting_.erase(fd);
    return;
  }
  if (hello.version != kWireVersion)
    return Refuse(fd, "this runtime is of another version of ray-mpi than the program");
  if (stopping_) return Refuse(fd, "the runtime is shutting down");
  if (hello.is_node != 0) return Invite(fd);
  if (hello.asks == kAsksNodes) return ShowNodes(fd);
  const Bytes rest{datagram.data() + sizeof hello, static_cast<size_t>(n) - sizeof hello};
  if (hello.asks != 0) return PassQuestion(fd, static_cast<Question>(hello.asks), rest);
  JobMessage start;
  Reader reader(rest);
  if (hello.is_driver != 0) reader(start);
  if (!reader.ok()) return Refuse(fd, "the driver's description of its job cannot be read");
  std::unique_ptr<Client> c = std::move(connecting_.at(fd));
  connecting_.erase(fd);
  uint16_t slot = 0;
  uint32_t generation = 0;
  if (Status s = board_->OpenSlot(c->pid, &slot, &generation); !s.ok()) {
    connecting_[fd] = std::move(c);
    return Refuse(fd, s.message());
  }
  c->address = {node_, slot, 0, generation};
  c->is_driver = hello.is_driver != 0;
  c->wants_logs = hello.wants_logs != 0;
  c->token = hello.spawn_token;
  c->pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, c->pid, 0)));
  std::memset(notes_[slot].name, 0, sizeof notes_[slot].name);
  notes_[slot].device_lease.store(0, std::memory_order_relaxed);  // leases are counted from 1
  notes_[slot].cpu_lease.store(0, std::memory_order_relaxed);
  notes_[slot].started_ns.store(0, std::memory_order_relaxed);
  const auto died = [this, slot](uint32_t) {
    const auto it = clients_.find(slot);
    if (it != clients_.end()) StartDeath(it->second.get(), MonotonicNow());
  };
  loop_.Remove(fd);
  loop_.Add(fd, EPOLLIN, died);  // nothing is said here any more: readable means closed
  if (c->pidfd.valid()) loop_.Add(c->pidfd.get(), EPOLLIN, died);
  Client* client = c.get();
  clients_[slot] = std::move(c);
  if (client->is_driver) {
    start.driver = client->address;
    start.nonce = next_nonce_++;
    job_starts_[start.nonce] = slot;
    router_.Send(GcsAddress(), MsgType::kJobStart, start);
    return;
  }
  uint8_t language = kPythonLanguage;
  if (const auto spawn = spawns_.find(client->token); spawn != spawns_.end()) {
    client->job = spawn->second.job;
    language = spawn->second.language;
    spawns_.erase(spawn);
    if (const auto job = jobs_.find(client->job.value); job != jobs_.end()) job->second.native_failures = 0;
  }
  if (WorkerOutput* out = logs_.Find(client->token)) {
    out->pid = client->pid;
    out->slot = slot;
  }
  Welcome(client);
  start_failures_ = 0;
  scheduler_->OnWorkerReady(client->address, client->job, language, MonotonicNow());
}

void Raylet::Welcome(Client* c) {
  ClientWelcome w;
  w.address = c->address;
  w.job = c->job;
  w.run_id = run_id_;
  const int fds[kWelcomeFds] = {config_.board_fd, config_.arena_fd, config_.pins_fd, bell_.get(),
                                notes_fd_.get()};
  c->ready = true;
  SendFds(c->socket.get(), &w, sizeof w, fds, MSG_DONTWAIT);
}

Raylet::Client* Raylet::ClientAt(const Address& a) {
  const auto it = clients_.find(a.slot);
  return it == clients_.end() || it->second->address != a ? nullptr : it->second.get();
}

void Raylet::StopWorker(const Address& worker) { router_.Send(worker, MsgType::kExit, Exit{}); }

void Raylet::Kill(const Address& worker, const std::string& why) {
  Client* c = ClientAt(worker);
  if (c == nullptr || c->is_driver || c->dying) return;
  c->kill_reason = why;
  Tell(KeeperMessage::kKill, c->pid, SIGKILL, why);
}

// ---- death ------------------------------------------------------------------------------------------------

void Raylet::OnChildExit(pid_t pid, int wait_status) {
  for (auto& [slot, c] : clients_) {
    if (c->pid != pid) continue;
    c->wait_status = wait_status;
    StartDeath(c.get(), MonotonicNow());
    return;
  }
  if (OnSpawnExit(pid, wait_status)) return;
  // Not known: some grandchild of user code, or a worker whose zygote's answer is still to come.
  if (early_exits_.size() > 1024) early_exits_.clear();
  early_exits_.insert(pid);
}

void Raylet::StartDeath(Client* c, TimeNs now) {
  if (c->dying) return;
  c->dying = true;
  c->dead_since = now;
  loop_.Remove(c->socket.get());
  if (c->pidfd.valid()) loop_.Remove(c->pidfd.get());
  board_->MarkDead(c->address.slot);
  // A worker whose socket closed while it lives on must not: its lanes are closed to it.
  if (!c->is_driver && !c->wait_status) Tell(KeeperMessage::kKill, c->pid, SIGKILL, "");
}

// Its memory is damaged, or its program: nothing that it says can be believed any more.
void Raylet::EndCorrupt(const Address& who) {
  Client* c = ClientAt(who);
  if (c == nullptr || c->dying) return;
  c->kill_reason = "what it wrote to another process's lane could not be read";
  spdlog::error("{} (pid {}): {}", ToString(who), c->pid, c->kill_reason);
  StartDeath(c, MonotonicNow());
}

void Raylet::FinishDeaths(TimeNs now) {
  std::vector<Client*> done;
  for (auto& [slot, c] : clients_) {
    if (!c->dying || !port_->DrainedFrom(slot, c->address.generation)) continue;
    const bool informed = c->is_driver || c->wait_status || now - c->dead_since > kStatusPatience;
    if (informed) done.push_back(c.get());
  }
  for (Client* c : done) FinishDeath(c);
}

std::string Raylet::When() const { return fmt::format(", at {:%F %T}", fmt::localtime(std::time(nullptr))); }

// What died, where, when and how, with its last words.
std::string Raylet::CauseOf(Client& c) {
  NoteKernelKill(c);
  std::string how = "it ended";
  if (c.wait_status && WIFSIGNALED(*c.wait_status)) {
    how = fmt::format("it was killed by signal {} ({})", WTERMSIG(*c.wait_status),
                      strsignal(WTERMSIG(*c.wait_status)));
  } else if (c.wait_status && WIFEXITED(*c.wait_status)) {
    how = fmt::format("it exited with status {}", WEXITSTATUS(*c.wait_status));
  }
  std::string text =
      fmt::format("{} {} on {} ({}, node {}, {}, pid {}){}: {}{}", c.is_driver ? "driver" : "worker",
                  ToString(c.address), config_.hostname, ip_, node_, Origin(), c.pid, When(), how,
                  c.kill_reason.empty() ? "" : ", because " + c.kill_reason);
  const std::string tail = c.is_driver ? "" : logs_.TakeTail(c.token);
  if (!tail.empty()) text += "\nIts last lines on stderr:\n" + tail;
  return text;
}

// Everything it sent has been handled. Its EOF is the last thing that anybody hears of it.
void Raylet::FinishDeath(Client* c) {
  const TimeNs now = MonotonicNow();
  Eof eof;
  eof.who = c->address;
  eof.wait_status = c->wait_status.value_or(0);
  eof.cause = CauseOf(*c);
  eof.out_of_memory = c->out_of_memory;
  // With the signal that the node leaves for.
  const bool along =
      termed_ && c->wait_status && WIFSIGNALED(*c->wait_status) && WTERMSIG(*c->wait_status) == SIGTERM;
  eof.drained = c->drained || along;
  for (const lane::Claim& claim : board_->ReadClaims(c->address.slot)) {
    eof.claimed.push_back({claim.task, claim.attempt, false, false});
  }
  spdlog::info("{}", eof.cause);
  causes_.emplace_back(eof.who, eof.cause);
  if (causes_.size() > kCausesKept) causes_.pop_front();
  const std::unique_ptr<Client> gone = std::move(clients_.at(c->address.slot));
  clients_.erase(gone->address.slot);
  EndOwner(gone->address);  // what it wanted is withdrawn before the head hears that it is gone
  Writer body;
  body(eof);
  Broadcast(MsgType::kEof, body.bytes());
  for (uint32_t node = 0; node < gone->nodes_met.size(); ++node) {
    if (gone->nodes_met[node]) router_.Post(RayletOf(node), MsgType::kEof, body.bytes());
  }
  router_.Post(GcsAddress(), MsgType::kEof, body.bytes());
  scheduler_->OnWorkerGone(gone->address, now);
  pulls_->OnClientGone(gone->address);
  functions_.OnClientGone(gone->address);
  std::erase_if(waiting_room_, [&](const Room& r) { return r.who == gone->address; });
  store_->ClientGone(gone->address.slot, gone->address.generation);
  port_->ForgetPeer(gone->address.slot, gone->address.generation);
  board_->CloseSlot(gone->address.slot);
  AfterFree();
}

// A process that owned objects and tasks is no more: what ran for it is stopped, what it owned is freed.
void Raylet::EndOwner(const Address& owner) {
  for (const Address& worker : scheduler_->OnOwnerGone(owner, MonotonicNow())) {
    scheduler_->OnRetire(worker, MonotonicNow());
    Kill(worker, "the process that owned its task has ended");
  }
  gone_owners_.insert(owner);
  store_->OwnerGone(owner);
  spiller_->manager().OwnerGone(owner);
}

// ---- jobs and output --------------------------------------------------------------------------------------

void Raylet::OnJobEnd(const JobMessage& m, TimeNs now) {
  EndingJob ending;
  ending.message = m;
  ending.deadline = now + kJobEndPatience;
  scheduler_->OnJobEnd(m.job);
  for (auto& [slot, c] : clients_) {
    // A worker that has not yet been bound to a job by a lease stays for the next one.
    if (c->is_driver || c->job != m.job) continue;
    scheduler_->OnRetire(c->address, now);
    Kill(c->address, "its job has ended");
    ending.slots.insert(slot);
  }
  ending_jobs_.push_back(std::move(ending));
  CheckEndingJobs(now);
}

void Raylet::CheckEndingJobs(TimeNs now) {
  for (size_t i = 0; i < ending_jobs_.size();) {
    EndingJob& e = ending_jobs_[i];
    std::erase_if(e.slots, [&](uint16_t slot) {
      const auto it = clients_.find(slot);
      return it == clients_.end() || it->second->job != e.message.job;
    });
    if ((!e.slots.empty() || logs_.Open(e.message.job)) && now < e.deadline) {
      ++i;
      continue;
    }
    logs_.Drain(e.message.job);
    router_.Send(GcsAddress(), MsgType::kJobEndAck, e.message);
    ForgetJob(e.message.job);
    ending_jobs_.erase(ending_jobs_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Raylet::ForgetJob(JobId job) {
  const auto it = jobs_.find(job.value);
  if (it == jobs_.end()) return;
  const JobMessage over = std::move(it->second.start);
  jobs_.erase(it);
  if (over.detached) return;
  log_unprinted_.erase(over.driver);
  for (auto& [id, other] : jobs_) {  // its detached actors go on, and nobody prints for them any more
    if (other.start.driver == over.driver) other.start.driver = {};
  }
}

bool Raylet::LogsReady(JobId job) const {
  const auto it = jobs_.find(job.value);
  if (it == jobs_.end() || it->second.start.driver.nil()) return true;  // nobody to wait for
  const Address& driver = it->second.start.driver;
  const auto unprinted = log_unprinted_.find(driver);
  if (unprinted != log_unprinted_.end() && unprinted->second >= kUnprintedLogs) return false;
  if (driver.node == node_) return port_->backlog_bytes(driver.slot) < kLogBacklog;
  return !links_ || !links_->congested();
}

void Raylet::RelayLines(const WorkerOutput& who, bool is_stderr, std::string_view task,
                        std::string_view lines) {
  JobId job = who.job;
  LogLines m;
  m.name = task;
  if (who.slot != 0) {
    const auto c = clients_.find(who.slot);
    if (c != clients_.end() && c->second->token == who.token) job = c->second->job;
    if (task.empty())
      m.name.assign(notes_[who.slot].name, strnlen(notes_[who.slot].name, sizeof notes_[who.slot].name));
  }
  if (!config_.log_to_driver) return;
  const auto found = jobs_.find(job.value);
  if (found == jobs_.end() || found->second.start.driver.nil()) return;
  const Address& driver = found->second.start.driver;
  m.is_stderr = is_stderr;
  m.pid = who.pid;
  if (driver.node != node_) m.host = config_.hostname;
  // Cut so that one message stays small.
  for (size_t at = 0; at < lines.size();) {
    const size_t n = std::min<size_t>(lines.size() - at, 128 << 10);
    m.text.assign(lines.substr(at, n));
    SendLines(driver, m);
    at += n;
  }
}

void Raylet::SendLines(const Address& driver, const LogLines& lines) {
  log_unprinted_[driver] += lines.text.size();
  router_.Send(driver, MsgType::kLogLines, lines);
}

}  // namespace rmpi
