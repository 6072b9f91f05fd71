// SPDX-License-Identifier: Apache-2.0
// What user code does: a random program per task, made from the seed in its arguments. References only lead
// to what existed before, so that no program waits for itself.
#include <algorithm>

#include "tests/sim/process.h"
#include "tests/sim/raylet.h"

namespace rmpi::sim {
namespace {

constexpr uint64_t kBig = 300 * 1024;
constexpr uint8_t kTagged = static_cast<uint8_t>(ValueKind::kValue);

}  // namespace

Blob EncodeValue(uint64_t tag, const std::vector<ObjectId>& contained) {
  SimValue v;
  v.tag = tag;
  v.contained = contained;
  Writer w;
  w(v);
  return Blob::Copy(w.bytes());
}

using core::Entry;
using core::EntryState;

uint64_t TagOf(const ObjectId& id) { return std::hash<ObjectId>()(id) | 1; }

// ---- references -------------------------------------------------------------------------------------------

void SimProcess::Keep(Entry* e) {
  e->handles.fetch_add(1);
  (e->id.task.kind() == TaskKind::kActorCreation ? frame_->actors : frame_->refs).push_back(e);
}

void SimProcess::Release(Entry* e) { core_.objects().DropHandle(e); }

Entry* SimProcess::AnyRef() {
  if (frame_->refs.empty()) return nullptr;
  if (world_->features().jitter && frame_->rng.Percent(50)) {  // of another owner: long chains of uses
    const auto it =
        std::find_if(frame_->refs.rbegin(), frame_->refs.rend(), [](const Entry* e) { return !e->owned; });
    if (it != frame_->refs.rend()) return *it;
  }
  return frame_->refs[frame_->rng.Below(frame_->refs.size())];
}

std::vector<ObjectId> SimProcess::SomeIds(size_t most, std::vector<Entry*>* entries, bool actors) {
  std::vector<ObjectId> ids;
  for (uint64_t n = frame_->rng.Below(most + 1); n-- > 0;) {
    const bool handle = actors && !frame_->actors.empty() && frame_->rng.Percent(30);
    Entry* e = handle ? frame_->actors[frame_->rng.Below(frame_->actors.size())] : AnyRef();
    if (e == nullptr) break;
    ids.push_back(e->id);
    entries->push_back(e);
  }
  return ids;
}

// The refs inside a value that was read become refs of this program, protected by the outer one (R3).
void SimProcess::Learn(Bytes bytes, uint64_t tag, const ObjectId& id, Entry* outer) {
  SimValue v;
  Reader in(bytes);
  in(v);
  if (!in.Done() || v.tag != tag) {
    world_->Fail("process " + ToString(self_) + " read another value than that of object " + Hex(id) +
                 " (6)");
    return;
  }
  for (const ObjectId& inner : v.contained) {
    Entry* e = core_.objects().Borrow(inner, outer);
    if (e == nullptr) {
      if (world_->deaths() == 0) world_->Fail("a contained ref of ours, " + Hex(inner) + ", is gone (3)");
      continue;
    }
    Keep(e);
    core_.objects().DropHold(e);
  }
}

// ---- tasks ------------------------------------------------------------------------------------------------

void SimProcess::StartDriver(uint32_t budget) {
  frame_ = std::make_unique<Frame>();
  frame_->rng = Rng(world_->rng().Next());
  frame_->args.budget = budget;
  frame_->args.depth_left = 4;
  frame_->steps = static_cast<int>(budget) * 4;
  main_ = Main::kStep;
  Wake(++token_, world_->now() + kMillisecond);
}

void SimProcess::StartTask(core::ExecItem* item) {
  if (item->local.empty()) PinArgs(*item);  // all inline
  frame_ = std::make_unique<Frame>();
  frame_->item = item;
  Reader in(item->args.bytes());
  in(frame_->args);
  if (!in.Done()) world_->Fail("a task's arguments are damaged");
  frame_->rng = Rng(frame_->args.seed + 1000 * item->attempt);
  frame_->steps =
      frame_->args.leaf || frame_->args.depth_left == 0 ? 1 : static_cast<int>(1 + frame_->rng.Below(6));
  interrupted_ = false;
  if (item->tmpl->language != language_) world_->Fail("a task runs in a worker of another language");
  CheckOwnDevices();
  if (item->of_actor()) CheckCall();
  for (size_t i = 0; i < arg_values_.size(); ++i) {
    const auto& [id, bytes] = arg_values_[i];
    Learn(bytes.bytes(), i < frame_->args.tags.size() ? frame_->args.tags[i] : TagOf(id), id, nullptr);
  }
  arg_values_.clear();
  for (const ObjectId& id : frame_->args.nested) {
    Entry* e = core_.objects().Borrow(id, nullptr);
    if (e == nullptr) {
      if (world_->deaths() == 0) world_->Fail("a nested ref of ours, " + Hex(id) + ", is gone (3)");
      continue;
    }
    Keep(e);
    core_.objects().DropHold(e);
  }
  ++calls_;
  if (item->tmpl->max_calls != 0 && calls_ >= item->tmpl->max_calls) retire_ = true;
  main_ = Main::kStep;
  TimeNs run = frame_->args.fast ? static_cast<TimeNs>(frame_->rng.Below(300)) * kMicrosecond
                                 : static_cast<TimeNs>(frame_->rng.Below(50)) * kMillisecond;
  if (frame_->args.fast && frame_->rng.Percent(3)) run = 30 * kMillisecond;
  Wake(++token_, world_->now() + run);
}

// What the raylet wrote for this lease is what the task asks for, and what every task of this process had.
void SimProcess::CheckOwnDevices() {
  const SimRaylet::Assigned* assigned = world_->RayletAt(self_.node)->AssignedTo(self_);
  const bool mine = assigned != nullptr && assigned->lease == frame_->item->lease;
  const sched::Devices devices = mine ? assigned->devices : sched::Devices{};
  const int64_t want = sched::AmountOf(frame_->item->tmpl->resources, "GPU");
  const auto wanted = static_cast<size_t>((want + sched::kResourceUnit - 1) / sched::kResourceUnit);
  const std::string who = "process " + ToString(self_) + " runs a task ";
  if (devices.size() != wanted) {
    world_->Fail(who + "for " + std::to_string(wanted) + " devices with " + std::to_string(devices.size()) +
                 " (17)");
  }
  if (devices_ && *devices_ != devices) world_->Fail(who + "with other devices than the one before (17)");
  devices_ = devices;
  world_->CheckDevices(self_.node);
}

void SimProcess::AddDeviceUse(std::map<uint32_t, int64_t>* use) const {
  if (!alive_ || frame_ == nullptr || frame_->item == nullptr || !devices_) return;
  const int64_t want = sched::AmountOf(frame_->item->tmpl->resources, "GPU");
  for (uint32_t d : *devices_) (*use)[d] += std::min(want, sched::kResourceUnit);
}

void SimProcess::Step() {
  if (frame_->item == nullptr && world_->features().many_actors != 0 && frame_->steps > 0) {
    MakeManyActors(world_->features().many_actors);
    frame_->steps = 0;
  }
  if (frame_->item != nullptr && interrupted_ && frame_->rng.Percent(90)) return FinishTask();
  if (HasItemsLeft() && (frame_->steps <= 0 || frame_->rng.Percent(40))) return YieldItem();
  if (frame_->steps-- <= 0) {
    if (frame_->item == nullptr) return EndDriver();
    return FinishTask();
  }
  if (world_->features().groups && driver_ && frame_->rng.Percent(25)) {
    GroupStep();
    Wake(++token_, world_->now() + static_cast<TimeNs>(1 + frame_->rng.Below(100)) * kMicrosecond);
    return;
  }
  if (world_->features().streams && frame_->rng.Percent(world_->features().stream_steps)) return StreamStep();
  if (world_->features().actors && frame_->rng.Percent(25)) {
    ActorStep();
    if (main_ == Main::kAdopt) return;
    Wake(++token_, world_->now() + static_cast<TimeNs>(1 + frame_->rng.Below(100)) * kMicrosecond);
    return;
  }
  const bool can_wait = !frame_->args.leaf;
  const uint64_t dice = frame_->rng.Below(100);
  if (dice < 45) {
    SubmitTask();
  } else if (dice < 55) {
    PutValue();
  } else if (dice < 72 && can_wait && !frame_->refs.empty()) {
    const uint64_t n = 1 + frame_->rng.Below(3);
    for (uint64_t i = 0; i < n; ++i) {
      Entry* e = AnyRef();
      core_.objects().AddHold(e);
      waiting_.refs.push_back(e);
    }
    waiting_.num_ready = n;
    if (frame_->rng.Percent(30)) {  // ray.wait
      waiting_.num_ready = 1;
      waiting_.read = false;
      waiting_.fetch = frame_->rng.Percent(50);
    }
    // A get of what may never come, or come late, has a time limit, in the driver. So has one of a call:
    // others stand before it, and one of them may wait for the very task that waits here.
    const bool of_call = std::any_of(waiting_.refs.begin(), waiting_.refs.end(), [](const Entry* e) {
      return e->id.task.kind() == TaskKind::kActorCall;
    });
    if (frame_->item == nullptr || frame_->item->of_actor() || of_call || frame_->rng.Percent(30)) {
      waiting_.deadline = world_->now() + static_cast<TimeNs>(frame_->rng.Below(200)) * kMillisecond;
      waiting_.read = false;
    }
    return StartWait();
  } else if (dice < 86) {
    DropSome();
  } else if (dice < 92 && world_->features().cancels) {
    CancelOne();
  } else if (Entry* e = AnyRef(); e != nullptr && dice >= 96) {
    e->handles.fetch_add(1);
    kept_.push_back(e);
  }
  const TimeNs pause = frame_->rng.Percent(10)
                           ? static_cast<TimeNs>(frame_->rng.Below(20)) * kMillisecond
                           : static_cast<TimeNs>(1 + frame_->rng.Below(100)) * kMicrosecond;
  Wake(++token_, world_->now() + pause);
}

namespace {

// What the first node, which never dies, has: alone, or when the others have not.
std::vector<LabelRules> SomeLabels(Rng& rng) {
  const LabelRules even{{"parity", LabelOp::kIn, {"even"}}}, odd{{"parity", LabelOp::kNotIn, {"even", "x"}}};
  const LabelRules ranked{{"rank", LabelOp::kExists, {}}, {"rank", LabelOp::kNotIn, {"1"}}};
  const LabelRules first{{sched::kNodeIdLabel, LabelOp::kIn, {NodeHex(kSimRun, kHeadNode)}},
                         {"rank", LabelOp::kDoesNotExist, {}}};
  const std::vector<LabelRules> some[] = {{odd}, {even, {}}, {ranked, even, odd}, {first}};
  return some[rng.Below(4)];
}

}  // namespace

std::shared_ptr<core::Template> SimProcess::PickTemplate(bool* leaf, bool* fast, bool* hopeless) {
  if (templates_.size() < 40) {
    TaskTemplate t;
    Rng& rng = frame_->rng;
    const uint32_t gpus = *std::max_element(world_->features().gpus.begin(), world_->features().gpus.end());
    const uint64_t kind = rng.Below(gpus != 0 ? 17 : 14);
    t.function_name = "f" + std::to_string(kind);
    t.max_retries = static_cast<int32_t>(rng.Below(4));
    t.retry_exceptions = rng.Percent(50);
    t.num_returns = rng.Percent(80) ? 1 : static_cast<uint32_t>(rng.Below(4));
    t.resources = {{"CPU", 1.0}};
    const auto most = *std::max_element(world_->features().cpus.begin(), world_->features().cpus.end());
    const auto node = static_cast<uint32_t>(1 + rng.Below(world_->features().nodes));
    if (rng.Percent(15)) t.language = kCppLanguage;
    if (kind < 6 && rng.Percent(30)) t.labels = SomeLabels(rng);
    if (kind == 7 && rng.Percent(30)) t.labels = SomeLabels(rng);
    if (kind == 6) t.resources = {{"CPU", static_cast<double>(std::min(2U, most))}};
    if (kind == 7) t.strategy = Strategy::kSpread;
    if (kind == 8) t.strategy = Strategy::kNodeAffinity, t.affinity_node = node;
    if (kind == 9) t.strategy = Strategy::kNodeAffinity, t.affinity_node = node + 1, t.affinity_soft = true;
    if (kind == 10) t.resources = {};
    if (kind == 11) t.resources = {{"CPU", 1.0}, {"disk", 1.0}};
    if (kind == 12) t.max_calls = static_cast<uint32_t>(1 + rng.Below(3));
    if (kind == 13) t.resources = {{"CPU", 1000.0}};
    if (kind >= 14) {  // part of a GPU, or whole ones
      const double amounts[] = {
          0.2, 0.5, 0.7, 1, std::min(2.0, static_cast<double>(gpus)), static_cast<double>(gpus)};
      t.resources = {{"CPU", kind == 14 ? 0.0 : 1.0}, {"GPU", amounts[rng.Below(6)]}};
      t.max_calls = rng.Percent(50) ? 1 : 0;
    }
    if (kind >= 13 || kind == 11 || kind == 6)
      t.num_returns = std::max(1U, t.num_returns);  // it can be cancelled
    t.name = kind == 11 || kind >= 14 ? "leaf" : kind == 13 ? "hopeless" : rng.Percent(60) ? "fast" : "slow";
    // What needs a node that may die or leave becomes hopeless with it.
    if ((kind == 11 || kind == 6 || kind >= 14) && world_->features().nodes_go()) t.name = "hopeless";
    templates_.push_back(core_.tasks().Prepare(t));
    templates_.back()->function_name = t.name;
  }
  const auto& chosen = templates_[frame_->rng.Below(templates_.size())];
  if (chosen->function_name == "hopeless" && frame_->item != nullptr)
    return nullptr;  // only the driver cancels them
  *leaf = chosen->function_name == "leaf";
  *fast = chosen->function_name == "fast";
  *hopeless = chosen->function_name == "hopeless";
  return chosen;
}

// A task of this program with arguments of chance: with `percent`, up to `most` values, and refs inside.
core::Task* SimProcess::NewTask(TaskKind kind, const std::shared_ptr<core::Template>& tmpl, SimArgs args,
                                uint64_t percent, size_t most) {
  std::vector<Entry*> refs, nested;
  if (frame_->rng.Percent(percent)) SomeIds(most, &refs, false);
  if (frame_->rng.Percent(50)) args.nested = SomeIds(2, &nested, true);
  const auto top_level = static_cast<uint32_t>(refs.size());
  refs.insert(refs.end(), nested.begin(), nested.end());
  for (Entry* e : refs) core_.objects().AddHold(e);
  Writer w;
  w(args);
  const core::ExecItem* current = frame_->item;
  core::Task* task = core_.tasks().New(kind, tmpl, Blob::Copy(w.bytes()), std::move(refs), top_level,
                                       current == nullptr ? 0 : current->depth + 1,
                                       current == nullptr ? 0 : current->serial);
  world_->OnSubmit(task->id(), tmpl->max_retries);
  return task;
}

void SimProcess::SubmitTask() {
  SimArgs& mine = frame_->args;
  if (mine.budget == 0 || (frame_->item != nullptr && mine.depth_left == 0)) return;
  bool hopeless = false;
  SimArgs args;
  const auto tmpl = PickTemplate(&args.leaf, &args.fast, &hopeless);
  if (tmpl == nullptr) return;
  --mine.budget;
  args.seed = frame_->rng.Next();
  args.depth_left = frame_->item == nullptr ? mine.depth_left : mine.depth_left - 1;
  if (!args.leaf && args.depth_left > 0 && frame_->rng.Percent(40)) {
    args.budget = static_cast<uint32_t>(frame_->rng.Below(std::min<uint64_t>(mine.budget, 12) + 1));
    mine.budget -= args.budget;
  }
  core::Task* task = NewTask(TaskKind::kNormal, tmpl, args, 50, 2);
  core::Record* record = task->record;
  for (uint32_t i = 0; i < record->returns; ++i) {
    Entry* e = core_.objects().ReturnOf(record, i);
    // A hopeless one is kept apart: nobody may wait for it without end.
    e->handles.fetch_add(1);
    (hopeless ? frame_->hopeless : frame_->refs).push_back(e);
  }
  core_.submitter().Start(task, world_->now());
}

void SimProcess::PutValue() {
  auto& objects = core_.objects();
  std::vector<Entry*> contained;
  const std::vector<ObjectId> ids = SomeIds(2, &contained, true);
  core::Record* record = objects.NewRecord(TaskKind::kPut, 1);
  Entry* e = objects.ReturnOf(record, 0);
  for (Entry* inner : contained) {
    objects.AddHold(inner);
    e->more().contained.push_back(inner);
  }
  Blob bytes = EncodeValue(TagOf(e->id), ids);
  if (frame_->rng.Percent(60)) {
    objects.SetInline(e, kTagged, std::move(bytes));
  } else {
    const Place at = world_->RayletAt(self_.node)->Write(e->id, 0, kBig, std::move(bytes), self_);
    Send(RayletOf(self_.node), MsgType::kSealed, ObjectAt{e->id, 0, kBig, at});
    objects.SetStored(e, kTagged, 0, kBig, {at});
  }
  Keep(e);
  objects.DropHold(e);
}

bool SimProcess::ReadOne(Entry* e) {
  const EntryState state = e->state.load();
  if (state == EntryState::kPending) return false;
  if (state == EntryState::kInline) {
    if (e->kind != kTagged) {
      world_->OnError(self_, e->id, e->kind, e->value.bytes());
    } else {
      Learn(e->value.bytes(), TagOf(e->id), e->id, e);
    }
    return true;
  }
  core::Details& d = *e->details;
  const Place place = core_.objects().PlaceHere(*e);
  if (place.node == 0) return false;
  if (const Stored* s = world_->RayletAt(self_.node)->Find(e->id, d.attempt)) {
    Learn(s->bytes.bytes(), TagOf(e->id), e->id, e);
    return true;
  }
  if (d.fetch == core::Fetch::kLocal) {
    d.fetch = core::Fetch::kNone;
  } else {
    core_.objects().MissedOn(e, self_.node);
  }
  return false;
}

bool SimProcess::ReadValues() {
  if (world_->now() >= waiting_.deadline) return true;
  return std::all_of(waiting_.refs.begin(), waiting_.refs.end(), [&](Entry* e) { return ReadOne(e); });
}

void SimProcess::DropSome() {
  for (uint64_t n = 1 + frame_->rng.Below(3); n-- > 0 && !frame_->refs.empty();) {
    const size_t i = frame_->rng.Below(frame_->refs.size());
    Entry* e = frame_->refs[i];
    frame_->refs[i] = frame_->refs.back();
    frame_->refs.pop_back();
    Release(e);
  }
}

void SimProcess::Forget(const std::vector<Entry*>& read) {
  for (Entry* e : read) {
    const auto it = std::find(frame_->refs.begin(), frame_->refs.end(), e);
    if (it == frame_->refs.end()) continue;
    frame_->refs.erase(it);
    Release(e);
  }
}

void SimProcess::CancelOne() {
  Entry* e = AnyRef();
  if (e == nullptr) return;
  const bool force = frame_->rng.Percent(30);
  if (force) world_->OnDeath();
  core_.Cancel(e, force, frame_->rng.Percent(50));
}

void SimProcess::DropKept() {
  Guarded(world_->now(), [this] {
    for (Entry* e : kept_) Release(e);
    kept_.clear();
  });
}

// ---- ends -------------------------------------------------------------------------------------------------

void SimProcess::FinishTask() {
  if (frame_->item->task.kind() == TaskKind::kActorCall && frame_->rng.Percent(30)) {
    Park();
  } else {
    Answer();
  }
  main_ = Main::kIdle;
  ++token_;
  if (retire_) core_.executor().Retire();
}

// The result of the frame's task, and its end.
void SimProcess::Answer() {
  core::ExecItem* item = frame_->item;
  std::vector<WireValue> values;
  std::vector<Entry*> contained;
  bool retryable = false;
  if (interrupted_) {
    values.resize(1);
    values[0].kind = static_cast<uint8_t>(ValueKind::kSystemError);
    values[0].bytes =
        core::EncodeSystemError(static_cast<uint8_t>(ErrorType::kTaskCancelled), "cancelled", "");
  } else if (frame_->rng.Percent(8)) {
    values.resize(1);
    values[0].kind = static_cast<uint8_t>(ValueKind::kAppError);
    retryable = item->tmpl->retry_exceptions;
    if (retryable) raised_.insert(item->task);
  } else {
    world_->OnFinished(item->task);
    values.resize(item->tmpl->num_returns);
    for (uint32_t i = 0; i < values.size(); ++i) {
      WireValue& v = values[i];
      const ObjectId id{item->task, i, 0};
      std::vector<Entry*> inner;
      if (item->tmpl->stream == StreamKind::kDynamic) {
        v.contained = ItemRefs(&contained);
      } else {
        v.contained = SomeIds(2, &inner, true);
      }
      for (Entry* e : inner) {
        core_.objects().AddHold(e);
        contained.push_back(e);
      }
      Blob bytes = EncodeValue(TagOf(id), v.contained);
      const bool small = frame_->rng.Percent(100 - world_->features().stored);
      if (small || item->task.kind() == TaskKind::kActorCreation) {
        v.bytes = std::move(bytes);
        continue;
      }
      v.state = ValueState::kStored;
      v.attempt = item->attempt;
      v.size = kBig;
      v.places = {world_->RayletAt(self_.node)->Write(id, item->attempt, kBig, std::move(bytes), self_)};
      Send(RayletOf(self_.node), MsgType::kSealed, ObjectAt{id, item->attempt, kBig, v.places[0]});
    }
  }
  const bool exits = item->task.kind() == TaskKind::kActorCall && frame_->rng.Percent(2);
  core_.executor().Finish(item, std::move(values), std::move(contained), retryable, world_->now());
  if (exits) core_.executor().ExitActor();
  interrupted_ = false;
  while (!frame_->streams.empty()) CloseStream(0);
  const std::unique_ptr<Frame> over = std::move(frame_);
  for (Entry* e : over->refs) Release(e);
  for (Entry* e : over->actors) Release(e);
}

// Everything the driver still holds is got; what can never run is cancelled first.
void SimProcess::EndDriver() {
  RemoveAllGroups();
  if (!frame_->drained && DrainStream()) return;
  if (!frame_->drained) {
    frame_->drained = true;
    for (Entry* e : frame_->hopeless) core_.Cancel(e, false, false);
    for (Entry* e : frame_->hopeless) Release(e);
    frame_->hopeless.clear();
    for (Entry* e : frame_->refs) {
      core_.objects().AddHold(e);
      waiting_.refs.push_back(e);
    }
    waiting_.num_ready = waiting_.refs.size();
    return StartWait();
  }
  for (Entry* e : frame_->refs) Release(e);
  for (Entry* e : frame_->actors) Release(e);
  frame_->refs.clear();
  frame_->actors.clear();
  main_ = Main::kOver;
  world_->DriverDone(this);
}

}  // namespace rmpi::sim
