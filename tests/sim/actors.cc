// SPDX-License-Identifier: Apache-2.0
// What user code does with actors. A method never waits without a limit, so that actors that call each other
// do not wait in a ring.
#include <algorithm>
#include <utility>

#include "tests/sim/process.h"

namespace rmpi::sim {

using core::Entry;

namespace {

constexpr const char* kGroups[] = {"", "io", "compute"};

}  // namespace

void SimProcess::ActorStep() {
  const uint64_t dice = frame_->rng.Below(100);
  if (world_->features().guests != 0 && frame_->rng.Percent(20)) {
    frame_->item == nullptr && frame_->rng.Percent(60) ? FindDetached() : CreateDetached();
  } else if (dice < 25 || frame_->actors.empty()) {
    CreateActor();
  } else if (dice < 85) {
    CallActor();
  } else if (dice < 97) {
    DropActor();
  } else if (world_->features().kills) {
    KillActor();
  }
}

void SimProcess::CreateActor() {
  SimArgs& mine = frame_->args;
  if (mine.budget == 0) return;
  --mine.budget;
  Rng& rng = frame_->rng;
  TaskTemplate t;
  t.function_name = "Actor";
  t.creates_actor = true;
  t.max_retries = static_cast<int32_t>(rng.Below(3));
  t.strategy = Strategy::kSpread;
  if (rng.Percent(20)) {
    t.strategy = Strategy::kNodeAffinity;
    t.affinity_node = static_cast<uint32_t>(1 + rng.Below(world_->features().nodes));
  }
  SimArgs args;
  args.seed = rng.Next();
  core::Task* task = NewTask(TaskKind::kActorCreation, core_.tasks().Prepare(t), args, 30, 1);
  if (rng.Percent(95)) Keep(&task->record->first);  // else nobody ever wanted it
  if (rng.Percent(70)) return core_.actor_owner().Create(task, {}, world_->now());
  // Its name is asked for: others have handles, and use them, before it starts.
  const ObjectId actor = task->record->first.id;
  core_.actor_owner().Announce(task, {"name", ""});
  const auto asks = static_cast<TimeNs>(rng.Below(20)) * kMillisecond;
  Guarded(world_->now() + asks, [this, actor] {
    core_.actor_owner().Begin(actor, world_->now());
    core_.Settle(world_->now());
  });
}

void SimProcess::CallActor() {
  SimArgs& mine = frame_->args;
  Rng& rng = frame_->rng;
  if (mine.budget == 0 || frame_->actors.empty()) return;
  --mine.budget;
  while (methods_.size() < 8) {
    TaskTemplate t;
    t.function_name = "method" + std::to_string(methods_.size());
    t.max_retries = static_cast<int32_t>(rng.Below(3));
    t.ordered = methods_.size() % 2 == 0;
    t.retry_exceptions = rng.Percent(50);
    t.num_returns = rng.Percent(80) ? 1 : static_cast<uint32_t>(rng.Below(3));
    t.concurrency_group = kGroups[rng.Below(std::size(kGroups))];
    methods_.push_back(core_.tasks().Prepare(t));
  }
  Entry* actor = frame_->actors[rng.Below(frame_->actors.size())];
  const bool ordered = std::hash<ObjectId>()(actor->id) % 10 < 7;
  std::shared_ptr<core::Template> method;
  for (uint64_t i = rng.Below(methods_.size()); method == nullptr; ++i) {
    if (methods_[i % methods_.size()]->ordered == ordered) method = methods_[i % methods_.size()];
  }
  SimArgs args;
  args.seed = rng.Next();
  args.call = ++called_[actor->id];
  if (mine.depth_left > 0 && rng.Percent(30)) {
    args.depth_left = mine.depth_left - 1;
    args.budget = static_cast<uint32_t>(rng.Below(std::min<uint64_t>(mine.budget, 6) + 1));
    mine.budget -= args.budget;
  }
  core::Task* task = NewTask(TaskKind::kActorCall, method, args, 50, 2);
  for (uint32_t i = 0; i < task->record->returns; ++i) Keep(core_.objects().ReturnOf(task->record, i));
  core_.actor_calls().Start(task, actor);
}

// Each lives until its one call is done: nobody keeps a handle on it.
void SimProcess::MakeManyActors(uint32_t count) {
  TaskTemplate creation;
  creation.function_name = "Many";
  creation.creates_actor = true;
  creation.strategy = Strategy::kSpread;
  TaskTemplate call;
  call.function_name = "once";
  const auto make = core_.tasks().Prepare(creation), once = core_.tasks().Prepare(call);
  SimArgs args;
  args.leaf = true;
  for (uint32_t i = 0; i < count; ++i) {
    const auto bytes = [&] {
      args.seed = frame_->rng.Next();
      Writer w;
      w(args);
      return Blob::Copy(w.bytes());
    };
    args.call = 0;
    core::Task* actor = core_.tasks().New(TaskKind::kActorCreation, make, bytes(), {}, 0, 0, 0);
    world_->OnSubmit(actor->id(), 0);
    Entry* handle = &actor->record->first;
    handle->handles.fetch_add(1);
    core_.actor_owner().Create(actor, {}, world_->now());
    args.call = 1;
    core::Task* task = core_.tasks().New(TaskKind::kActorCall, once, bytes(), {}, 0, 0, 0);
    world_->OnSubmit(task->id(), 0);
    Keep(core_.objects().ReturnOf(task->record, 0));
    core_.actor_calls().Start(task, handle);
    Release(handle);
  }
}

void SimProcess::KillActor() {
  world_->OnDeath();  // its creator lets go of its arguments before its worker is dead
  const Entry* actor = frame_->actors[frame_->rng.Below(frame_->actors.size())];
  Send(actor->id.owner(), MsgType::kActorKill, ActorKill{actor->id, frame_->rng.Percent(60)});
}

void SimProcess::DropActor() {
  const size_t i = frame_->rng.Below(frame_->actors.size());
  Entry* e = frame_->actors[i];
  frame_->actors[i] = frame_->actors.back();
  frame_->actors.pop_back();
  Release(e);
}

// 10 and 11, as this process sees them.
void SimProcess::CheckCall() {
  world_->OnActorRuns(*this);
  const core::ExecItem& item = *frame_->item;
  if (item.task.kind() == TaskKind::kActorCreation) {
    if (!started_in_turn_.empty()) world_->Fail("an actor is constructed after its first call (11)");
    for (uint32_t& most : most_at_once_) most = static_cast<uint32_t>(1 + frame_->rng.Below(2));
    core_.executor().SetConcurrency(most_at_once_[0],
                                    {{kGroups[1], most_at_once_[1]}, {kGroups[2], most_at_once_[2]}});
    return;
  }
  const auto of_group = std::count_if(parked_.begin(), parked_.end(),
                                      [&](const auto& f) { return f->item->group == item.group; });
  if (of_group >= most_at_once_[item.group])
    world_->Fail("actor in " + ToString(self_) + " runs more calls of a group than it may");
  if (!item.tmpl->ordered) return;
  // It runs again for a lost result, or for an item: those of a generator that failed are wanted, too.
  if (world_->Finished(item.task) || (item.again && item.stream)) return;
  uint32_t& last = started_in_turn_[{item.owner, item.group}];
  // One that raised is run again in its turn; later ones were perhaps here already.
  if (frame_->args.call <= last && !raised_.contains(item.task)) {
    world_->Fail("actor in " + ToString(self_) + " starts call " + std::to_string(frame_->args.call) +
                 " of " + ToString(item.owner) + " after call " + std::to_string(last) + " (11)");
  }
  last = std::max(last, frame_->args.call);
}

// The call goes on while this process takes others, and ends some time later.
void SimProcess::Park() {
  const Frame* parked = frame_.get();
  const auto rest = static_cast<TimeNs>(frame_->rng.Below(20)) * kMillisecond;
  parked_.push_back(std::move(frame_));
  Guarded(world_->now() + rest, [this, parked] {
    const auto it =
        std::find_if(parked_.begin(), parked_.end(), [&](const auto& f) { return f.get() == parked; });
    std::unique_ptr<Frame> running = std::exchange(frame_, std::move(*it));
    parked_.erase(it);
    Answer();
    frame_ = std::move(running);
  });
}

}  // namespace rmpi::sim
