// SPDX-License-Identifier: Apache-2.0
// What a worker does with arguments that are elsewhere, and with the concurrency groups of its actor.
#include <gtest/gtest.h>

#include "tests/core/lone_core.h"

namespace rmpi::core {
namespace {

const Address kOwner{1, 7, 0, 1};

class ExecutorTest : public LoneCore {
 protected:
  ResolvedArg Stored(uint64_t n) {
    ResolvedArg arg;
    arg.id = {{JobId{1}, kOwner, n}, 0, 0};
    arg.value.state = ValueState::kStored;
    arg.value.size = 1 << 20;
    arg.value.places = {{2, 0, 4096}};
    return arg;
  }
  TaskId PushTask(std::vector<ResolvedArg> args) { return PushCall("", std::move(args), TaskKind::kNormal); }
  TaskId PushCall(const std::string& group, std::vector<ResolvedArg> args = {},
                  TaskKind kind = TaskKind::kActorCall) {
    Push m;
    m.task = {JobId{1}, kOwner, TaskId::Sequence(kind, next_task_++)};
    m.template_number = 1;
    WireTemplate method;
    method.concurrency_group = group;
    Writer tmpl;
    tmpl(method);
    m.template_bytes = Blob::Copy(tmpl.bytes());
    m.resolved = std::move(args);
    Tell(kOwner, MsgType::kPush, m);
    return m.task;
  }
  void Reply(const ResolvedArg& arg, bool failed) {
    PullReply m;
    m.id = arg.id;
    m.failed = failed;
    if (!failed) m.place = {core_.objects().self().node, 0, 8192};
    Tell(RayletOf(1), MsgType::kPullReply, m);
  }
  TaskId Taken(uint32_t group = kAnyGroup) {
    const ExecItem* item = core_.executor().Take(now_, group);
    return item == nullptr ? TaskId{} : item->task;
  }
  size_t Cancels() const {
    size_t n = 0;
    for (const Recorder::Sent& s : out_.sent) {
      if (s.type != MsgType::kPull) continue;
      Pull m;
      Reader reader(s.body.bytes());
      reader(m);
      n += m.cancel;
    }
    return n;
  }
  uint64_t next_task_ = 1000;
};

TEST_F(ExecutorTest, APassingFaultOfOneArgumentAsksForThatOneAgain) {
  const ResolvedArg a = Stored(1), b = Stored(2);
  PushTask({a, b});
  EXPECT_EQ(out_.Count(MsgType::kPull), 2U);
  Reply(a, true);
  EXPECT_EQ(out_.Count(MsgType::kPull), 3U) << "b is still under way";
  Reply(a, false);
  EXPECT_FALSE(core_.executor().has_ready());
  Reply(b, false);
  EXPECT_TRUE(core_.executor().has_ready());
}

TEST_F(ExecutorTest, WhatNobodyWaitsForIsWithdrawnAlsoAfterAFault) {
  const ResolvedArg a = Stored(1), b = Stored(2);
  const TaskId task = PushTask({a, b});
  Reply(a, true);
  Tell(kOwner, MsgType::kCancel, TaskRef{task, 0, false, false});
  EXPECT_EQ(Cancels(), 2U);
  EXPECT_EQ(core_.executor().unclaimed(), 0U);
}

// ---- concurrency groups

TEST_F(ExecutorTest, AFullGroupHoldsUpNoOther) {
  core_.executor().SetConcurrency(1, {{"io", 2}});
  const TaskId plain = PushCall(""), waits = PushCall("");
  const TaskId io[] = {PushCall("io"), PushCall("io"), PushCall("io")};
  ExecItem* first = core_.executor().Take(now_);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->task, plain);
  EXPECT_EQ(Taken(), io[0]);
  ExecItem* second = core_.executor().Take(now_);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->task, io[1]);
  EXPECT_EQ(Taken(), TaskId{}) << "both groups are full";
  core_.executor().Finish(second, {}, {}, false, now_);
  EXPECT_FALSE(core_.executor().has_ready(0));
  EXPECT_EQ(Taken(1), io[2]);
  EXPECT_EQ(core_.executor().unclaimed(), 1U);
  core_.executor().Finish(first, {}, {}, false, now_);
  EXPECT_EQ(Taken(0), waits);
}

TEST_F(ExecutorTest, WhatArrivedFirstIsTakenFirstAcrossGroups) {
  core_.executor().SetConcurrency(5, {{"a", 5}, {"b", 5}});
  std::vector<TaskId> pushed;
  for (const char* group : {"b", "", "a", "b", "a", ""}) pushed.push_back(PushCall(group));
  for (const TaskId& task : pushed) EXPECT_EQ(Taken(), task);
}

TEST_F(ExecutorTest, WhatGoesBackKeepsItsOrderAcrossGroups) {
  core_.executor().SetConcurrency(1, {{"a", 1}, {"b", 1}});
  std::vector<TaskId> pushed;
  for (const char* group : {"b", "", "a", "b", "a", ""}) pushed.push_back(PushCall(group));
  core_.executor().Retire();
  const auto back = out_.Last<Returned>(MsgType::kReturned);
  ASSERT_EQ(back.tasks.size(), pushed.size());
  for (size_t i = 0; i < pushed.size(); ++i) EXPECT_EQ(back.tasks[i].task, pushed[i]);
}

TEST_F(ExecutorTest, AnEvictedArgumentKeepsTheTurnOfItsCallerInAllGroups) {
  core_.executor().SetConcurrency(1, {{"a", 1}});
  const ResolvedArg arg = Stored(1);
  const TaskId first = PushCall("", {arg}), second = PushCall("a");
  Reply(arg, false);
  host_.unpinnable = first;
  EXPECT_EQ(Taken(), TaskId{}) << "both wait for the argument of the first";
  Reply(arg, false);
  EXPECT_EQ(Taken(), first);
  EXPECT_EQ(Taken(), second);
}

TEST_F(ExecutorTest, ACallOfAnUnknownGroupIsAnsweredWithAnError) {
  core_.executor().SetConcurrency(1, {{"io", 1}});
  const TaskId task = PushCall("oi");
  EXPECT_EQ(core_.executor().unclaimed(), 0U);
  const auto answer = out_.Last<Result>(MsgType::kResult);
  EXPECT_EQ(answer.task, task);
  ASSERT_EQ(answer.values.size(), 1U);
  EXPECT_EQ(answer.values[0].kind, static_cast<uint8_t>(ValueKind::kSystemError));
}

}  // namespace
}  // namespace rmpi::core
