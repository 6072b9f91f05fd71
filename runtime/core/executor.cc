// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/executor.h"

#include <algorithm>

namespace rmpi::core {

// ---- queue ------------------------------------------------------------------------------------------------

void Executor::OnPush(const Address& from, Push& m) {
  auto& known = templates_[from];
  if (!m.template_bytes.empty()) {
    auto tmpl = std::make_shared<WireTemplate>();
    Reader reader(m.template_bytes.bytes());
    reader(*tmpl);
    known[m.template_number] = std::move(tmpl);
  }
  auto item = std::make_unique<ExecItem>();
  item->owner = from;
  item->task = m.task;
  item->attempt = m.attempt;
  item->retries_left = m.retries_left;
  item->depth = m.depth;
  item->again = m.again;
  item->lease = m.task.kind() == TaskKind::kActorCall ? actor_lease_ : m.lease;
  item->tmpl = known[m.template_number];
  item->args = std::move(m.args);
  item->resolved = std::move(m.resolved);
  if (item->tmpl && item->tmpl->stream != StreamKind::kNone) {
    item->stream = std::make_unique<StreamRun>();
    item->stream->known = m.items_known;
    item->stream->read = m.items_known == kNoItems ? kNoItems : m.items_read;
    item->stream->window = item->tmpl->window;
  }
  if (!item->tmpl) {
    AnswerError(*item, ErrorType::kFunctionMissing,
                "worker " + ToString(objects_->self()) + " was sent a task without its template");
    return;
  }
  const std::optional<uint32_t> group = ready_.Find(item->tmpl->concurrency_group);
  if (!group) {
    // In Ray this is the actor's end, hence this error; here it is the end of the call.
    AnswerError(*item, ErrorType::kActorDied,
                "the actor has no concurrency group '" + item->tmpl->concurrency_group +
                    "', which the call of " + item->tmpl->function_name +
                    " names: declare it, @ray.remote(concurrency_groups={\"" + item->tmpl->concurrency_group +
                    "\": 1}). (The actor is alive.)");
    return;
  }
  item->group = *group;
  if (blocked_ || retiring_) {  // crossed our RETURNED on the way
    Returned r;
    r.tasks.push_back({item->task, item->attempt, false, false});
    r.blocked = blocked_;
    r.retiring = retiring_;
    outbox_->Send(from, MsgType::kReturned, r);
    return;
  }
  Admit(std::move(item));
}

void Executor::Admit(std::unique_ptr<ExecItem> item) {
  item->local.resize(item->resolved.size());
  for (size_t i = 0; i < item->resolved.size(); ++i) RequestArg(item.get(), i);
  Enqueue(std::move(item));
}

// For its arguments; or, a call of an ordered actor, for those of an earlier one of its caller.
bool Executor::HasToWait(const ExecItem& item) const {
  if (item.missing != 0) return true;
  if (!item.in_turn()) return false;
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const auto& w) { return w->owner == item.owner && w->in_turn(); });
}

// The calls of one caller that only waited for their turn.
void Executor::ReleaseOrdered(const Address& owner) {
  for (size_t i = 0; i < waiting_.size();) {
    ExecItem& item = *waiting_[i];
    if (item.owner != owner || !item.in_turn()) {
      ++i;
      continue;
    }
    if (item.missing != 0) return;
    ready_.Push(TakeWaiting(i));
  }
}

void Executor::Enqueue(std::unique_ptr<ExecItem> item) {
  if (!HasToWait(*item)) {
    ready_.Push(std::move(item));
  } else {
    waiting_.push_back(std::move(item));
  }
}

ExecItem* Executor::Take(TimeNs now, uint32_t group) {
  while (!retiring_) {
    ExecItem* item = ready_.Front(group);
    if (item == nullptr) return nullptr;
    if (!item->local.empty() && !host_->PinArgs(*item)) {
      FetchAgain(item);
      continue;
    }
    if (!host_->Claim(*item)) return nullptr;
    running_.push_back(ready_.Pop(item));
    ready_.Started(*item);
    item->started = now;
    item->serial = next_serial_++;
    if (item->task.kind() == TaskKind::kActorCreation) {
      actor_ = {item->task, 0, 0};
      incarnation_ = item->attempt;
      actor_lease_ = item->lease;
    }
    return item;
  }
  return nullptr;
}

// ---- answers ----------------------------------------------------------------------------------------------

void Executor::Finish(ExecItem* item, std::vector<WireValue> values, std::vector<Entry*> contained,
                      bool retryable_error, TimeNs now) {
  WaitingResult w;
  w.owner = item->owner;
  w.upto = objects_->last_nonce();
  w.claim = item->claim;
  w.result.task = item->task;
  w.result.attempt = item->attempt;
  w.result.run_us = static_cast<uint32_t>(std::min<TimeNs>((now - item->started) / kMicrosecond, UINT32_MAX));
  w.result.retryable_error = retryable_error;
  w.result.needs_ack = !contained.empty();
  if (item->stream) w.result.items = item->stream->next;
  w.result.values = std::move(values);
  if (!contained.empty()) held_[{item->task, item->attempt}] = std::move(contained);
  const auto it =
      std::find_if(running_.begin(), running_.end(), [&](const auto& r) { return r.get() == item; });
  ready_.Ended(*item);
  running_.erase(it);  // frees it
  if (waiting_results_.empty() && !objects_->Unacknowledged(w.owner, w.upto)) {
    outbox_->Send(w.owner, MsgType::kResult, w.result);
    host_->Answered(w.claim);
    return;
  }
  waiting_results_.push_back(std::move(w));
}

