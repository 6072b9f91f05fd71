// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/actor_owner.h"

#include <algorithm>

namespace rmpi::core {
namespace {

constexpr char kNoReferences[] = "The actor is dead because all references to the actor were removed.";
constexpr char kDiedBefore[] = "The actor is dead: it had died before this process had a handle on it.";
constexpr char kKilled[] = "The actor is dead because it was killed by `ray.kill`.";
constexpr char kKilledEarly[] = "It was killed by `ray.kill` before it had started.";
constexpr char kExited[] = "The actor exited on purpose: exit_actor() was called, or __ray_terminate__.";

}  // namespace

void ActorOwner::Create(Task* creation, ActorFacts facts, TimeNs now) {
  Announce(creation, std::move(facts));
  Begin(creation->record->first.id, now);
}

void ActorOwner::Announce(Task* creation, ActorFacts facts) { actors_[creation].facts = std::move(facts); }

void ActorOwner::Begin(const ObjectId& actor, TimeNs now) {
  if (Task* t = Find(actor)) submitter_->Start(t, now);
  // From here on only handles and calls keep it; a failed creation has left its error there.
  if (Entry* e = objects_->Find(actor)) objects_->DropHold(e);
}

void ActorOwner::Abandon(const ObjectId& actor, const std::string& why) {
  if (Task* t = Find(actor)) End(t, why);
  if (Entry* e = objects_->Find(actor)) objects_->DropHold(e);
}

Task* ActorOwner::Find(const ObjectId& actor) const {
  Task* t = tasks_->Find(actor.task);
  return t != nullptr && actors_.count(t) != 0 ? t : nullptr;
}

std::string ActorOwner::Describe(const Task* creation) const {
  const Owned& owned = actors_.at(creation);
  std::string text = "\n\tclass_name: " + creation->tmpl->function_name +
                     "\n\tactor_id: " + ActorHex(creation->record->first.id);
  if (!owned.facts.name.empty()) text += "\n\tname: " + owned.facts.name;
  if (!owned.facts.ray_namespace.empty()) text += "\n\tnamespace: " + owned.facts.ray_namespace;
  if (!owned.where.empty()) text += "\n" + owned.where;
  return text + "\n";
}

// ---- ends -------------------------------------------------------------------------------------------------

void ActorOwner::OnOutOfScope(const ObjectId& actor) {
  Task* t = Find(actor);
  if (t == nullptr) return;
  if (t->state == TaskState::kAlive) {
    submitter_->EndActor(t);
    End(t, kNoReferences);
  } else if (t->state == TaskState::kPushed) {
    actors_.at(t).unwanted = true;  // ends when its constructor has
  } else {
    End(t, kNoReferences);
  }
}

void ActorOwner::End(Task* creation, const std::string& why) {
  submitter_->Withdraw(creation);
  tasks_->FailWith(creation, ErrorType::kActorDied,
                   "The actor died unexpectedly before finishing this task." + Describe(creation) + why);
}

void ActorOwner::OnKill(const ActorKill& m) {
  Task* t = Find(m.actor);
  if (t == nullptr) return;
  const std::string killed = kKilled + (m.by.empty() ? "" : " (Called by " + m.by + ".)");
  const bool running = t->state == TaskState::kPushed || t->state == TaskState::kAlive;
  if (running) submitter_->KillActor(t, m.no_restart);
  if (m.no_restart) {
    End(t, killed);
  } else if (running) {
    actors_.at(t).killed = killed;
  } else if (t->state == TaskState::kQueued) {  // for a worker: that start counts as one that was killed
    if (!TaskTable::ChargeRetry(t)) return End(t, killed);
    OnActorRestarting(t, kKilledEarly);
  }  // else it waits for its arguments, or its name: there is nothing to kill
}

void ActorOwner::OnExit(const Address& from, const ActorExit& m) {
  Task* t = Find(m.actor);
  if (t == nullptr || t->attempt != m.incarnation || t->lease == nullptr || t->lease->worker != from) return;
  submitter_->EndActor(t);
  End(t, kExited);
}

std::string ActorOwner::WhyDead(Task* creation, const std::string& cause) {
  const Owned& owned = actors_.at(creation);
  const std::string why = owned.unwanted ? kNoReferences
                          : !owned.killed.empty()
                              ? owned.killed
                              : "The actor is dead because its worker process has died. " + cause;
  return "The actor died unexpectedly before finishing this task." + Describe(creation) + why;
}

// ---- states -----------------------------------------------------------------------------------------------

void ActorOwner::OnActorAlive(Task* creation, const Blob& where) {
  Owned& owned = actors_.at(creation);
  if (owned.unwanted) {
    submitter_->EndActor(creation);
    End(creation, kNoReferences);
    return;
  }
  const std::string_view text(reinterpret_cast<const char*>(where.data()), where.size());
  if (text.starts_with(kWhereItRuns)) owned.where = text;
  owned.phase = ActorPhase::kAlive;
  owned.worker = creation->lease->worker;
  Tell(creation);
}

void ActorOwner::OnActorRestarting(Task* creation, const std::string& cause) {
  Owned& owned = actors_.at(creation);
  owned.phase = ActorPhase::kRestarting;
  owned.worker = {};
  owned.cause = cause;
  owned.where.clear();
  owned.killed.clear();
  Tell(creation);
}

void ActorOwner::OnActorDead(Task* creation, uint8_t kind, const Blob& error) {
  const auto it = actors_.find(creation);
  if (it == actors_.end()) return;
  ActorState m;
  m.actor = creation->record->first.id;
  m.phase = ActorPhase::kDead;
  m.incarnation = creation->attempt;
  m.kind = kind;
  m.error = error;
  for (const Address& to : it->second.subscribers) {
    outbox_->Send(to, MsgType::kActorState, m);
    Unsubscribe(to, creation);
  }
  if (const ActorFacts& facts = it->second.facts; !facts.name.empty()) {
    ActorName remove;
    remove.op = ActorNameOp::kRemove;
    remove.ray_namespace = facts.ray_namespace;
    remove.name = facts.name;
    remove.actor = m.actor;
    outbox_->Send(GcsAddress(), MsgType::kActorName, remove);
  }
  actors_.erase(it);
}

ActorState ActorOwner::StateOf(Task* creation, const Owned& owned) const {
  ActorState m;
  m.actor = creation->record->first.id;
  m.phase = owned.phase;
  m.incarnation = creation->attempt;
  m.worker = owned.worker;
  m.cause = owned.cause;
  return m;
}

void ActorOwner::Tell(Task* creation) {
  const Owned& owned = actors_.at(creation);
  const ActorState m = StateOf(creation, owned);
  for (const Address& to : owned.subscribers) outbox_->Send(to, MsgType::kActorState, m);
}

void ActorOwner::OnLocate(const Address& from, const ActorLocate& m) {
  Task* t = Find(m.actor);
  if (t != nullptr) {
    Owned& owned = actors_.at(t);
    std::erase(owned.subscribers, from);
    if (m.stop) return Unsubscribe(from, t);
    owned.subscribers.push_back(from);
    subscriptions_[from].insert(t);
    if (owned.phase != ActorPhase::kPending) outbox_->Send(from, MsgType::kActorState, StateOf(t, owned));
    return;
  }
  if (m.stop) return;
  ActorState dead;
  dead.actor = m.actor;
  dead.phase = ActorPhase::kDead;
  const Entry* e = objects_->Find(m.actor);
  if (e != nullptr && !e->pending()) {
    dead.kind = e->kind;
    dead.error = e->value;
  } else {
    dead.kind = static_cast<uint8_t>(ValueKind::kSystemError);
    dead.error = EncodeSystemError(static_cast<uint8_t>(ErrorType::kActorDied),
                                   objects_->self() == DetachedOwner() ? kDiedBefore : kNoReferences,
                                   ActorHex(m.actor));
  }
  outbox_->Send(from, MsgType::kActorState, dead);
}

size_t ActorOwner::alive_count() const {
  return static_cast<size_t>(std::count_if(
      actors_.begin(), actors_.end(), [](const auto& a) { return a.second.phase == ActorPhase::kAlive; }));
}

void ActorOwner::Unsubscribe(const Address& who, const Task* creation) {
  const auto it = subscriptions_.find(who);
  if (it == subscriptions_.end()) return;
  it->second.erase(creation);
  if (it->second.empty()) subscriptions_.erase(it);
}

void ActorOwner::OnEof(const Address& who) {
  const auto subscribed = subscriptions_.extract(who);
  if (subscribed.empty()) return;
  for (const Task* creation : subscribed.mapped()) std::erase(actors_.at(creation).subscribers, who);
}

void ActorOwner::OnNodeDead(uint32_t node) {
  for (auto& [task, owned] : actors_) {
    std::erase_if(owned.subscribers, [&](const Address& a) { return a.node == node; });
  }
  std::erase_if(subscriptions_, [&](const auto& s) { return s.first.node == node; });
}

}  // namespace rmpi::core
