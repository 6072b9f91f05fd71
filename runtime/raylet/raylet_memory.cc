// SPDX-License-Identifier: Apache-2.0
// What the raylet does when the node's memory runs out: it ends one worker, the one that loses least, before
// the kernel ends any.
#include <signal.h>
#include <sys/wait.h>

#include <cstring>

#include "runtime/raylet/raylet_impl.h"

namespace rmpi {

// Who runs something. An idle worker is none: it may own what others need, and has little memory.
std::vector<OomCandidate> Raylet::OomCandidates() const {
  std::vector<OomCandidate> all;
  for (const auto& [slot, c] : clients_) {
    const SlotNotes& notes = notes_[slot];
    const uint64_t started = notes.started_ns.load(std::memory_order_relaxed);
    if (c->is_driver || c->dying || started == 0) continue;
    OomCandidate candidate;
    candidate.worker = c->address;
    candidate.pid = c->pid;
    candidate.actor = notes.actor.load(std::memory_order_relaxed) != 0;
    if (!candidate.actor && board_->ReadClaims(slot).empty()) continue;
    candidate.name.assign(notes.name, strnlen(notes.name, sizeof notes.name));
    candidate.retriable = notes.retriable.load(std::memory_order_relaxed) != 0;
    candidate.started_ns = started;
    candidate.own_bytes = ReadOwnMemory(memory_.root(), c->pid);
    all.push_back(candidate);
  }
  return all;
}

void Raylet::CheckMemory(TimeNs now) {
  const auto use = memory_.Check(now);
  if (!use) return;
  const std::vector<OomCandidate> candidates = OomCandidates();
  const auto chosen = ChooseVictim(candidates);
  if (!chosen) return;
  const OomCandidate& victim = candidates[*chosen];
  const std::string reason = memory_.Reason(victim, *use, candidates.size());
  Warn("pid " + std::to_string(victim.pid) + " on " + config_.hostname + " (node " + std::to_string(node_) +
       ") is ended, because " + reason);
  ClientAt(victim.worker)->out_of_memory = true;
  Kill(victim.worker, reason);
  memory_.Killed(now);
}

// A SIGKILL that nobody of ours sent, while the kernel counts one more.
void Raylet::NoteKernelKill(Client& c) {
  const bool killed = c.wait_status && WIFSIGNALED(*c.wait_status) && WTERMSIG(*c.wait_status) == SIGKILL;
  if (!killed || !c.kill_reason.empty()) return;
  const uint64_t kills = ReadOomKills(memory_.root());
  if (kills <= kernel_kills_) return;
  kernel_kills_ = kills;
  c.out_of_memory = true;
  c.kill_reason =
      "the kernel's out-of-memory killer struck in our control group before the memory monitor did";
}

}  // namespace rmpi