void Executor::FlushResults() {
  while (!waiting_results_.empty()) {
    WaitingResult& w = waiting_results_.front();
    if (objects_->Unacknowledged(w.owner, w.upto)) return;
    outbox_->Send(w.owner, MsgType::kResult, w.result);
    host_->Answered(w.claim);
    waiting_results_.pop_front();
  }
}

void Executor::AnswerError(const ExecItem& item, ErrorType type, const std::string& message) {
  WireValue v;
  v.kind = static_cast<uint8_t>(ValueKind::kSystemError);
  v.bytes = EncodeSystemError(static_cast<uint8_t>(type), message, Hex(item.task));
  AnswerError(item, std::move(v));
}

void Executor::AnswerError(const ExecItem& item, WireValue error) {
  Result r;
  r.task = item.task;
  r.attempt = item.attempt;
  r.values.push_back(std::move(error));
  outbox_->Send(item.owner, MsgType::kResult, r);
}

void Executor::OnResultAck(const TaskRef& m) { DropHeld({m.task, m.attempt}); }

void Executor::DropHeld(const TaskAttempt& key) {
  const auto it = held_.find(key);
  if (it == held_.end()) return;
  const std::vector<Entry*> entries = std::move(it->second);
  held_.erase(it);
  for (Entry* e : entries) objects_->DropHold(e);
}

// ---- giving back ------------------------------------------------------------------------------------------

void Executor::ReturnTasks(const Address* only_owner) {
  std::unordered_map<Address, Returned> by_owner;
  if (only_owner != nullptr) by_owner[*only_owner];  // a REVOKE is always answered
  if (const ExecItem* item = current()) by_owner[item->owner];
  for (const auto& item :
       TakeUnclaimed([&](const ExecItem& i) { return only_owner == nullptr || i.owner == *only_owner; })) {
    by_owner[item->owner].tasks.push_back({item->task, item->attempt, false, false});
  }
  for (auto& [owner, returned] : by_owner) {
    returned.blocked = blocked_;
    returned.retiring = retiring_;
    outbox_->Send(owner, MsgType::kReturned, returned);
  }
}

void Executor::OnRevoke(const Address& from) { ReturnTasks(&from); }

void Executor::Block() {
  const ExecItem* item = current();
  if (blocked_ || !actor_.nil()) return;
  blocked_ = true;
  ReturnTasks(nullptr);
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kBlocked,
                Blocked{item != nullptr ? item->lease : 0, item != nullptr ? item->depth : 0});
}

void Executor::Unblock() {
  if (!blocked_) return;
  blocked_ = false;
  const ExecItem* item = current();
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kUnblocked,
                Blocked{item != nullptr ? item->lease : 0, item != nullptr ? item->depth : 0});
}

void Executor::Retire() {
  if (retiring_) return;
  retiring_ = true;
  std::unordered_map<Address, Returned> by_owner;
  for (const auto& [owner, templates] : templates_) by_owner[owner].retiring = true;
  for (const auto& item : TakeUnclaimed([](const ExecItem&) { return true; }))
    by_owner[item->owner].tasks.push_back({item->task, item->attempt, false, false});
  for (const auto& [owner, returned] : by_owner) outbox_->Send(owner, MsgType::kReturned, returned);
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kRetire, Exit{});
}

void Executor::ExitActor() {
  Retire();
  outbox_->Send(actor_.owner(), MsgType::kActorExit, ActorExit{actor_, incarnation_});
}

// ---- cancel and death -------------------------------------------------------------------------------------

// Takes out what is not claimed and matches, each caller's in their order.
ReadyQueue::Items Executor::TakeUnclaimed(const std::function<bool(const ExecItem&)>& matches) {
  ReadyQueue::Items out = ready_.RemoveIf(matches);
  for (auto& item : waiting_) {
    if (!matches(*item)) continue;
    Forget(*item);
    out.push_back(std::move(item));
  }
  std::erase(waiting_, nullptr);
  return out;
}

void Executor::OnCancel(const Address& from, const TaskRef& m) {
  const auto runs = std::find_if(running_.begin(), running_.end(), [&](const auto& r) {
    return r->task == m.task && r->attempt == m.attempt && r->owner == from;
  });
  if (runs != running_.end()) {
    ExecItem& current = **runs;
    current.cancelled = true;
    if (m.recursive) host_->CancelChildren(current.serial, m.force);
    if (m.force && !current.of_actor()) {  // the owner's own request may have come before the claim
      outbox_->Send(RayletOf(objects_->self().node), MsgType::kKillTask,
                    KillTask{objects_->self(), m.task, m.attempt, 0});
    } else {
      host_->Interrupt(current);
    }
    return;
  }
  const auto found =
      TakeUnclaimed([&](const ExecItem& i) { return i.task == m.task && i.attempt == m.attempt; });
  if (found.empty()) return;  // finished: its result is on the way
  AnswerError(*found.front(), ErrorType::kTaskCancelled, "the task was cancelled before it started");
  ReleaseOrdered(from);
}

void Executor::DropFrom(const std::function<bool(const Address&)>& gone, const std::string& cause) {
  TakeUnclaimed([&](const ExecItem& i) { return gone(i.owner); });
  std::erase_if(templates_, [&](const auto& t) { return gone(t.first); });
  std::vector<TaskAttempt> dead;
  for (const auto& [key, entries] : held_) {
    if (gone(key.task.owner)) dead.push_back(key);
  }
  for (const TaskAttempt& key : dead) DropHeld(key);
  OrphanStreams(gone);
  LoseLocations(gone, cause);
  FlushResults();
}

void Executor::OnEof(const Eof& eof) {
  DropFrom([&](const Address& a) { return a == eof.who; }, eof.cause);
}

void Executor::OnNodeDead(uint32_t node, const std::string& reason) {
  DropFrom([&](const Address& a) { return a.node == node; }, reason);
}

}  // namespace rmpi::core
