// SPDX-License-Identifier: Apache-2.0
// What a worker does with arguments that are elsewhere.
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
  TaskId PushTask(std::vector<ResolvedArg> args) {
    Push m;
    m.task = {JobId{1}, kOwner, next_task_++};
    m.template_number = 1;
    Writer tmpl;
    tmpl(WireTemplate{});
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

}  // namespace
}  // namespace rmpi::core
