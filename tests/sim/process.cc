// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/process.h"

#include <algorithm>

#include "tests/sim/raylet.h"

namespace rmpi::sim {
namespace {

constexpr TimeNs kSpin = 50 * kMicrosecond;

}  // namespace

using core::Entry;
using core::EntryState;

SimProcess::SimProcess(World* world, const Address& self, JobId job, bool driver, uint8_t language)
    : world_(world), self_(self), driver_(driver), language_(language), core_(this, this) {
  core_.SetIdentity(self, job);
  if (const uint64_t cap = world->features().lineage_cap; cap != 0) core_.tasks().lineage().SetCap(cap);
}

// ---- mail -------------------------------------------------------------------------------------------------

void SimProcess::Post(const Address& to, MsgType type, Bytes body) {
  MessageHeader header;
  header.type = static_cast<uint16_t>(type);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.src = self_;
  header.dst = to;
  (to == self_ ? to_self_ : backlog_).push_back({header, Blob::Copy(body)});
}

void SimProcess::Guarded(TimeNs when, std::function<void()> fn) {
  World* world = world_;
  world_->At(when, [world, self = self_, fn = std::move(fn)] {
    SimProcess* p = world->Live(self);
    if (p == nullptr) return;
    if (world->now() < p->suspended_until_) {
      p->Guarded(p->suspended_until_, fn);
      return;
    }
    fn();
    p = world->Live(self);
    if (p != nullptr) p->Settled();
  });
}

void SimProcess::Arrive(const Packet& packet) {
  inbox_.push_back(packet);
  if (world_->now() < suspended_until_) return;
  while (!inbox_.empty()) {
    const Packet next = std::move(inbox_.front());
    inbox_.pop_front();
    Handle(next);
  }
  Settled();
}

void SimProcess::Suspend(TimeNs until) {
  suspended_until_ = until;
  Guarded(until, [this] {
    while (!inbox_.empty()) {
      const Packet next = std::move(inbox_.front());
      inbox_.pop_front();
      Handle(next);
    }
  });
}

void SimProcess::Handle(const Packet& packet) {
  const MessageHeader& h = packet.header;
  const auto type = static_cast<MsgType>(h.type);
  if (type == MsgType::kEof) {
    eofs_.push_back(packet);
    return;
  }
  if (type == MsgType::kRegisterReply || type == MsgType::kCancel) {
    Reader in(packet.body.bytes());
    if (type == MsgType::kRegisterReply) {
      RefMessage m;
      in(m);
      // GONE to somebody who has let go meanwhile means nothing.
      const Entry* e = core_.objects().Find(m.id);
      if (m.gone && e != nullptr && e->details && e->details->nonce == m.nonce) world_->OnGone(self_, m.id);
    } else {
      TaskRef m;
      in(m);
      const bool runs = std::any_of(claims_.begin(), claims_.end(), [&](const auto& c) {
        return c.second.task == m.task && c.second.attempt == m.attempt;
      });
      if (!runs) world_->OnCancelHandled(m.task);
    }
  }
  core_.OnMessage(h, packet.body.bytes(), world_->now());
}

// EOF is the last word of a process: what it wrote to us directly comes first.
void SimProcess::HandleEofs() {
  for (size_t i = eofs_.size(); i-- > 0;) {
    const Packet packet = std::move(eofs_.front());
    eofs_.pop_front();
    Eof eof;
    Reader reader(packet.body.bytes());
    reader(eof);
    const bool near = eof.who.node == self_.node;
    const bool waiting = near && (world_->InFlight(eof.who, self_) != 0 ||
                                  std::any_of(inbox_.begin(), inbox_.end(),
                                              [&](const Packet& p) { return p.header.src == eof.who; }));
    if (waiting) {
      eofs_.push_back(packet);
    } else {
      core_.OnMessage(packet.header, packet.body.bytes(), world_->now());
    }
  }
}

void SimProcess::Settled() {
  for (int rounds = 0;; ++rounds) {
    if (rounds > 10000) return world_->Fail("a process talks to itself without end:\n" + Describe());
    core_.Settle(world_->now());
    while (!to_self_.empty()) {
      const Packet packet = std::move(to_self_.front());
      to_self_.pop_front();
      world_->Trace(packet);
      Handle(packet);
    }
    HandleEofs();
    if (world_->now() >= core_.NextDeadline()) core_.OnTimer(world_->now());
    PollMain();
    if (!alive_) return;
    if (to_self_.empty()) break;
  }
  ArmTimer();
  Flush(!world_->features().lossy_backlog || world_->rng().Percent(90));
}

void SimProcess::Flush(bool all) {
  if (backlog_.empty() && answered_.empty()) return;
  if (!all) {
    Guarded(world_->now() + static_cast<TimeNs>(1 + world_->rng().Below(300)) * kMicrosecond,
            [this] { Flush(true); });
    return;
  }
  for (Packet& p : backlog_) {
    const Address& to = p.header.dst;
    const bool lane = to.node == self_.node && !InRaylet(to) && world_->Live(to) != nullptr;
    world_->Hop(self_, lane ? to : RayletOf(self_.node), p.header, std::move(p.body));
  }
  backlog_.clear();
  for (uint32_t claim : answered_) claims_.erase(claim);
  answered_.clear();
}

void SimProcess::ArmTimer() {
  const TimeNs next = core_.NextDeadline();
  if (next == kNever || timer_at_ <= next) return;
  timer_at_ = next;
  Guarded(next, [this] { timer_at_ = kNever; });
}

void SimProcess::Die() {
  world_->OnDeath();
  alive_ = false;
  if (world_->features().lossy_backlog && world_->features().streams) {  // some of it got out
    backlog_.resize(world_->rng().Below(backlog_.size() + 1));
    answered_.clear();
    Flush(true);
  } else if (!world_->features().lossy_backlog) {
    Flush(true);
  }
  world_->RayletAt(self_.node)->StartDeath(self_);
}

// On purpose: everything it had to say is out.
void SimProcess::Exit() {
  main_ = Main::kOver;
  Flush(true);
  alive_ = false;
  world_->RayletAt(self_.node)->StartDeath(self_);
}

// ---- the main thread --------------------------------------------------------------------------------------

void SimProcess::Wake(uint64_t token, TimeNs when) {
  Guarded(when, [this, token] {
    if (token == token_ && main_ == Main::kStep) Step();
  });
}

bool SimProcess::LookForTask() {
  core::Executor& executor = core_.executor();
  if (executor.has_ready()) {
    if (core::ExecItem* item = executor.Take(world_->now())) {
      StartTask(item);
      return true;
    }
    return false;
  }
  const bool leaving = (executor.retiring() || exit_requested_) && executor.running() == 0 &&
                       executor.unsettled() == 0 && core_.objects().owned_count() == 0 &&
                       core_.tasks().pending_count() == 0 && core_.submitter().lease_count() == 0;
  if (leaving) Exit();
  return false;
}

void SimProcess::PollMain() {
  if (main_ == Main::kIdle && !driver_) LookForTask();
  if (main_ != Main::kWait) return;
  const bool interrupted = interrupted_ && frame_->item != nullptr;
  if (interrupted || WaitOver() || world_->now() >= waiting_.deadline) {
    LeaveWait();
    return;
  }
  if (frame_->item != nullptr && !waiting_.blocked && world_->now() >= waiting_.spin_until) {
    waiting_.blocked = true;
    core_.executor().Block();
  }
}

void SimProcess::LeaveWait() {
  if (waiting_.blocked) core_.executor().Unblock();
  waiting_.blocked = false;
  main_ = Main::kStep;
  const bool again = waiting_.read && !interrupted_ && !ReadValues();
  for (Entry* e : waiting_.refs) core_.objects().DropHold(e);
  if (again) {  // a copy was evicted, a place lost: the same wait once more
    const std::vector<Entry*> refs = std::move(waiting_.refs);
    waiting_ = Waiting{};
    waiting_.refs = refs;
    waiting_.num_ready = refs.size();
    for (Entry* e : refs) core_.objects().AddHold(e);
    StartWait();
    return;
  }
  if (waiting_.read && world_->features().jitter && frame_->rng.Percent(40)) Forget(waiting_.refs);
  waiting_ = Waiting{};
  Wake(++token_, world_->now() + kMicrosecond);
}

void SimProcess::StartWait() {
  main_ = Main::kWait;
  waiting_.spin_until = world_->now() + kSpin;
  for (Entry* e : waiting_.refs) {
    if (e->pending()) {
      core_.objects().Resolve(e);
    } else if (waiting_.fetch && !Ready(e, true)) {
      RequestFetch(e);
    }
  }
  Guarded(waiting_.spin_until, [] {});
  if (waiting_.deadline != kNever) Guarded(waiting_.deadline, [] {});
}

bool SimProcess::WaitOver() {
  if (waiting_.for_reader) return frame_->item->stream->may_go_on();
  size_t ready = 0;
  for (Entry* e : waiting_.refs) {
    if (Ready(e, waiting_.fetch)) {
      ++ready;
    } else if (e->pending()) {
      core_.objects().Resolve(e);
    } else if (waiting_.fetch) {
      RequestFetch(e);
    }
  }
  return ready >= waiting_.num_ready;
}

bool SimProcess::Ready(Entry* e, bool fetch) {
  switch (e->state.load()) {
    case EntryState::kInline:
      return true;
    case EntryState::kStored:
      return !fetch || core_.objects().PlaceHere(*e).node != 0;
    default:
      return false;
  }
}

void SimProcess::RequestFetch(Entry* e) {
  core::Details& d = e->more();
  if (d.fetch != core::Fetch::kNone) return;
  d.fetch = core::Fetch::kRequested;
  Pull pull;
  pull.id = e->id;
  pull.attempt = d.attempt;
  pull.size = d.size;
  pull.places = d.places;
  Send(RayletOf(self_.node), MsgType::kPull, pull);
}

void SimProcess::OnPullReply(const PullReply& m) {
  Entry* e = core_.objects().Find(m.id);
  if (e == nullptr || !e->details || e->details->fetch != core::Fetch::kRequested ||
      e->details->attempt != m.attempt)
    return;
  core::Details& d = *e->details;
  d.fetch = core::Fetch::kNone;
  if (m.failed) {
    for (uint32_t node : m.gone) core_.objects().MissedOn(e, node);
  } else {
    d.fetch = core::Fetch::kLocal;
    d.local = m.place;
  }
}

// ---- execution --------------------------------------------------------------------------------------------

bool SimProcess::Claim(core::ExecItem& item) {
  item.claim = next_claim_++;
  claims_[item.claim] = {item.task, item.attempt, false, false};
  world_->OnClaim(self_, item.task, item.attempt);
  return true;
}

bool SimProcess::PinArgs(core::ExecItem& item) {
  arg_values_.clear();
  SimRaylet* raylet = world_->RayletAt(self_.node);
  for (const ResolvedArg& arg : item.resolved) {
    if (arg.value.state != ValueState::kStored) {
      arg_values_.emplace_back(arg.id, arg.value.bytes);
      continue;
    }
    const Stored* s = raylet->Find(arg.id, arg.value.attempt);
    if (s == nullptr) return false;
    arg_values_.emplace_back(arg.id, s->bytes);
  }
  return true;
}

bool SimProcess::Quiet() const {
  if (!alive_) return false;  // its death is still being worked up
  const bool resting = driver_ ? main_ == Main::kOver : main_ == Main::kIdle;
  auto* self = const_cast<SimProcess*>(this);
  return resting && parked_.empty() && inbox_.empty() && backlog_.empty() && to_self_.empty() &&
         eofs_.empty() && self->core_.tasks().pending_count() == self->core_.actor_owner().alive_count() &&
         self->core_.executor().unclaimed() == 0;
}

std::string SimProcess::Describe() {
  std::string out =
      "  process " + ToString(self_) + (driver_ ? " driver" : "") + (alive_ ? "" : " dead") + ": main " +
      std::to_string(static_cast<int>(main_)) + (waiting_.blocked ? " blocked" : "") + ", owned " +
      std::to_string(core_.objects().owned_count()) + ", borrowed " +
      std::to_string(core_.objects().borrowed_count()) + ", unacknowledged " +
      std::to_string(core_.objects().unacknowledged_count()) + ", pending tasks " +
      std::to_string(core_.tasks().pending_count()) + ", unsettled " +
      std::to_string(core_.executor().unsettled()) + ", unclaimed " +
      std::to_string(core_.executor().unclaimed()) + ", kept " + std::to_string(kept_.size()) + "\n";
  for (const auto& [key, q] : core_.submitter().shapes()) {
    if (q->queue.size == 0 && q->leases.empty()) continue;
    out += "    shape " + std::to_string(key) + " " + sched::ToString(q->shape.resources) + " strategy " +
           std::to_string(static_cast<int>(q->shape.strategy)) + " node " +
           std::to_string(q->shape.affinity_node) + " depth " + std::to_string(q->shape.depth) + ": queued " +
           std::to_string(q->queue.size) + ", asked for " + std::to_string(q->outstanding()) + ", leases";
    for (const auto& l : q->leases) {
      out += " " + ToString(l->worker) + "(" + std::to_string(l->inflight.size()) +
             (l->blocked ? " blocked" : "") + (l->revoking ? " revoking" : "") +
             (l->retiring ? " retiring" : "") + (l->idle() ? " idle" : "") + ")";
    }
    out += "\n";
  }
  for (const auto& [actor, q] : core_.actor_calls().queues()) {
    out += "    actor " + Hex(actor) + " phase " + std::to_string(static_cast<int>(q->state.phase)) + " at " +
           ToString(q->state.worker) + ": waiting " + std::to_string(q->waiting.size) + ", in flight " +
           std::to_string(q->inflight.size) + " to " + ToString(q->pushed_to) + ", lost " +
           std::to_string(q->lost.size) + ", not ready " + std::to_string(q->unready);
    out += "\n";
  }
  core_.objects().ForEachTask([&](const core::Task* t) {
    if (t->unresolved == 0) return;
    out += "    task " + Hex(t->id()) + " lacks " + std::to_string(t->unresolved) + ":";
    for (uint32_t i = 0; i < t->top_level; ++i) {
      if ((*t->refs)[i]->pending()) out += " " + Hex((*t->refs)[i]->id);
    }
    out += "\n";
  });
  core_.objects().ForEachEntry([&](const Entry* e) {
    if (!world_->finishing()) return;
    out += "    " + std::string(e->owned ? "owns " : "borrows ") + Hex(e->id) + ": holds " +
           std::to_string(e->holds) + ", handles " + std::to_string(e->handles.load()) + ", borrowers";
    if (e->details) {
      for (const Address& b : e->details->borrowers) out += " " + ToString(b);
    }
    out += "\n";
  });
  for (const Entry* e : waiting_.refs) {
    out += "    waits for " + Hex(e->id) + " of " + ToString(e->id.owner()) + " state " +
           std::to_string(static_cast<int>(e->state.load())) + " fetch " +
           std::to_string(e->details ? static_cast<int>(e->details->fetch) : 0) + "\n";
  }
  return out;
}

}  // namespace rmpi::sim
