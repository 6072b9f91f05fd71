// SPDX-License-Identifier: Apache-2.0
// Further drivers, and the actors that outlive them. Only drivers find detached actors by name: nobody waits
// for a driver's results, so no program comes to wait for itself.
#include <algorithm>

#include "tests/sim/process.h"
#include "tests/sim/raylet.h"

namespace rmpi::sim {

using core::Entry;

// ---- drivers ----------------------------------------------------------------------------------------------

void World::StartJob(const Address& driver) {
  JobMessage start;
  start.driver = driver;
  Writer body;
  body(start);
  MessageHeader header;
  header.type = static_cast<uint16_t>(MsgType::kJobStart);
  header.src = RayletOf(driver.node);
  header.dst = GcsAddress();
  RayletAt(kHeadNode)->gcs()->OnMessage(header, body.bytes(), now_);
  RayletAt(kHeadNode)->Poke();
}

void World::ScheduleGuests() {
  for (uint32_t i = 0; i < features_.guests; ++i) {
    After(static_cast<TimeNs>(rng_.Below(1500)) * kMillisecond, [this] {
      if (driver_done_) return;
      auto at = raylets_.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(rng_.Below(raylets_.size())));
      StartJob(at->second->OpenSlot());
    });
  }
}

// The head has given the job of a driver on that node its number.
void World::OnJobStarted(const JobMessage& m) {
  if (m.detached || Any(m.driver) != nullptr) return;
  AddProcess(m.driver, m.job, true)->StartDriver(static_cast<uint32_t>(5 + rng_.Below(60)));
}

// The first one ends the run. Another one's process just ends, with all that it owns.
void World::DriverDone(SimProcess* driver) {
  if (driver->first_driver()) {
    driver_done_ = true;
    return;
  }
  After(static_cast<TimeNs>(rng_.Below(5)) * kMillisecond, [this, who = driver->self()] {
    if (SimProcess* p = Live(who)) p->Die();
  });
}

void World::KillDetached() {
  SimRaylet* head = RayletAt(kHeadNode);
  // Also those whose creators never heard of them.
  head->detached().core().objects().ForEachTask([&](const core::Task* t) {
    head->Send(DetachedOwner(), MsgType::kActorKill, ActorKill{t->record->first.id, true});
  });
  head->Poke();
}

core::Core* World::CoreAt(const Address& a) const {
  if (a == DetachedOwner()) return &RayletAt(kHeadNode)->detached().core();
  SimProcess* p = Live(a);
  return p == nullptr ? nullptr : &p->core();
}

// ---- actors -----------------------------------------------------------------------------------------------

void SimProcess::CreateDetached() {
  SimArgs& mine = frame_->args;
  Rng& rng = frame_->rng;
  if (mine.budget == 0) return;
  --mine.budget;
  AdoptActor m;
  m.nonce = token_;
  m.job = core_.objects().job();
  m.max_restarts = static_cast<int32_t>(rng.Below(3));
  m.depth = frame_->item == nullptr ? 0 : frame_->item->depth + 1;
  TaskTemplate t;
  t.function_name = "Detached";
  t.creates_actor = true;
  t.max_retries = m.max_restarts;
  t.strategy = Strategy::kSpread;
  const auto tmpl = core_.tasks().Prepare(t);
  m.shape = tmpl->shape;
  m.template_bytes = tmpl->wire;
  SimArgs args;
  args.seed = rng.Next();
  std::vector<Entry*> nested;
  if (rng.Percent(50)) SomeIds(2, &adopting_, false);
  for (const Entry* e : adopting_) {
    m.refs.push_back(e->id);
    args.tags.push_back(TagOf(e->id));
  }
  m.top_level = static_cast<uint32_t>(m.refs.size());
  if (rng.Percent(50)) args.nested = SomeIds(2, &nested, true);
  m.refs.insert(m.refs.end(), args.nested.begin(), args.nested.end());
  adopting_.insert(adopting_.end(), nested.begin(), nested.end());
  for (Entry* e : adopting_) core_.objects().AddHold(e);
  Writer w;
  w(args);
  m.args = Blob::Copy(w.bytes());
  main_ = Main::kAdopt;
  Send(DetachedOwner(), MsgType::kAdoptActor, m);
}

void SimProcess::OnReply(MsgType type, Bytes body) {
  if (type == MsgType::kGroupReply) {
    GroupReply reply;
    Reader in(body);
    in(reply);
    return in.Done() && reply.nonce != 0 ? OnGroupReply(reply) : world_->Fail("a group's answer is damaged");
  }
  if (type != MsgType::kAdoptActorReply) return;
  AdoptActorReply m;
  Reader reader(body);
  reader(m);
  if (!reader.Done() || main_ != Main::kAdopt || m.nonce != token_)
    return world_->Fail("process " + ToString(self_) + " got an answer that it does not wait for");
  OnAdopted(m);
}

void SimProcess::OnAdopted(const AdoptActorReply& m) {
  for (Entry* e : adopting_) core_.objects().DropHold(e);
  adopting_.clear();
  if (m.refused.empty()) {
    world_->AddDetached(m.actor);
    Entry* e = core_.objects().Borrow(m.actor, nullptr);
    if (frame_->rng.Percent(80)) Keep(e);
    core_.objects().DropHold(e);
  }
  main_ = Main::kStep;
  Wake(++token_, world_->now() + kMicrosecond);
}

void SimProcess::FindDetached() {
  const auto& all = world_->detached();
  if (all.empty()) return;
  Entry* e = core_.objects().Borrow(all[frame_->rng.Below(all.size())], nullptr);
  Keep(e);
  core_.objects().DropHold(e);
}

}  // namespace rmpi::sim
