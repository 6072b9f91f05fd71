// SPDX-License-Identifier: Apache-2.0
// What user code does with generators: it opens streams, reads some of their items, lets go of others in the
// middle. How many items a task gives, and whether the last is an error, its seed says, so that each attempt
// gives the same.
#include <algorithm>

#include "tests/sim/process.h"
#include "tests/sim/raylet.h"

namespace rmpi::sim {
namespace {

constexpr uint64_t kBig = 300 * 1024;

bool LastIsError(uint64_t seed) { return Rng(seed ^ 2).Percent(20); }

}  // namespace

using core::Entry;

uint32_t ItemsOf(uint64_t seed) { return static_cast<uint32_t>(Rng(seed ^ 1).Below(9)); }

// ---- the task ---------------------------------------------------------------------------------------------

void SimProcess::YieldItem() {
  core::ExecItem* item = frame_->item;
  core::StreamRun& run = *item->stream;
  if (!run.wants_next()) {
    ++run.next;
  } else {
    const ObjectId id = ItemId(item->task, run.next);
    if (item->again) world_->OnItemAgain();
    WireValue v;
    std::vector<Entry*> inner;
    if (run.next + 1 == ItemsOf(frame_->args.seed) && LastIsError(frame_->args.seed)) {
      v.kind = static_cast<uint8_t>(ValueKind::kAppError);
    } else {
      v.contained = SomeIds(2, &inner, true);
      for (Entry* e : inner) core_.objects().AddHold(e);
      Blob bytes = EncodeValue(TagOf(id), v.contained);
      if (frame_->rng.Percent(100 - world_->features().stored)) {
        v.bytes = std::move(bytes);
      } else {
        v.state = ValueState::kStored;
        v.attempt = item->attempt;
        v.size = kBig;
        v.places = {world_->RayletAt(self_.node)->Write(id, item->attempt, kBig, std::move(bytes), self_)};
        Send(RayletOf(self_.node), MsgType::kSealed, ObjectAt{id, item->attempt, kBig, v.places[0]});
      }
    }
    core_.executor().Yield(item, std::move(v), std::move(inner));
  }
  if (run.may_go_on()) {
    Wake(++token_, world_->now() + static_cast<TimeNs>(frame_->rng.Below(200)) * kMicrosecond);
    return;
  }
  waiting_.for_reader = true;
  waiting_.read = false;
  StartWait();
}

bool SimProcess::HasItemsLeft() const {
  return frame_->item != nullptr && frame_->item->stream && !interrupted_ &&
         frame_->item->stream->next < ItemsOf(frame_->args.seed);
}

// What a "dynamic" task returns: refs to all its items.
std::vector<ObjectId> SimProcess::ItemRefs(std::vector<Entry*>* entries) {
  std::vector<ObjectId> ids;
  for (uint32_t i = 0; i < frame_->item->stream->next; ++i) {
    ids.push_back(ItemId(frame_->item->task, i));
    entries->push_back(core_.objects().Borrow(ids.back(), nullptr));
  }
  return ids;
}

// ---- the consumer -----------------------------------------------------------------------------------------

void SimProcess::StreamStep() {
  const uint64_t dice = frame_->rng.Below(100);
  if (dice < 30 || frame_->streams.empty()) {
    OpenStream();
  } else if (dice < 90) {
    if (ReadStream(!frame_->args.leaf)) return;  // it waits
  } else {
    CloseStream(frame_->rng.Below(frame_->streams.size()));
  }
  Wake(++token_, world_->now() + static_cast<TimeNs>(1 + frame_->rng.Below(100)) * kMicrosecond);
}

void SimProcess::OpenStream() {
  SimArgs& mine = frame_->args;
  if (mine.budget == 0 || (frame_->item != nullptr && mine.depth_left == 0)) return;
  --mine.budget;
  Rng& rng = frame_->rng;
  TaskTemplate t;
  t.function_name = "stream";
  t.resources = {{"CPU", 1.0}};
  t.max_retries = static_cast<int32_t>(rng.Below(4));
  t.retry_exceptions = rng.Percent(30);
  t.stream = rng.Percent(85) ? StreamKind::kItems : StreamKind::kDynamic;
  if (t.stream == StreamKind::kItems && rng.Percent(40)) t.window = static_cast<uint32_t>(1 + rng.Below(3));
  Entry* actor = nullptr;
  if (!frame_->actors.empty() && rng.Percent(30)) {
    actor = frame_->actors[rng.Below(frame_->actors.size())];
    t.ordered = std::hash<ObjectId>()(actor->id) % 10 < 7;
    t.retry_exceptions = false;
    t.window = 0;  // the actor would wait, and its other callers with it
  }
  SimArgs args;
  args.seed = rng.Next();
  args.fast = rng.Percent(70);
  args.depth_left = frame_->item == nullptr ? mine.depth_left : mine.depth_left - 1;
  if (actor != nullptr) args.call = ++called_[actor->id];
  core::Task* task = NewTask(actor != nullptr ? TaskKind::kActorCall : TaskKind::kNormal,
                             core_.tasks().Prepare(t), args, 30, 1);
  Entry* completion = &task->record->first;
  if (t.stream == StreamKind::kDynamic) {
    Keep(completion);
  } else {
    completion->handles.fetch_add(1);
    frame_->streams.push_back({completion, 0, ItemsOf(args.seed)});
    if (t.window == 0 && rng.Percent(30)) Keep(completion);  // else it may never come, unread
  }
  if (actor != nullptr) {
    core_.actor_calls().Start(task, actor);
  } else {
    core_.submitter().Start(task, world_->now());
  }
}

// Takes the next item of some stream, or finds its end. True: it waits for one.
bool SimProcess::ReadStream(bool may_wait) {
  const size_t i = frame_->rng.Below(frame_->streams.size());
  StreamUse& use = frame_->streams[i];
  const TaskId task = use.completion->id.task;
  core::StreamOwner& streams = core_.streams();
  switch (streams.LookAtNext(task)) {
    case core::StreamOwner::Look::kItem: {
      Entry* e = streams.TakeNext(task);
      if (e->id != ItemId(task, use.read++)) world_->Fail("a stream's items come out of order (T9)");
      if (use.read > use.items) world_->Fail("a stream has more items than its task gave (T9)");
      Keep(e);
      core_.objects().DropHold(e);
      return false;
    }
    case core::StreamOwner::Look::kEnded:
      if (use.completion->pending() && !(use.completion->details && use.completion->details->lost))
        world_->Fail("a stream ended before its task (T9)");
      if (use.completion->kind == static_cast<uint8_t>(ValueKind::kValue) && use.read != use.items) {
        world_->Fail("a stream ended well after " + std::to_string(use.read) + " of " +
                     std::to_string(use.items) + " items (T9)");
      }
      ReadOne(use.completion);
      CloseStream(i);
      return false;
    case core::StreamOwner::Look::kNotYet:
      break;
  }
  if (!may_wait) return false;
  Entry* e = streams.Peek(task, 0);
  core_.objects().AddHold(e);
  waiting_.refs.push_back(e);
  waiting_.num_ready = 1;
  waiting_.read = false;
  waiting_.fetch = frame_->rng.Percent(50);
  // As with other waits: what may come late has a limit.
  const bool in_turn = task.kind() == TaskKind::kActorCall;
  if (!frame_->ending &&
      (frame_->item == nullptr || frame_->item->of_actor() || in_turn || frame_->rng.Percent(30)))
    waiting_.deadline = world_->now() + static_cast<TimeNs>(frame_->rng.Below(200)) * kMillisecond;
  StartWait();
  return true;
}

void SimProcess::CloseStream(size_t i) {
  Entry* completion = frame_->streams[i].completion;
  frame_->streams[i] = frame_->streams.back();
  frame_->streams.pop_back();
  core_.streams().Close(completion->id.task);
  Release(completion);
}

// The driver reads most of its streams to their end. False: none is left.
bool SimProcess::DrainStream() {
  if (frame_->streams.empty()) return false;
  frame_->ending = true;
  if (frame_->rng.Percent(3)) {
    CloseStream(frame_->rng.Below(frame_->streams.size()));
  } else if (ReadStream(true)) {
    return true;
  }
  Wake(++token_, world_->now() + kMicrosecond);
  return true;
}

}  // namespace rmpi::sim
