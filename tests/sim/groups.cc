// SPDX-License-Identifier: Apache-2.0
// Placement groups: drivers make them, run tasks and actors in them, and remove them at any time. A task in a
// group may never run while the group is there; so only drivers submit them, which never wait without a limit
// before they have removed all of their groups, and what runs in a group makes further ones there.
#include <algorithm>

#include "tests/sim/process.h"
#include "tests/sim/raylet.h"

namespace rmpi::sim {

using core::Entry;

void SimProcess::GroupStep() {
  const uint64_t dice = frame_->rng.Below(100);
  if (groups_.empty() || dice < 12) {
    if (frame_->item == nullptr) CreateGroup();
  } else if (dice < 20) {
    if (frame_->item == nullptr) RemoveGroup(frame_->rng.Below(groups_.size()));
  } else if (dice < 25) {
    GroupRequest m;
    m.op = GroupOp::kWait;
    m.group.group = groups_[frame_->rng.Below(groups_.size())].group;
    Send(GcsAddress(), MsgType::kGroupRequest, m);
  } else if (dice < 80 || !world_->features().actors) {
    SubmitToGroup();
  } else {
    CreateActorInGroup();
  }
}

void SimProcess::CreateGroup() {
  Rng& rng = frame_->rng;
  GroupRequest m;
  m.op = GroupOp::kCreate;
  m.nonce = ++group_nonce_;
  m.group.job = core_.objects().job();
  m.group.detached = rng.Percent(20);
  m.group.strategy = static_cast<GroupStrategy>(rng.Below(4));
  const uint32_t gpus = *std::max_element(world_->features().gpus.begin(), world_->features().gpus.end());
  for (uint64_t n = 1 + rng.Below(3); n-- > 0;) {
    GroupBundle b;
    const auto cpus = static_cast<int64_t>(1 + rng.Below(rng.Percent(80) ? 2 : 5));
    b.resources = {{"CPU", rng.Percent(20) ? sched::kResourceUnit / 2 : cpus * sched::kResourceUnit}};
    if (gpus != 0 && rng.Percent(50)) {
      const int64_t amounts[] = {sched::kResourceUnit / 2, sched::kResourceUnit, gpus * sched::kResourceUnit};
      b.resources.emplace_back("GPU", amounts[rng.Below(3)]);
    }
    m.group.bundles.push_back(std::move(b));
  }
  Send(GcsAddress(), MsgType::kGroupRequest, m);
}

void SimProcess::OnGroupReply(const GroupReply& m) {
  if (!m.refused.empty() || m.groups.size() != 1)
    return world_->Fail("process " + ToString(self_) + " could not make a group: " + m.refused);
  groups_.push_back(m.groups[0]);
  if (groups_over_) RemoveGroup(groups_.size() - 1);  // too late for this program
}

void SimProcess::RemoveGroup(size_t i) {
  core_.submitter().LeaveGroup(groups_[i].group, world_->now());
  GroupRequest m;
  m.op = GroupOp::kRemove;
  m.group.group = groups_[i].group;
  world_->OnGroupRemoved();
  Send(GcsAddress(), MsgType::kGroupRequest, m);
  if (!groups_over_ && frame_->rng.Percent(30)) return;  // and goes on to use it
  groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(i));
}

// What a task or an actor in a group asks for: mostly something that one of its bundles has.
void SimProcess::AskOfGroup(TaskTemplate* t) {
  Rng& rng = frame_->rng;
  const GroupRecord& group = groups_[rng.Below(groups_.size())];
  const auto index = static_cast<uint32_t>(rng.Below(group.bundles.size()));
  t->group = group.group;
  t->bundle = rng.Percent(40) ? -1 : static_cast<int32_t>(index);
  t->resources = {};
  for (const auto& [name, amount] : group.bundles[index].resources) {
    const double all = static_cast<double>(amount) / sched::kResourceUnit;
    if (name == "CPU")
      t->resources.emplace_back(name, rng.Percent(20) ? 0 : rng.Percent(5) ? 100 : std::min(all, 1.0));
    if (name == "GPU" && !t->creates_actor && rng.Percent(60)) t->resources.emplace_back(name, all);
  }
}

