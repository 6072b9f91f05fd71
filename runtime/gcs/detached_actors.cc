// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/detached_actors.h"

#include <algorithm>

namespace rmpi {

using core::Entry;
using core::EntryState;

DetachedActors::DetachedActors(Outbox* outbox, ActorNames* names, Host* host)
    : outbox_(outbox), names_(names), host_(host), core_(outbox, this) {
  core_.SetIdentity(DetachedOwner(), JobId{});
}

void DetachedActors::OnMessage(const MessageHeader& header, Bytes body, TimeNs now) {
  const auto type = static_cast<MsgType>(header.type);
  if (type == MsgType::kAdoptActor) {
    AdoptActor m;
    Reader reader(body);
    reader(m);
    if (reader.Done()) OnAdopt(header.src, std::move(m), now);
  } else if (type != MsgType::kPush) {  // nothing is leased here: nobody has one for us
    core_.OnMessage(header, body, now);
  }
  Settle(now);
}

void DetachedActors::OnTimer(TimeNs now) {
  if (now < core_.NextDeadline()) return;
  core_.OnTimer(now);
  Settle(now);
}

void DetachedActors::OnAdopt(const Address& from, AdoptActor m, TimeNs now) {
  AdoptActorReply reply;
  reply.nonce = m.nonce;
  if (const auto* taken = m.name.empty() ? nullptr : names_->Find(m.ray_namespace, m.name)) {
    reply.taken = true;
    reply.actor = taken->actor;
    reply.about = taken->about;
    outbox_->Send(from, MsgType::kAdoptActorReply, reply);
    return;
  }
  auto job = jobs_.find(m.job);
  if (job == jobs_.end()) {
    const std::optional<JobId> started = host_->StartDetachedJob(m.job);
    if (started) job = jobs_.emplace(m.job, Job{*started}).first;
  }
  const auto tmpl = core_.tasks().Prepare(m.shape, m.template_bytes, m.max_restarts);
  if (job == jobs_.end() || tmpl == nullptr || m.top_level > m.refs.size()) {
    reply.refused = job == jobs_.end() ? "the job that wanted a detached actor is over"
                                       : "the creation of a detached actor cannot be read";
    outbox_->Send(from, MsgType::kAdoptActorReply, reply);
    return;
  }
  ++job->second.actors;
  tmpl->shape.job = job->second.job;
  core_.SetIdentity(DetachedOwner(), job->second.job);  // of what is made now
  std::vector<Entry*> refs;
  for (size_t i = 0; i < m.refs.size(); ++i) {
    if (i < m.top_level) {
      refs.push_back(CopyOf(m.refs[i], tmpl->function_name));
    } else if (Entry* e = core_.objects().Borrow(m.refs[i], nullptr)) {
      refs.push_back(e);
    }
  }
  core::Task* task = core_.tasks().New(TaskKind::kActorCreation, tmpl, std::move(m.args), std::move(refs),
                                       m.top_level, m.depth, 0);
  Entry* actor = &task->record->first;
  for (Copy& copy : copies_) {
    if (copy.actor.nil()) copy.actor = actor->id;
  }
  reply.actor = actor->id;
  core_.objects().AddHold(actor);     // whoever has a handle: it lives until it is dead
  core_.objects().Lend(actor, from);  // should it die at once, its creator learns why
  core_.objects().AddCallback(actor, [this, id = actor->id] { OnDead(id); });
  alive_[actor->id] = m.job;
  if (!m.name.empty()) names_->Add(m.ray_namespace, m.name, actor->id, m.about);
  core_.actor_owner().Create(task, {m.name, m.ray_namespace}, now);
  waiting_.push_back({from, std::move(reply), core_.objects().last_nonce()});
}

// An object of ours that gets the argument's value when that is known.
Entry* DetachedActors::CopyOf(const ObjectId& id, const std::string& class_name) {
  Entry* to = core_.objects().ReturnOf(core_.objects().NewRecord(TaskKind::kPut, 1), 0);
  core_.objects().AddHold(to);  // the task has the other one
  const bool asks = core_.objects().Find(id) == nullptr && id.owner() != DetachedOwner();
  if (asks) {  // ahead of the registration: what is there already is known when that is acknowledged
    RefMessage locate;
    locate.id = id;
    outbox_->Send(id.owner(), MsgType::kLocate, locate);
  }
  Entry* from = core_.objects().Borrow(id, nullptr);
  const Copy copy{from, to, {}, class_name};
  if (from != nullptr) {
    if (asks) from->more().locate_sent = true;
    copies_.push_back(copy);
  } else {
    Refuse(copy, ErrorType::kObjectLost, "it is gone");
    core_.objects().DropHold(to);
  }
  return to;
}

void DetachedActors::Settle(TimeNs now) {
  // A copy that is done can let go of other objects and end actors, and what that sends may come back later.
  for (size_t i = 0; i < copies_.size();) {
    const Copy copy = copies_[i];
    if (!Advance(copy)) {
      ++i;
      continue;
    }
    copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(i));
    full_.erase(copy.from->id);
    core_.objects().DropHold(copy.from);
    core_.objects().DropHold(copy.to);
  }
  core_.Settle(now);
  while (core_.objects().has_callbacks()) {
    for (const auto& fn : core_.objects().TakeCallbacks()) fn();
    core_.Settle(now);
  }
  Answer();
}

