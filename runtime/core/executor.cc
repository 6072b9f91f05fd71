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
  item->lease = m.task.kind() == TaskKind::kActorCall ? actor_lease_ : m.lease;
  item->tmpl = known[m.template_number];
  item->args = std::move(m.args);
  item->resolved = std::move(m.resolved);
  if (!item->tmpl) {
    AnswerError(*item, ErrorType::kFunctionMissing,
                "worker " + ToString(objects_->self()) + " was sent a task without its template");
    return;
  }
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
  return std::any_of(waiting_.begin(), waiting_.end(), [&](const auto& w) { return w->owner == item.owner; });
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
    ready_.push_back(std::move(waiting_[i]));
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Executor::Enqueue(std::unique_ptr<ExecItem> item) {
  if (!HasToWait(*item)) {
    ready_.push_back(std::move(item));
  } else {
    waiting_.push_back(std::move(item));
  }
}

// Counts argument i as missing, and asks for it, when it is a stored one that is not on this node.
void Executor::RequestArg(ExecItem* item, size_t i) {
  const ResolvedArg& arg = item->resolved[i];
  if (arg.value.state != ValueState::kStored || item->local[i].node != 0) return;
  const auto here = std::find_if(arg.value.places.begin(), arg.value.places.end(),
                                 [&](const Place& p) { return p.node == objects_->self().node; });
  if (here != arg.value.places.end()) {
    item->local[i] = *here;
    return;
  }
  ++item->missing;
  if (pulls_[arg.id]++ != 0) return;
  Pull pull;
  pull.id = arg.id;
  pull.attempt = arg.value.attempt;
  pull.size = arg.value.size;
  pull.priority = PullPriority::kArgs;
  pull.places = arg.value.places;
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kPull, pull);
}

void Executor::OnPullReply(const PullReply& m) {
  if (pulls_.erase(m.id) == 0) return;
  std::vector<Address> moved;  // callers whose waiting calls may go on
  for (size_t i = 0; i < waiting_.size();) {
    ExecItem* item = waiting_[i].get();
    bool wanted = false, nowhere = false;
    for (size_t k = 0; k < item->resolved.size(); ++k) {
      const ResolvedArg& arg = item->resolved[k];
      if (arg.id != m.id || arg.value.state != ValueState::kStored || item->local[k].node != 0) continue;
      wanted = true;
      --item->missing;
      item->local[k] = m.place;
      nowhere |= arg.value.places.empty();  // the copy here was the last one known, and it was evicted
    }
    const bool passing = m.failed && m.gone.empty() && !nowhere;
    if (wanted && passing) {  // that argument is asked for once more: what else it waits for is under way
      for (size_t k = 0; k < item->resolved.size(); ++k) {
        if (item->resolved[k].id != m.id) continue;
        item->local[k] = {};
        RequestArg(item, k);
      }
    }
    const bool lost = wanted && !passing && (m.failed || m.full);
    if (!wanted || (item->missing != 0 && !lost)) {
      ++i;
      continue;
    }
    moved.push_back(item->owner);
    if (!lost && item->in_turn()) {  // there may be others before it
      ++i;
      continue;
    }
    std::unique_ptr<ExecItem> owned = std::move(waiting_[i]);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!lost) {
      ready_.push_back(std::move(owned));
      continue;
    }
    Forget(*owned);
    AnswerError(*owned, m.full ? ErrorType::kObjectStoreFull : ErrorType::kObjectLost,
                "argument " + Hex(m.id) + " of task " + owned->tmpl->function_name + ": " + m.text);
  }
  for (const Address& owner : moved) ReleaseOrdered(owner);
}

// An argument of the front item was evicted between its arrival and now: has it brought again.
void Executor::FetchAgain() {
  std::unique_ptr<ExecItem> item = std::move(ready_.front());
  ready_.pop_front();
  for (size_t i = 0; i < item->local.size(); ++i) {
    item->local[i] = {};
    std::erase_if(item->resolved[i].value.places,
                  [&](const Place& p) { return p.node == objects_->self().node; });
    RequestArg(item.get(), i);
  }
  // It keeps its turn: later calls of its caller wait behind it again.
  std::vector<std::unique_ptr<ExecItem>> back;
  const Address owner = item->owner;
  const bool in_turn = item->in_turn();
  back.push_back(std::move(item));
  for (auto& later : ready_) {
    if (in_turn && later->owner == owner && later->in_turn()) back.push_back(std::move(later));
  }
  std::erase(ready_, nullptr);
  waiting_.insert(waiting_.begin(), std::make_move_iterator(back.begin()),
                  std::make_move_iterator(back.end()));
}

