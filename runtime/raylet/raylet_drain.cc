// SPDX-License-Identifier: Apache-2.0
// How this node leaves the run: what NodeDrain decides, done to real processes and objects.
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/node/files.h"
#include "runtime/raylet/raylet_impl.h"

namespace rmpi {
namespace {

// Beyond the time that work gets: for objects to move, and a head that is busy.
constexpr TimeNs kLeavePatience = 60 * kSecond;

void Signal(int pidfd, int signal) { syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0); }

// "123 (name) T ...": the name may have blanks and brackets.
bool Stopped(pid_t pid) {
  const std::string stat = ReadSmallFile("/proc/" + std::to_string(pid) + "/stat").value_or("");
  const size_t end = stat.rfind(')');
  return end != std::string::npos && end + 2 < stat.size() && stat[end + 2] == 'T';
}

}  // namespace

// By the head's leave: it stops to place anything here.
void Raylet::Leave(const std::string& reason) {
  DrainNode m;
  m.node = node_;
  m.timeout_ns = static_cast<TimeNs>(config_.drain_timeout_s * 1e9);
  m.reason = reason;
  leave_by_ = MonotonicNow() + m.timeout_ns + kLeavePatience;
  router_.Send(GcsAddress(), MsgType::kDrainNode, m);
}

void Raylet::OnDrainNode(const DrainNode& m, TimeNs now) {
  if (stopping_ || head_) return;
  if (drain_.active()) return drain_.Start(node_, m.timeout_ns, now);
  drain_reason_ = "node " + std::to_string(node_) + (joined_ ? " leaves the run: it" : "") + " is drained (" +
                  m.reason + ")";
  spdlog::info("{}", drain_reason_);
  scheduler_->Drain(now);
  drain_.Start(node_, m.timeout_ns, now);
}

void Raylet::EndDrained(Client* c) {
  c->drained = true;
  Kill(c->address, drain_reason_);
}

bool Raylet::WorkLeft() const {
  const auto is_driver = [](const auto& c) { return c.second->is_driver; };
  return scheduler_->task_leases() != 0 ||
         (joined_ && std::any_of(clients_.begin(), clients_.end(), is_driver));
}

// One that looks idle is stopped, and looked at again when it stands still: then nothing can start in
// between.
bool Raylet::EndIdleActors() {
  bool left = scheduler_->actor_leases() != 0;
  for (auto& [slot, c] : clients_) {
    const bool actor = notes_[slot].actor.load(std::memory_order_relaxed) != 0;
    if (c->is_driver || !actor) continue;
    left = true;
    if (c->dying || c->drained || !c->pidfd.valid()) continue;
    const bool idle = board_->ReadClaims(slot).empty();
    if (idle != c->stopped) {
      Signal(c->pidfd.get(), idle ? SIGSTOP : SIGCONT);
      c->stopped = idle;
    } else if (idle && Stopped(c->pid)) {
      EndDrained(c.get());
    }
  }
  return left;
}

uint32_t Raylet::EndWorkers() {
  uint32_t busy = 0;
  for (auto& [slot, c] : clients_) {
    if (c->is_driver || c->dying) continue;
    if (!c->drained && !board_->ReadClaims(slot).empty()) ++busy;
    EndDrained(c.get());
  }
  return busy;
}

uint32_t Raylet::Workers() const {
  return static_cast<uint32_t>(
      std::count_if(clients_.begin(), clients_.end(), [](const auto& c) { return !c.second->is_driver; }));
}

std::vector<ObjectAt> Raylet::Primaries() const {
  std::vector<ObjectAt> all;
  store_->ForEachPrimary([&](const objstore::Store::Entry& e) {
    if (e.owner.node == node_) return;
    all.push_back({e.id, e.attempt, e.locator.size, {node_, e.locator.segment, e.locator.offset}});
  });
  spiller_->manager().ForEach([&](const objstore::Version& v, uint64_t size) {
    if (v.id.owner().node != node_) all.push_back({v.id, v.attempt, size, {node_, 0, 0}});
  });
  return all;
}

std::vector<uint32_t> Raylet::OtherNodes() const {
  std::vector<uint32_t> all;
  for (const auto& [id, record] : nodes_) {
    if (id != node_ && record.alive) all.push_back(id);
  }
  std::sort(all.begin(), all.end());
  return all;
}

void Raylet::SendPull(uint32_t node, const Pull& m) { router_.Send(RayletOf(node), MsgType::kPull, m); }

void Raylet::SendDrained(const Drained& m) { router_.Send(GcsAddress(), MsgType::kDrained, m); }

}  // namespace rmpi
