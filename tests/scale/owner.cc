// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/owner.h"

#include <algorithm>
#include <stdexcept>

#include "tests/scale/node.h"

namespace rmpi::scale {

Owner::Owner(Cluster* cluster, const Address& self)
    : cluster_(cluster), self_(self), index_(cluster->owner_count()), core_(this, this) {
  core_.SetIdentity(self, JobId{1});
}

void Owner::Submit(const TaskTemplate& function, uint64_t count, TimeNs run) {
  function_ = core_.tasks().Prepare(function);
  run_ = run;
  refs_.reserve(refs_.size() + count);
  for (uint64_t i = 0; i < count; ++i) SubmitOne();
  Settle();
}

void Owner::SubmitSteadily(const TaskTemplate& function, uint64_t count, TimeNs run, TimeNs gap) {
  function_ = core_.tasks().Prepare(function);
  run_ = run;
  gap_ = gap;
  left_ = count;
  cluster_->unfinished += count;
  counted_ += count;
  next_ = cluster_->now();
  Settle();
}

void Owner::SubmitOne() { Submit(function_, {run_, cluster_->now(), 0}, {}, &refs_); }

void Owner::Submit(const std::shared_ptr<core::Template>& function, const Work& work,
                   std::vector<core::Entry*> args, std::vector<core::Entry*>* results) {
  Writer w;
  w(work);
  const auto count = static_cast<uint32_t>(args.size());
  core::Task* task =
      core_.tasks().New(TaskKind::kNormal, function, Blob::Copy(w.bytes()), std::move(args), count, 0, 0);
  core::Entry* e = core_.objects().ReturnOf(task->record, 0);
  e->handles.fetch_add(1);
  results->push_back(e);
  core_.submitter().Start(task, cluster_->now());
}

void Owner::SubmitActors(uint64_t count) {
  TaskTemplate t;
  t.function_name = "A";
  t.creates_actor = true;
  t.strategy = Strategy::kSpread;
  const auto tmpl = core_.tasks().Prepare(t);
  for (uint64_t i = 0; i < count; ++i) {
    Writer w;
    w(Work{kMillisecond, cluster_->now()});
    core::Task* task = core_.tasks().New(TaskKind::kActorCreation, tmpl, Blob::Copy(w.bytes()), {}, 0, 0, 0);
    core::Entry* handle = &task->record->first;
    handle->handles.fetch_add(1);
    refs_.push_back(handle);
    core_.actor_owner().Create(task, {}, cluster_->now());
  }
  Settle();
}

void Owner::CreateGroups(uint64_t count, GroupStrategy strategy, uint32_t bundles, int64_t cpus) {
  GroupRequest m;
  m.op = GroupOp::kCreate;
  m.group.job = JobId{1};
  m.group.strategy = strategy;
  m.group.bundles.assign(bundles, GroupBundle{{{"CPU", cpus * sched::kResourceUnit}}, 0, {}});
  for (uint64_t i = 0; i < count; ++i) {
    m.nonce = UINT64_MAX - i;
    groups_[m.nonce] = cluster_->now();
    AskForGroup(m);
  }
  Settle();
}

// True: it was about a group.
bool Owner::OnGroup(MsgType type, Bytes body) {
  Reader reader(body);
  if (type == MsgType::kGroupReply) {
    GroupReply reply;
    reader(reply);
    if (reply.groups.empty()) throw std::logic_error(reply.refused);
    GroupRequest wait;
    wait.op = GroupOp::kWait;
    wait.group.group = reply.groups[0].group;
    groups_[wait.group.group] = groups_.extract(reply.nonce).mapped();
    for (RunningGang& g : gangs_) {
      if (g.nonce == reply.nonce) g.group = wait.group.group;
    }
    AskForGroup(wait);
    return true;
  }
  if (type != MsgType::kGroupReady) return false;
  GroupReady ready;
  reader(ready);
  cluster_->Started(groups_.at(ready.group));
  groups_.erase(ready.group);
  StartInGroup(ready.group);
  return true;
}

void Owner::DropAll() {
  for (core::Entry* e : refs_) core_.objects().DropHandle(e);
  refs_.clear();
  refs_.shrink_to_fit();
  Settle();
}

void Owner::OnMessage(const MessageHeader& header, Bytes body) {
  if (!OnGroup(static_cast<MsgType>(header.type), body)) core_.OnMessage(header, body, cluster_->now());
  Settle();
}

void Owner::OnTimer() {
  if (cluster_->now() >= timer_at_) timer_at_ = kNever;
  Settle();
}

void Owner::Settle() {
  const TimeNs now = cluster_->now();
  for (; left_ != 0 && next_ <= now; --left_, next_ += gap_) SubmitOne();
  if (left_ == 0) next_ = kNever;
  if (!gangs_.empty()) RunGangs();
  do {
    while (!to_self_.empty()) {
      const auto [header, body] = std::move(to_self_.front());
      to_self_.pop_front();
      core_.OnMessage(header, body.bytes(), now);
    }
    if (now >= core_.NextDeadline()) core_.OnTimer(now);
    core_.Settle(now);
  } while (!to_self_.empty());
  const size_t unfinished = left_ + pending();
  cluster_->unfinished += unfinished - counted_;
  counted_ = unfinished;
  const TimeNs due = std::min({core_.NextDeadline(), next_, next_gang_});
  if (due == kNever || (timer_at_ > now && timer_at_ <= due)) return;
  timer_at_ = std::max(due, now + 1);
  cluster_->At(timer_at_, Cluster::Timer::kOwner, index_);
}

void Owner::Post(const Address& to, MsgType type, Bytes body) {
  if (to != self_) return cluster_->Send(self_, to, type, body);
  MessageHeader header;
  header.type = static_cast<uint16_t>(type);
  header.src = header.dst = self_;
  to_self_.emplace_back(header, Blob::Copy(body));
}

}  // namespace rmpi::scale