void SimProcess::SubmitToGroup() {
  SimArgs& mine = frame_->args;
  if (mine.budget == 0 || (frame_->item != nullptr && mine.depth_left == 0)) return;
  --mine.budget;
  TaskTemplate t;
  t.function_name = "in group";
  t.max_retries = static_cast<int32_t>(frame_->rng.Below(3));
  AskOfGroup(&t);
  const auto tmpl = core_.tasks().Prepare(t);
  SimArgs args;
  args.seed = frame_->rng.Next();
  args.fast = frame_->rng.Percent(60);
  args.leaf =
      std::any_of(t.resources.begin(), t.resources.end(), [](const auto& r) { return r.first == "GPU"; });
  args.depth_left = mine.depth_left - 1;
  if (!args.leaf && args.depth_left > 0 && frame_->rng.Percent(40)) {
    args.budget = static_cast<uint32_t>(frame_->rng.Below(std::min<uint64_t>(mine.budget, 6) + 1));
    mine.budget -= args.budget;
  }
  core::Task* task = NewTask(TaskKind::kNormal, tmpl, args, 40, 1);
  Keep(core_.objects().ReturnOf(task->record, 0));
  core_.submitter().Start(task, world_->now());
}

void SimProcess::CreateActorInGroup() {
  SimArgs& mine = frame_->args;
  if (mine.budget == 0) return;
  --mine.budget;
  TaskTemplate t;
  t.function_name = "Actor in group";
  t.creates_actor = true;
  t.max_retries = static_cast<int32_t>(frame_->rng.Below(3));
  AskOfGroup(&t);
  SimArgs args;
  args.seed = frame_->rng.Next();
  core::Task* task = NewTask(TaskKind::kActorCreation, core_.tasks().Prepare(t), args, 30, 1);
  Keep(&task->record->first);
  core_.actor_owner().Create(task, {}, world_->now());
}

// The driver's program is over: what waits for groups fails with them.
void SimProcess::RemoveAllGroups() {
  groups_over_ = true;
  if (first_driver()) world_->EndStrayGroups();
  while (!groups_.empty()) RemoveGroup(groups_.size() - 1);
}

// Detached ones of drivers that are gone must not keep the last driver's tasks waiting; nor, when its program
// is over, what that has left behind.
void World::EndStrayGroups() {
  if (settled_) return;
  RemoveGroups();
  After(5 * kSecond, [this] { EndStrayGroups(); });
}

void World::RemoveGroups() {
  SimRaylet* head = RayletAt(kHeadNode);
  for (uint32_t number = 1; number <= 10'000; ++number) {
    const GroupRecord* group = head->gcs()->groups().Find(number);
    if (group == nullptr || group->state == GroupState::kRemoved) continue;
    GroupRequest m;
    m.op = GroupOp::kRemove;
    m.group.group = number;
    head->Send(GcsAddress(), MsgType::kGroupRequest, m);
  }
  head->Poke();
}

// 9: what the head calls created is there, whole; bundles are within their node, and uses within their
// bundle.
void World::CheckGroups() {
  if (!features_.groups) return;
  for (const auto& [node, r] : raylets_) {
    sched::Amounts left = r->scheduler().total();
    r->scheduler().bundles().ForEach([&](const sched::BundleKey&, const sched::Amounts& total,
                                         const sched::Pool&) { sched::Subtract(&left, total); });
    for (const auto& [name, amount] : left) {
      if (amount < 0) Fail("bundles on node " + std::to_string(node) + " have more " + name + " than it (9)");
    }
  }
  const PlacementGroups& groups = RayletAt(kHeadNode)->gcs()->groups();
  groups.ForEach([&](const GroupRecord& record) {
    for (uint32_t i = 0; i < record.bundles.size(); ++i) {
      const GroupBundle& b = record.bundles[i];
      if (record.state == GroupState::kCreated && b.node == 0)
        Fail("group " + std::to_string(record.group) + " is created without its bundle " + std::to_string(i) +
             " (9)");
      SimRaylet* r = RayletAt(b.node);
      if (b.node != 0 && r != nullptr && !r->scheduler().bundles().Has({record.group, i})) {
        Fail("node " + std::to_string(b.node) + " does not have bundle " + std::to_string(i) + " of group " +
             std::to_string(record.group) + " (9)");
      }
    }
  });
}

}  // namespace rmpi::sim