// True: the argument has its value, or an error.
bool DetachedActors::Advance(const Copy& copy) {
  Entry* from = copy.from;
  auto& objects = core_.objects();
  if (copy.to->holds == 1) return true;  // the actor is dead: only we still want it
  if (from->pending()) {
    objects.Resolve(from);
    return false;
  }
  if (from->state.load(std::memory_order_relaxed) == EntryState::kInline) {
    Fill(copy, from->value);
    return true;
  }
  core::Details& d = *from->details;
  if (d.size > kMostCopied) {
    Refuse(copy, ErrorType::kActorDied,
           "it has " + std::to_string(d.size) + " bytes: at most " + std::to_string(kMostCopied) +
               " are copied to the head, so that they outlive the creator. Let the actor read or make large "
               "data by itself");
    return true;
  }
  if (const auto full = full_.find(from->id); full != full_.end()) {
    Refuse(copy, ErrorType::kObjectStoreFull, full->second);
    return true;
  }
  if (objects.PlaceHere(*from).node != 0) {
    if (const std::optional<Blob> bytes = host_->ReadStored(from->id, d.attempt)) {
      Fill(copy, *bytes);
      return true;
    }
    objects.MissedOn(from, kHeadNode);
    return false;
  }
  if (d.fetch != core::Fetch::kNone) return false;
  d.fetch = core::Fetch::kRequested;
  Pull pull;
  pull.id = from->id;
  pull.attempt = d.attempt;
  pull.size = d.size;
  pull.priority = PullPriority::kArgs;
  pull.places = d.places;
  outbox_->Send(RayletOf(kHeadNode), MsgType::kPull, pull);
  return false;
}

void DetachedActors::OnPullReply(const PullReply& m) {
  Entry* e = core_.objects().Find(m.id);
  if (e == nullptr || !e->details || e->details->fetch != core::Fetch::kRequested ||
      e->details->attempt != m.attempt)
    return;
  e->details->fetch = core::Fetch::kNone;
  if (m.full) {
    full_[m.id] = m.text;
  } else if (m.failed) {  // none gone: a passing fault, it is asked for again
    for (uint32_t node : m.gone) core_.objects().MissedOn(e, node);
  } else {
    e->details->fetch = core::Fetch::kLocal;
    e->details->local = m.place;
  }
}

void DetachedActors::Fill(const Copy& copy, Blob bytes) {
  if (copy.from->details) {
    for (const ObjectId& id : std::vector<ObjectId>(copy.from->details->contained_ids)) {
      Entry* inner = core_.objects().Borrow(id, copy.from);
      if (inner != nullptr) copy.to->more().contained.push_back(inner);
    }
  }
  core_.objects().SetInline(copy.to, copy.from->kind, std::move(bytes));
}

void DetachedActors::Refuse(const Copy& copy, ErrorType type, const std::string& why) {
  core_.objects().SetError(
      copy.to, type,
      "an argument of the detached actor " + copy.class_name + " could not be kept for it: " + why);
}

void DetachedActors::OnDead(const ObjectId& actor) {
  const auto it = alive_.find(actor);
  if (it == alive_.end()) return;
  const auto job = jobs_.find(it->second);
  alive_.erase(it);
  if (--job->second.actors == 0) {
    host_->EndDetachedJob(job->second.job);
    jobs_.erase(job);
  }
  if (Entry* e = core_.objects().Find(actor)) core_.objects().DropHold(e);
}

bool DetachedActors::Copying(const ObjectId& actor) const {
  return std::any_of(copies_.begin(), copies_.end(),
                     [&](const Copy& copy) { return copy.actor == actor && !copy.from->pending(); });
}

void DetachedActors::Answer() {
  std::erase_if(waiting_, [&](const Waiting& w) {
    if (core_.objects().Unacknowledged({}, w.upto) || Copying(w.reply.actor)) return false;
    outbox_->Send(w.to, MsgType::kAdoptActorReply, w.reply);
    return true;
  });
}

}  // namespace rmpi