ExecItem* Executor::Take(TimeNs now) {
  while (has_ready() && !retiring_) {
    ExecItem* item = ready_.front().get();
    if (!item->local.empty() && !host_->PinArgs(*item)) {
      FetchAgain();
      continue;
    }
    if (!host_->Claim(*item)) return nullptr;
    running_.push_back(std::move(ready_.front()));
    ready_.pop_front();
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
  w.result.values = std::move(values);
  if (!contained.empty()) held_[{item->task, item->attempt}] = std::move(contained);
  const auto it =
      std::find_if(running_.begin(), running_.end(), [&](const auto& r) { return r.get() == item; });
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
  Result r;
  r.task = item.task;
  r.attempt = item.attempt;
  WireValue v;
  v.kind = static_cast<uint8_t>(ValueKind::kSystemError);
  v.bytes = EncodeSystemError(static_cast<uint8_t>(type), message, Hex(item.task));
  r.values.push_back(std::move(v));
  outbox_->Send(item.owner, MsgType::kResult, r);
}

void Executor::OnResultAck(const TaskRef& m) {
  const auto it = held_.find({m.task, m.attempt});
  if (it == held_.end()) return;
  const std::vector<Entry*> entries = std::move(it->second);
  held_.erase(it);
  for (Entry* e : entries) objects_->DropHold(e);
}

// ---- giving back ------------------------------------------------------------------------------------------

// An unclaimed item leaves: the pulls it waited for may be withdrawn.
void Executor::Forget(const ExecItem& item) {
  for (size_t i = 0; i < item.local.size(); ++i) {
    const ResolvedArg& arg = item.resolved[i];
    if (arg.value.state != ValueState::kStored || item.local[i].node != 0) continue;
    const auto it = pulls_.find(arg.id);
    if (it == pulls_.end() || --it->second != 0) continue;
    pulls_.erase(it);
    Pull pull;
    pull.id = arg.id;
    pull.attempt = arg.value.attempt;
    pull.priority = PullPriority::kArgs;  // a get of the same object by this process goes on
    pull.cancel = true;
    outbox_->Send(RayletOf(objects_->self().node), MsgType::kPull, pull);
  }
}

void Executor::ReturnTasks(const Address* only_owner) {
  std::unordered_map<Address, Returned> by_owner;
  if (only_owner != nullptr) by_owner[*only_owner];  // a REVOKE is always answered
  if (const ExecItem* item = current()) by_owner[item->owner];
  const auto take = [&](auto& items) {
    for (size_t i = 0; i < items.size();) {
      ExecItem& item = *items[i];
      if (only_owner != nullptr && item.owner != *only_owner) {
        ++i;
        continue;
      }
      by_owner[item.owner].tasks.push_back({item.task, item.attempt, false, false});
      Forget(item);
      items.erase(items.begin() + static_cast<std::ptrdiff_t>(i));
    }
  };
  if (only_owner == nullptr) {  // everything goes: no element-wise erase
    for (auto& item : ready_)
      by_owner[item->owner].tasks.push_back({item->task, item->attempt, false, false});
    ready_.clear();
  } else {
    take(ready_);
  }
  take(waiting_);
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
  for (const auto& [owner, templates] : templates_) {
    Returned r;
    r.retiring = true;
    for (const auto& item : ready_) {
      if (item->owner == owner) r.tasks.push_back({item->task, item->attempt, false, false});
    }
    for (const auto& item : waiting_) {
      if (item->owner == owner) r.tasks.push_back({item->task, item->attempt, false, false});
    }
    outbox_->Send(owner, MsgType::kReturned, r);
  }
  for (const auto& item : waiting_) Forget(*item);
  ready_.clear();
  waiting_.clear();
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kRetire, Exit{});
}

void Executor::ExitActor() {
  Retire();
  outbox_->Send(actor_.owner(), MsgType::kActorExit, ActorExit{actor_, incarnation_});
}

// ---- cancel and death -------------------------------------------------------------------------------------

bool Executor::RemoveUnclaimed(const TaskId& task, uint32_t attempt, std::unique_ptr<ExecItem>* out) {
  const auto find = [&](auto& items) {
    for (auto it = items.begin(); it != items.end(); ++it) {
      if ((*it)->task == task && (*it)->attempt == attempt) {
        *out = std::move(*it);
        items.erase(it);
        return true;
      }
    }
    return false;
  };
  return find(ready_) || find(waiting_);
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
  std::unique_ptr<ExecItem> item;
  if (!RemoveUnclaimed(m.task, m.attempt, &item)) return;  // finished: its result is on the way
  Forget(*item);
  AnswerError(*item, ErrorType::kTaskCancelled, "the task was cancelled before it started");
  ReleaseOrdered(from);
}

void Executor::DropFrom(const std::function<bool(const Address&)>& gone) {
  std::erase_if(ready_, [&](const auto& i) { return gone(i->owner); });
  for (auto& item : waiting_) {
    if (gone(item->owner)) Forget(*item);
  }
  std::erase_if(waiting_, [&](const auto& i) { return gone(i->owner); });
  std::erase_if(templates_, [&](const auto& t) { return gone(t.first); });
  std::vector<TaskAttempt> dead;
  for (const auto& [key, entries] : held_) {
    if (gone(key.task.owner)) dead.push_back(key);
  }
  for (const TaskAttempt& key : dead) OnResultAck({key.task, key.attempt, false, false});
  FlushResults();
}

void Executor::OnEof(const Address& who) {
  DropFrom([&](const Address& a) { return a == who; });
}

void Executor::OnNodeDead(uint32_t node) {
  DropFrom([&](const Address& a) { return a.node == node; });
}

}  // namespace rmpi::core
