// SPDX-License-Identifier: Apache-2.0
// The raylet's loop: lanes, frames, timers, the keeper, the end.
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>

#include "runtime/raylet/raylet_impl.h"

namespace rmpi {
namespace {

constexpr TimeNs kStopPatience = 800 * kMillisecond;
constexpr size_t kLaneBatch = 256;
constexpr TimeNs kSpin = 20 * kMicrosecond;
constexpr TimeNs kSafety = 100 * kMillisecond;  // with MPI: no event may be lost for longer

}  // namespace

void Raylet::Loop() {
  fence_.Start(MonotonicNow());
  // The first range to prefault is handed out once the first clients had their turn.
  if (prefaulter_ && !prefaulter_->Pump(store_->allocator())) prefaulter_.reset();
  while (!fatal_) {
    Turn();
    const TimeNs now = MonotonicNow();
    if (stopping_ && StopDone(now)) return;
    if (!router_.local().empty() || port_->HasMail()) {
      loop_.Poll(0);
      continue;
    }
    if (port_->Spin(kSpin)) continue;
    // Armed for both kinds of mail before sleeping; either says when something is there already.
    const bool mail = port_->Publish(lane::Sleeper::kEventFd);
    const bool frames = transport_ && !transport_->Arm();
    TimeNs deadline = mail || frames ? 0 : NextDeadline();
    if (transport_) deadline = std::min(deadline, now + kSafety);
    loop_.Poll(deadline);
    port_->Publish(lane::Sleeper::kAwake);
  }
}

void Raylet::Turn() {
  const bool congested = links_ && links_->congested();
  if (!congested) {
    port_->Drain([this](uint16_t slot, uint32_t generation,
                        Bytes message) { OnLaneMessage(slot, generation, message); },
                 kLaneBatch);
    while (const auto peer = port_->TakeCorruptPeer()) EndCorrupt({node_, peer->slot, 0, peer->generation});
  }
  if (links_) {
    links_->Poll(
        [this](int peer, const MessageHeader& header, Bytes body) { OnPeerMessage(peer, header, body); });
    OnClosedPeers();
    if (mpi_) mpi_->Poll([](int, Bytes) {});
  }
  // What was sent to ourselves; handling it may add more.
  for (size_t i = 0; i < kLaneBatch && !router_.local().empty(); ++i) {
    const Router::Local m = std::move(router_.local().front());
    router_.local().pop_front();
    OnMessage(m.header, m.body.bytes());
  }
  OnTimers(MonotonicNow());
  if (store_) TellEvicted();
  port_->Flush();
  if (links_) links_->Flush();
}

TimeNs Raylet::NextDeadline() const {
  TimeNs d =
      std::min({heartbeats_->NextDeadline(), stop_deadline_, listen_again_, scheduler_->NextDeadline()});
  if (gcs_) d = std::min({d, gcs_->NextDeadline(), detached_->NextDeadline()});
  if (!clients_.empty()) d = std::min(d, memory_.NextDeadline());
  if (pulls_) d = std::min(d, pulls_->NextDeadline());
  if (spiller_ && !stopping_) d = std::min(d, spiller_->manager().NextDeadline());
  d = std::min({d, drain_.NextDeadline(), leave_by_});
  const TimeNs soon = MonotonicNow() + 10 * kMillisecond;
  const bool dying =
      std::any_of(clients_.begin(), clients_.end(), [](const auto& c) { return c.second->dying; });
  if (dying || !ending_jobs_.empty() || stopping_) d = std::min(d, soon);
  if (!waiting_room_.empty()) d = std::min(d, retry_room_at_);
  if (port_->total_backlog_bytes() != 0) d = std::min(d, soon);
  if (store_ && store_->sweep_needed()) d = std::min(d, soon);
  return d;
}

void Raylet::OnTimers(TimeNs now) {
  fence_.OnTurn(now);
  if (node_ == 0) return;
  if (config_.known_alive != nullptr) *config_.known_alive = head_ ? now : fence_.known();
  FinishDeaths(now);
  if (!stopping_) CheckMemory(now);
  scheduler_->OnTimer(now);
  pulls_->OnTimer(now);
  if (drain_.active() && !stopping_) drain_.OnTimer(now);
  if (now >= leave_by_) Stop(0, "asked to end, and not let go in time");
  if (gcs_) gcs_->OnTimer(now);
  if (detached_) detached_->OnTimer(now);
  if (store_->sweep_needed()) store_->Sweep();
  RetryRoom(now);
  if (!stopping_) Spill(now);
  if (now >= listen_again_) {
    listen_again_ = kNever;
    loop_.Add(config_.listen_fd, EPOLLIN, [this](uint32_t) { OnConnect(); });
  }
  logs_.Resume();
  if (!spawns_.empty()) ExpireSpawns(now);
  if (!ending_jobs_.empty()) CheckEndingJobs(now);
  heartbeats_->OnTimer(now);
  if (!head_ && !stopping_ && fence_.Expired(now)) {
    Fatal("node " + std::to_string(node_) + " (" + config_.hostname + ", " + Origin() +
              ") has not heard from the head for 2 s: it stops its work, since the head will start it "
              "elsewhere",
          1);
  }
}

// A connection that closed without a word: its raylet is dead, and said sooner than by silence.
void Raylet::OnClosedPeers() {
  for (int peer : transport_->TakeClosedPeers()) {
    if (stopping_ || stop_asked_) continue;
    if (peer == 0) {
      Fatal(node_ == 0 && joined_ ? "the head refused this node: " + config_.join +
                                        " is of another run, or of one that is ending"
                                  : "the connection of the head's raylet (rank 0) closed: the run is over",
            1);
      return;
    }
    if (gcs_) gcs_->OnRankClosed(peer, MonotonicNow());
  }
}

// ---- the keeper and the end -------------------------------------------------------------------------------

void Raylet::OnKeeper() {
  KeeperMessage m;
  const ssize_t n = recv(config_.keeper_fd, &m, sizeof m, MSG_DONTWAIT);
  if (n == 0) {  // the keeper is gone: so are we, with everything of ours
    loop_.Remove(config_.keeper_fd);
    for (auto& [slot, c] : clients_) {
      if (!c->is_driver) kill(c->pid, SIGKILL);
    }
    fatal_ = 1;
    return;
  }
  if (n != sizeof m) return;
  switch (m.type) {
    case KeeperMessage::kChildExit:
      OnChildExit(m.pid, m.wait_status);
      break;
    case KeeperMessage::kWorkerStarted:
      OnWorkerStarted(m.token, m.pid);
      break;
    case KeeperMessage::kDriverExit:
    case KeeperMessage::kStop:
      if (gcs_) {
        if (!stop_asked_)
          gcs_->Shutdown(m.wait_status, m.type == KeeperMessage::kStop ? "signal" : "driver ended");
        stop_asked_ = true;
      } else if (joined_ && node_ != 0 && leave_by_ == kNever && !stopping_) {
        Leave("asked to end by a signal");
      } else {
        Stop(m.wait_status, "signal");
      }
      break;
    default:
      break;
  }
}

void Raylet::Stop(int status, const std::string& reason) {
  if (stopping_) return;
  spdlog::info("stopping: {}", reason);
  stopping_ = true;
  if (detached_) detached_->Drain();  // what ends now is not to be started again
  stop_status_ = status;
  leave_by_ = kNever;
  stop_deadline_ = MonotonicNow() + kStopPatience;
  for (auto& [slot, c] : clients_) {
    if (!c->is_driver) Tell(KeeperMessage::kKill, c->pid, SIGKILL, "");
  }
  for (auto& [token, spawn] : spawns_) {
    if (spawn.pid > 0) Tell(KeeperMessage::kKill, spawn.pid, SIGKILL, "");
  }
}

// Over when no worker is left and their last words are out, or patience is.
bool Raylet::StopDone(TimeNs now) {
  const bool workers =
      std::any_of(clients_.begin(), clients_.end(), [](const auto& c) { return !c.second->is_driver; });
  if ((workers || logs_.Open(JobId{}) || !spawns_.empty()) && now < stop_deadline_) return false;
  logs_.Drain(JobId{});
  port_->Flush();
  if (links_) links_->Flush();
  Tell(KeeperMessage::kDone, 0, stop_status_, "");
  return true;
}

}  // namespace rmpi
