// SPDX-License-Identifier: Apache-2.0
// An actor between the making of its creation task and its start: the head is asked for its name, and who
// finds it there asks for it at once.
#include <gtest/gtest.h>

#include "tests/core/lone_core.h"

namespace rmpi::core {
namespace {

const Address kFinder{1, 9, 0, 1}, kActorWorker{1, 7, 0, 1};

class Actors : public LoneCore {
 protected:
  // With the handle that its creator has.
  Task* Announce(int32_t max_restarts = 0) {
    TaskTemplate t;
    t.function_name = "A";
    t.creates_actor = true;
    t.max_retries = max_restarts;
    Task* creation =
        core_.tasks().New(TaskKind::kActorCreation, core_.tasks().Prepare(t), Blob(), {}, 0, 0, 0);
    creation->record->first.handles.fetch_add(1);
    core_.actor_owner().Announce(creation, {"x", "ns"});
    return creation;
  }
  void Begin(const ObjectId& actor) {
    core_.actor_owner().Begin(actor, now_);
    core_.Settle(now_);
  }
  void Locate(const ObjectId& actor) {
    ActorLocate m;
    m.actor = actor;
    Tell(kFinder, MsgType::kActorLocate, m);
  }
  void Kill(const ObjectId& actor, bool no_restart) {
    Tell(kFinder, MsgType::kActorKill, ActorKill{actor, no_restart});
  }
  void GrantWorker() {
    const auto asked = out_.Last<LeaseRequest>(MsgType::kLeaseRequest);
    Grant g;
    g.shape_key = asked.shape_key;
    g.epoch = asked.epoch;
    g.lease = 1;
    g.worker = kActorWorker;
    Tell(RayletOf(1), MsgType::kGrant, g);
  }
  void WorkerDies(const Task* creation) {
    Eof eof;
    eof.who = kActorWorker;
    eof.claims_known = false;
    eof.cause = "it crashed";
    EXPECT_EQ(creation->state, TaskState::kPushed);
    Tell(RayletOf(1), MsgType::kEof, eof);
  }
  std::string LastWords() {
    const auto state = out_.Last<ActorState>(MsgType::kActorState);
    EXPECT_EQ(state.phase, ActorPhase::kDead);
    return DecodeSystemError(state.error.bytes()).message;
  }
  // Its handle goes, and nothing is left.
  void LetGo(const ObjectId& actor) {
    core_.objects().DropHandle(core_.objects().Find(actor));
    core_.Settle(now_);
    EXPECT_EQ(core_.objects().owned_count(), 0U);
    EXPECT_EQ(core_.actor_owner().count(), 0U);
    EXPECT_EQ(core_.tasks().pending_count(), 0U);
  }
};

TEST_F(Actors, WhoLocatesItBeforeItStartsIsToldWhenItIsThere) {
  Task* creation = Announce();
  const ObjectId actor = creation->record->first.id;
  Locate(actor);
  EXPECT_EQ(out_.Count(MsgType::kActorState), 0U) << "it is neither alive nor dead";
  Begin(actor);
  GrantWorker();
  Result r;
  r.task = actor.task;
  Tell(kActorWorker, MsgType::kResult, r);
  ASSERT_EQ(out_.Count(MsgType::kActorState), 1U);
  const auto state = out_.Last<ActorState>(MsgType::kActorState);
  EXPECT_EQ(state.phase, ActorPhase::kAlive);
  EXPECT_EQ(state.worker, kActorWorker);
  LetGo(actor);
}

TEST_F(Actors, KilledBeforeItStartsItNeverDoes) {
  const ObjectId actor = Announce(-1)->record->first.id;
  Locate(actor);
  Kill(actor, true);
  EXPECT_NE(LastWords().find("killed by `ray.kill`"), std::string::npos);
  EXPECT_EQ(out_.Last<ActorName>(MsgType::kActorName).op, ActorNameOp::kRemove);
  Begin(actor);
  EXPECT_EQ(out_.Count(MsgType::kLeaseRequest), 0U);
  LetGo(actor);
}

// Also of a registration whose answer did not come: the head may have the name.
TEST_F(Actors, WithoutItsNameItIsDeadAndTheNameIsGivenBack) {
  const ObjectId actor = Announce()->record->first.id;
  Locate(actor);
  core_.actor_owner().Abandon(actor, "Too late.");
  EXPECT_NE(LastWords().find("Too late."), std::string::npos);
  const auto remove = out_.Last<ActorName>(MsgType::kActorName);
  EXPECT_EQ(remove.op, ActorNameOp::kRemove);
  EXPECT_EQ(remove.name, "x");
  EXPECT_EQ(remove.ray_namespace, "ns");
  EXPECT_EQ(remove.actor, actor);
  LetGo(actor);
}

TEST_F(Actors, KillWithRestartBeforeItRunsTakesOneRestart) {
  Task* creation = Announce(1);
  const ObjectId actor = creation->record->first.id;
  Locate(actor);
  Kill(actor, false);
  EXPECT_EQ(creation->retries_left, 1) << "nothing was there to kill";
  Begin(actor);
  Kill(actor, false);
  EXPECT_EQ(out_.Last<ActorState>(MsgType::kActorState).phase, ActorPhase::kRestarting);
  EXPECT_EQ(creation->retries_left, 0);
  GrantWorker();
  WorkerDies(creation);
  EXPECT_NE(LastWords().find("it crashed"), std::string::npos) << "that was not ray.kill: " << LastWords();
  LetGo(actor);
}

TEST_F(Actors, KillWithRestartEndsWhatMayNotRestart) {
  const ObjectId actor = Announce(0)->record->first.id;
  Locate(actor);
  Begin(actor);
  Kill(actor, false);
  EXPECT_NE(LastWords().find("killed by `ray.kill`"), std::string::npos);
  LetGo(actor);
}

}  // namespace
}  // namespace rmpi::core
