// SPDX-License-Identifier: Apache-2.0
// CoreWorker: placement groups. The head has them; this process knows their numbers, which group its task
// runs in, and which groups it waits for.
#include "runtime/worker/impl.h"

namespace rmpi {

Status CoreWorker::Impl::AskForGroups(GroupOp op, GroupRecord about, GroupReply* reply) {
  GroupRequest m;
  m.op = op;
  m.group = std::move(about);
  return Call(GcsAddress(), MsgType::kGroupRequest, m, MonotonicNow() + kAnswerPatience, reply);
}

Status CoreWorker::CreateGroup(GroupRecord* group) {
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex_);
    if (impl_->gone_) return Status::Unavailable(kRuntimeGone);
    group->job = impl_->core_.objects().job();
  }
  GroupReply reply;
  Status s = impl_->AskForGroups(GroupOp::kCreate, *group, &reply);
  if (!s.ok()) return s;
  if (reply.taken)
    return {StatusCode::kExists, "Failed to create placement group '" + group->name + "' because name '" +
                                     group->name + "' already exists."};
  if (!reply.refused.empty() || reply.groups.empty()) return Status::Unavailable(reply.refused);
  *group = std::move(reply.groups[0]);
  return Status::Ok();
}

// Nobody waits for it: what this process asks of the head later comes there later.
Status CoreWorker::RemoveGroup(uint32_t group) {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  if (impl_->gone_) return Status::Unavailable(kRuntimeGone);
  impl_->core_.submitter().LeaveGroup(group, MonotonicNow());
  GroupRequest m;
  m.op = GroupOp::kRemove;
  m.group.group = group;
  impl_->Send(GcsAddress(), MsgType::kGroupRequest, m);
  impl_->FlushLanes();
  return Status::Ok();
}

Status CoreWorker::FindGroup(const std::string& ray_namespace, const std::string& name, GroupRecord* out) {
  GroupRecord about;
  about.ray_namespace = ray_namespace;
  about.name = name;
  GroupReply reply;
  Status s = impl_->AskForGroups(GroupOp::kFind, std::move(about), &reply);
  if (!s.ok()) return s;
  if (reply.groups.empty()) return Status::NotFound("Failed to look up placement group with name: " + name);
  *out = std::move(reply.groups[0]);
  return Status::Ok();
}

Status CoreWorker::ListGroups(uint32_t group, std::vector<GroupRecord>* out) {
  GroupRecord about;
  about.group = group;
  GroupReply reply;
  Status s = impl_->AskForGroups(GroupOp::kTable, std::move(about), &reply);
  if (s.ok()) *out = std::move(reply.groups);
  return s;
}

std::string CoreWorker::GroupId(uint32_t group) const { return GroupHex(impl_->run_id_, group); }

Status CoreWorker::GroupReady(uint32_t group, const Blob& value, Ref* out) {
  Impl& impl = *impl_;
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  if (impl.gone_) return Status::Unavailable(kRuntimeGone);
  auto& objects = impl.core_.objects();
  auto [it, fresh] = impl.awaited_groups_.try_emplace(group);
  if (fresh) {  // its first hold is ours
    it->second.entry = objects.ReturnOf(objects.NewRecord(TaskKind::kPut, 1), 0);
    it->second.value = value;
    GroupRequest m;
    m.op = GroupOp::kWait;
    m.group.group = group;
    impl.Send(GcsAddress(), MsgType::kGroupRequest, m);
    impl.FlushLanes();
  }
  *out = impl.Handle(it->second.entry);
  return Status::Ok();
}

void CoreWorker::Impl::OnGroupReady(Bytes body) {
  ::rmpi::GroupReady m;
  Reader reader(body);
  reader(m);
  const auto it = awaited_groups_.find(m.group);
  if (!reader.Done() || it == awaited_groups_.end()) return;
  AwaitedGroup awaited = std::move(it->second);
  awaited_groups_.erase(it);
  if (m.state == GroupState::kRemoved) {
    core_.objects().SetInline(
        awaited.entry, static_cast<uint8_t>(ValueKind::kSystemError),
        core::EncodeSystemError(static_cast<uint8_t>(ErrorType::kTaskGroupRemoved),
                                "The placement group corresponding to this task has been removed.",
                                Hex(awaited.entry->id)));
  } else {
    core_.objects().SetInline(awaited.entry, static_cast<uint8_t>(ValueKind::kValue), awaited.value);
  }
  core_.objects().DropHold(awaited.entry);
}

CurrentGroup CoreWorker::Impl::GroupOfThis() const {
  if (actor_group_.group != 0) return actor_group_;
  const core::ExecItem* current = Current();
  return current == nullptr ? CurrentGroup{} : CurrentGroup{current->tmpl->group, current->tmpl->capture};
}

CurrentGroup CoreWorker::current_group() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return impl_->GroupOfThis();
}

// What is submitted from inside of a group that captures it goes there, too.
const std::shared_ptr<core::Template>& CoreWorker::Impl::TemplateHere(const PreparedTemplate& t) {
  if (!t.inherits) return t.tmpl;
  const CurrentGroup here = GroupOfThis();
  if (here.group == 0 || !here.capture) return t.tmpl;
  auto& captured = t.captured[here.group];
  if (captured == nullptr) captured = core_.tasks().InGroup(*t.tmpl, here.group);
  return captured;
}

}  // namespace rmpi
