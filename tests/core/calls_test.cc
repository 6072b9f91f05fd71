// SPDX-License-Identifier: Apache-2.0
// Calls of actors as their caller keeps them: the order of retries, and what a worker knows of their options.
#include <gtest/gtest.h>

#include "runtime/worker/core_worker.h"
#include "tests/core/lone_core.h"

namespace rmpi::core {
namespace {

const Address kOwner{1, 5, 0, 1}, kWorker{1, 7, 0, 1};

class CallsTest : public LoneCore {
 protected:
  CallsTest() {
    ObjectId id;
    id.task = {JobId{1}, kOwner, TaskId::Sequence(TaskKind::kActorCreation, 1)};
    actor_ = core_.objects().Borrow(id, nullptr);
    Call({});
    ActorState alive;
    alive.actor = id;
    alive.phase = ActorPhase::kAlive;
    alive.worker = kWorker;
    Tell(kOwner, MsgType::kActorState, alive);
    EXPECT_EQ(out_.Count(MsgType::kPush), 1U);
  }
  std::shared_ptr<Template> Method(const std::string& name) {
    TaskTemplate t;
    t.function_name = name;
    t.max_retries = 3;
    t.retry_exceptions = true;
    return core_.tasks().Prepare(t);
  }
  Task* Call(const std::vector<Entry*>& refs, std::shared_ptr<Template> method = nullptr) {
    for (Entry* e : refs) core_.objects().AddHold(e);
    if (method == nullptr) method = Method("m");
    Task* task = core_.tasks().New(TaskKind::kActorCall, method, Blob::Allocate(8), refs,
                                   static_cast<uint32_t>(refs.size()), 0, 0);
    task->record->first.handles.fetch_add(1);
    core_.actor_calls().Start(task, actor_);
    core_.Settle(now_);
    return task;
  }
  void Answer(const Task* t, bool raised) {
    Result r;
    r.task = t->id();
    r.attempt = t->attempt;
    r.retryable_error = raised;
    r.values.resize(1);
    if (raised) r.values[0].kind = static_cast<uint8_t>(ValueKind::kAppError);
    Tell(kWorker, MsgType::kResult, r);
    core_.Settle(now_);
  }

  Entry* actor_ = nullptr;
};

TEST_F(CallsTest, ARetriedCallGoesBeforeTheCallThatWaitsForItsResult) {
  Task* first = Call({});
  Task* second = Call({});
  Task* last = Call({&first->record->first});
  EXPECT_EQ(last->state, TaskState::kWaitArgs);
  Answer(second, true);
  Answer(first, true);
  EXPECT_EQ(first->attempt, 1U);
  EXPECT_EQ(first->state, TaskState::kPushed);
  EXPECT_EQ(second->state, TaskState::kPushed);
  EXPECT_EQ(last->state, TaskState::kWaitArgs);
  Answer(first, false);
  EXPECT_EQ(last->state, TaskState::kPushed);
}

TEST_F(CallsTest, RetriedCallsWaitInTheirOldOrder) {
  Task* calls[] = {Call({}), Call({}), Call({})};
  Returned leaves;
  leaves.tasks.push_back({calls[2]->id(), 0, false, false});
  leaves.retiring = true;
  Tell(kWorker, MsgType::kReturned, leaves);
  for (const int i : {1, 0}) Answer(calls[i], true);
  const Task* t = core_.actor_calls().queues().begin()->second->waiting.head;
  for (const Task* expected : calls) {
    ASSERT_EQ(t, expected);
    t = t->next;
  }
  EXPECT_EQ(t, nullptr);
}

TEST_F(CallsTest, TheNumberOfATemplateThatNobodyUsesIsGivenToAnother) {
  const auto kept = Method("kept");
  Call({}, kept);
  const uint32_t number = out_.Last<Push>(MsgType::kPush).template_number;
  Call({}, kept);
  EXPECT_TRUE(out_.Last<Push>(MsgType::kPush).template_bytes.empty()) << "sent before";
  uint32_t largest = 0;
  for (int i = 0; i < 100; ++i) {
    Task* t = Call({}, Method("call" + std::to_string(i)));
    const auto push = out_.Last<Push>(MsgType::kPush);
    WireTemplate w;
    Reader reader(push.template_bytes.bytes());
    reader(w);
    EXPECT_EQ(w.function_name, "call" + std::to_string(i));
    EXPECT_NE(push.template_number, number) << "of one that lives";
    largest = std::max(largest, push.template_number);
    Entry* result = &t->record->first;
    Answer(t, false);
    core_.objects().DropHandle(result);
  }
  EXPECT_LT(largest, 10U);
}

}  // namespace
}  // namespace rmpi::core
