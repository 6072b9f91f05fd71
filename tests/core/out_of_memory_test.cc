// SPDX-License-Identifier: Apache-2.0
// A task whose worker was ended for want of memory, at its owner: it is tried again for free, and not at
// once.
#include <gtest/gtest.h>

#include "runtime/worker/core_worker.h"
#include "tests/core/lone_core.h"

namespace rmpi::core {
namespace {

const Address kWorker{1, 7, 0, 1};

class OutOfMemoryTest : public LoneCore {
 protected:
  void GrantWorker() {
    Grant grant;
    grant.shape_key = out_.Last<LeaseRequest>(MsgType::kLeaseRequest).shape_key;
    grant.epoch = out_.Last<LeaseRequest>(MsgType::kLeaseRequest).epoch;
    grant.lease = ++lease_;
    grant.worker = kWorker;
    Tell(RayletOf(1), MsgType::kGrant, grant);
  }
  // The worker of attempt `attempt` is ended.
  void WorkerEnds(const TaskId& task, uint32_t attempt) {
    Eof eof;
    eof.who = kWorker;
    eof.claims_known = true;
    eof.claimed = {{task, attempt, false, false}};
    eof.out_of_memory = true;
    Tell(RayletOf(1), MsgType::kEof, eof);
  }
  uint64_t lease_ = 0;
};

TEST_F(OutOfMemoryTest, ItRestsLongerEachTimeAndForFree) {
  Entry* e = Submit({});
  uint32_t attempt = 0;
  for (const TimeNs rest : {1, 2, 4, 8, 16, 32, 60, 60}) {
    GrantWorker();
    ASSERT_EQ(out_.Last<Push>(MsgType::kPush).attempt, attempt);
    EXPECT_EQ(out_.Last<Push>(MsgType::kPush).retries_left, 3);
    WorkerEnds(e->id.task, attempt++);
    EXPECT_TRUE(e->pending());
    const size_t asked = out_.Count(MsgType::kLeaseRequest);
    const TimeNs due = now_ + rest * kSecond;
    EXPECT_LE(core_.NextDeadline(), due);
    now_ = due - 1;
    core_.OnTimer(now_);
    core_.Settle(now_);
    EXPECT_EQ(out_.Count(MsgType::kLeaseRequest), asked);
    now_ = due;
    core_.OnTimer(now_);
    core_.Settle(now_);
    EXPECT_EQ(out_.Count(MsgType::kLeaseRequest), asked + 1);
  }
}

TEST_F(OutOfMemoryTest, OnADrainedNodeItIsNotChargedEitherAndDoesNotRest) {
  Entry* e = Submit({});
  for (uint32_t attempt = 0; attempt < 6; ++attempt) {
    GrantWorker();
    ASSERT_EQ(out_.Last<Push>(MsgType::kPush).attempt, attempt);
    EXPECT_EQ(out_.Last<Push>(MsgType::kPush).retries_left, 3);
    const size_t asked = out_.Count(MsgType::kLeaseRequest);
    Eof eof;
    eof.who = kWorker;
    eof.claimed = {{e->id.task, attempt, false, false}};
    eof.drained = true;
    Tell(RayletOf(1), MsgType::kEof, eof);
    core_.Settle(now_);
    EXPECT_TRUE(e->pending());
    EXPECT_EQ(out_.Count(MsgType::kLeaseRequest), asked + 1);
  }
}

TEST_F(OutOfMemoryTest, ItCanBeCancelledWhileItRests) {
  Entry* e = Submit({});
  GrantWorker();
  WorkerEnds(e->id.task, 0);
  core_.Cancel(e, false, false);
  EXPECT_FALSE(e->pending());
  core_.OnTimer(now_ += 100 * kSecond);
  core_.Settle(now_);
  core_.objects().DropHandle(e);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
}

}  // namespace
}  // namespace rmpi::core
