// SPDX-License-Identifier: Apache-2.0
// The memory that a queued task costs its owner.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdio>

#include "runtime/core/core.h"
#include "tests/core/null_host.h"

namespace rmpi::core {
namespace {

class NullOutbox : public Outbox {
 public:
  void Post(const Address&, MsgType, Bytes) override { ++messages; }
  size_t messages = 0;
};

size_t HeapBytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

class MemoryTest : public testing::Test {
 protected:
  MemoryTest() : core_(&outbox_, &host_) {
    core_.SetIdentity({1, 1, 0, 1}, JobId{1});
    TaskTemplate t;
    t.function_name = "f";
    t.resources = {{"CPU", 1.0}};
    template_ = core_.tasks().Prepare(t);
  }
  Entry* SubmitOne() {
    Task* task = core_.tasks().New(TaskKind::kNormal, template_, Blob::Allocate(16), {}, 0, 0, 0);
    Record* record = task->record;
    Entry* e = core_.objects().ReturnOf(record, 0);
    e->handles.fetch_add(1);
    core_.submitter().Start(task, 0);
    return e;
  }

  NullOutbox outbox_;
  NullHost host_;
  Core core_;
  std::shared_ptr<Template> template_;
};

TEST_F(MemoryTest, AMillionQueuedTasks) {
  constexpr size_t kTasks = 1'000'000;
  std::vector<Entry*> refs;
  refs.reserve(kTasks);
  SubmitOne();
  const size_t before = HeapBytes();
  for (size_t i = 0; i < kTasks; ++i) refs.push_back(SubmitOne());
  const size_t per_task = (HeapBytes() - before) / kTasks;
  std::printf("%zu bytes per queued task: entry %zu, record %zu, task %zu\n", per_task, sizeof(Entry),
              sizeof(Record), sizeof(Task));
  EXPECT_LE(per_task, 300U);
  // A burst of submissions is not a burst of messages.
  EXPECT_LE(outbox_.messages, 25U);
  for (Entry* e : refs) core_.Cancel(e, false, false);
  core_.Settle(0);
  for (Entry* e : refs) core_.objects().DropHandle(e);
  EXPECT_EQ(core_.tasks().pending_count(), 1U);
  EXPECT_LE(HeapBytes(), before + kTasks) << "less than a byte per task is left";
}

// One call after the other, as `get(f.remote())` in a loop: pages of the object table must not stay behind.
TEST_F(MemoryTest, ALoopOfPutsKeepsNothing) {
  auto& objects = core_.objects();
  const auto put = [&] {
    Record* record = objects.NewRecord(TaskKind::kPut, 1);
    Entry* e = objects.ReturnOf(record, 0);
    objects.SetInline(e, 0, Blob::Allocate(64));
    objects.DropHold(e);
  };
  for (int i = 0; i < 1000; ++i) put();
  const size_t before = HeapBytes();
  for (int i = 0; i < 100'000; ++i) put();
  EXPECT_EQ(objects.owned_count(), 0U);
  EXPECT_LE(HeapBytes(), before + 100'000);
}

}  // namespace
}  // namespace rmpi::core
