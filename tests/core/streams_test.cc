// SPDX-License-Identifier: Apache-2.0
// A stream at its owner, told by a worker what it gave; and one at the worker.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "runtime/worker/core_worker.h"
#include "tests/core/lone_core.h"

namespace rmpi::core {
namespace {

using Look = StreamOwner::Look;
const Address kWorker{1, 7, 0, 1};

class StreamOwnerTest : public LoneCore {
 protected:
  // Submits a call and grants it a worker.
  void Open(StreamKind kind = StreamKind::kItems, uint32_t window = 0, int32_t retries = 1) {
    TaskTemplate t;
    t.function_name = "f";
    t.stream = kind;
    t.window = window;
    t.max_retries = retries;
    t.retry_exceptions = true;
    Task* task = core_.tasks().New(TaskKind::kNormal, core_.tasks().Prepare(t), Blob(), {}, 0, 0, 0);
    id_ = task->id();
    completion_ = &task->record->first;
    completion_->handles.fetch_add(1);
    core_.submitter().Start(task, now_);
    core_.Settle(now_);
    GrantWorker();
  }
  void GrantWorker() {
    Grant grant;
    grant.shape_key = out_.Last<LeaseRequest>(MsgType::kLeaseRequest).shape_key;
    grant.lease = ++lease_;
    grant.worker = worker_;
    Tell(RayletOf(1), MsgType::kGrant, grant);
  }
  void Give(uint32_t item, uint32_t attempt = 0, const std::string& text = "v",
            std::vector<ObjectId> contained = {}) {
    Item m;
    m.task = id_;
    m.attempt = attempt;
    m.item = item;
    m.value.bytes = Blob::Copy(Bytes(reinterpret_cast<const std::byte*>(text.data()), text.size()));
    m.value.contained = std::move(contained);
    Tell(worker_, MsgType::kItem, m);
  }
  void GiveStored(uint32_t item, uint32_t attempt = 0) {
    Item m;
    m.task = id_;
    m.attempt = attempt;
    m.item = item;
    m.value.state = ValueState::kStored;
    m.value.attempt = attempt;
    m.value.size = 1 << 20;
    m.value.places = {{2, 0, 4096}};
    Tell(worker_, MsgType::kItem, m);
  }
  void End(uint32_t items, uint32_t attempt = 0, ValueKind kind = ValueKind::kValue, bool retry = false) {
    Result m;
    m.task = id_;
    m.attempt = attempt;
    m.items = items;
    m.retryable_error = retry;
    m.values.resize(1);
    m.values[0].kind = static_cast<uint8_t>(kind);
    Tell(worker_, MsgType::kResult, m);
  }
  void WorkerDies() {
    Eof eof;
    eof.who = kWorker;
    eof.claimed = {{id_, 0, false, false}};
    Tell(RayletOf(1), MsgType::kEof, eof);
  }
  Look Next() const { return const_cast<StreamOwnerTest*>(this)->core_.streams().LookAtNext(id_); }
  // The next item's text, which it lets go of.
  std::string Read() {
    EXPECT_EQ(Next(), Look::kItem);
    if (Next() != Look::kItem) return "";
    Entry* e = core_.streams().TakeNext(id_);
    std::string text(reinterpret_cast<const char*>(e->value.data()), e->value.size());
    core_.objects().DropHold(e);
    return text;
  }
  ErrorType ErrorOf(const Entry* e) const {
    return e->kind == static_cast<uint8_t>(ValueKind::kSystemError) ? DecodeSystemError(e->value.bytes()).type
                                                                    : ErrorType::kNone;
  }
  void ExpectNothingLeft() {
    core_.streams().Close(id_);
    core_.objects().DropHandle(completion_);
    EXPECT_EQ(core_.streams().count(), 0U);
    EXPECT_EQ(core_.objects().owned_count(), 0U);
  }

  // Two of three items are lost with the task's node; it runs again. The first lost one, which was read.
  Entry* LoseItems() {
    worker_ = {2, 7, 0, 1};
    Open();
    Give(0);
    GiveStored(1);
    GiveStored(2);
    Read();
    Entry* read = core_.streams().TakeNext(id_);
    NodeDies(2);
    EXPECT_TRUE(read->pending());
    EXPECT_EQ(Next(), Look::kNotYet);
    worker_ = kWorker;
    GrantWorker();
    EXPECT_EQ(out_.Last<Push>(MsgType::kPush).items_known, 1U);
    return read;
  }

  // Both of two items are stored on node 2, and read; the task is done.
  std::pair<Entry*, Entry*> ReadStoredStream() {
    worker_ = {2, 7, 0, 1};
    Open(StreamKind::kItems, 1, 2);
    GiveStored(0);
    GiveStored(1);
    End(2);
    Entry* first = core_.streams().TakeNext(id_);
    return {first, core_.streams().TakeNext(id_)};
  }
  void NodeDies(uint32_t node) {
    Join dead;
    dead.record.node = node;
    Tell(GcsAddress(), MsgType::kNodeDead, dead);
  }

  Address worker_ = kWorker;
  TaskId id_;
  Entry* completion_ = nullptr;
  uint64_t lease_ = 0;
};

TEST_F(StreamOwnerTest, ItemsAreThereBeforeTheTaskEnds) {
  Open();
  EXPECT_EQ(Next(), Look::kNotYet);
  Give(0, 0, "a");
  EXPECT_EQ(Read(), "a");
  Give(1, 0, "b");
  Give(2, 0, "c");
  End(3);
  EXPECT_EQ(Read(), "b");
  EXPECT_EQ(Read(), "c");
  EXPECT_EQ(Next(), Look::kEnded);
  EXPECT_FALSE(completion_->pending());
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, WhoWaitsForItemsThatDoNotComeLearnsIt) {
  Open();
  Entry* first = core_.streams().Peek(id_, 0);
  Entry* second = core_.streams().Peek(id_, 1);
  Give(0);
  EXPECT_FALSE(first->pending());
  EXPECT_TRUE(second->pending());
  End(1);
  EXPECT_EQ(ErrorOf(second), ErrorType::kEndOfStream);
  EXPECT_EQ(ErrorOf(core_.streams().Peek(id_, 5)), ErrorType::kEndOfStream);
  Read();
  EXPECT_EQ(Next(), Look::kEnded);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, ARetryGoesOnWhereTheOwnerIs) {
  Open();
  Give(0, 0, "first");
  Give(1, 0, "first");
  EXPECT_EQ(Read(), "first");
  WorkerDies();
  GrantWorker();
  const Push push = out_.Last<Push>(MsgType::kPush);
  EXPECT_EQ(push.attempt, 1U);
  EXPECT_EQ(push.items_known, 2U);
  EXPECT_EQ(push.items_read, 1U);
  Give(0, 1, "again");  // needless: what was delivered stays
  Give(1, 1, "again");
  Give(2, 1, "new");
  End(3, 1);
  EXPECT_EQ(Read(), "first");
  EXPECT_EQ(Read(), "new");
  EXPECT_EQ(Next(), Look::kEnded);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, ARetryThatGivesFewerEndsWhereTheOwnerIs) {
  Open();
  for (uint32_t i = 0; i < 3; ++i) Give(i);
  End(3, 0, ValueKind::kAppError, true);  // and is retried
  GrantWorker();
  End(1, 1);
  for (uint32_t i = 0; i < 3; ++i) Read();
  EXPECT_EQ(Next(), Look::kEnded);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, ItemsOfADoneTaskComeAgain) {
  const auto [first, second] = ReadStoredStream();
  core_.streams().Close(id_);
  core_.objects().DropHold(first);
  NodeDies(2);
  EXPECT_TRUE(second->pending());
  worker_ = kWorker;
  GrantWorker();
  const Push push = out_.Last<Push>(MsgType::kPush);
  EXPECT_TRUE(push.again);
  EXPECT_EQ(push.items_known, 1U);
  EXPECT_GT(push.items_read, 1000U);  // no window holds it up
  GiveStored(1, 1);
  End(2, 1);
  EXPECT_FALSE(second->pending());
  EXPECT_EQ(core_.tasks().lineage().count(), 1U);
  core_.objects().DropHold(second);
  EXPECT_EQ(core_.tasks().lineage().count(), 0U);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, WhatIsLostBehindARunNeedsOneMore) {
  const auto [first, second] = ReadStoredStream();
  LocationDelete gone;
  gone.versions = {{second->id, 0}};
  Tell(RayletOf(2), MsgType::kLocationDelete, gone);
  GrantWorker();
  EXPECT_EQ(out_.Last<Push>(MsgType::kPush).items_known, 1U);
  gone.versions = {{first->id, 0}};
  Tell(RayletOf(2), MsgType::kLocationDelete, gone);
  GiveStored(1, 1);
  End(2, 1);
  EXPECT_FALSE(second->pending());
  EXPECT_TRUE(first->pending());
  GrantWorker();
  EXPECT_EQ(out_.Last<Push>(MsgType::kPush).items_known, 0U);
  GiveStored(0, 2);
  GiveStored(1, 2);  // that one is there
  End(2, 2);
  EXPECT_FALSE(first->pending());
  EXPECT_EQ(second->details->attempt, 1U);
  EXPECT_EQ(Next(), Look::kEnded);
  for (Entry* e : {first, second}) core_.objects().DropHold(e);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, ARunForLostItemsThatFailsLeavesTheEnd) {
  const auto [first, second] = ReadStoredStream();
  NodeDies(2);
  worker_ = kWorker;
  GrantWorker();
  GiveStored(0, 1);
  End(1, 1);
  EXPECT_FALSE(first->pending());
  EXPECT_EQ(ErrorOf(second), ErrorType::kStreamInconsistent);
  EXPECT_EQ(Next(), Look::kEnded);
  EXPECT_EQ(ErrorOf(core_.streams().Peek(id_, 0)), ErrorType::kEndOfStream);
  for (Entry* e : {first, second}) core_.objects().DropHold(e);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, AFailedTaskEndsBehindItsLastItem) {
  Open(StreamKind::kItems, 0, 0);
  Give(0);
  Entry* second = core_.streams().Peek(id_, 1);
  core_.objects().AddHold(second);
  WorkerDies();
  EXPECT_EQ(ErrorOf(second), ErrorType::kWorkerCrashed);
  EXPECT_EQ(ErrorOf(completion_), ErrorType::kWorkerCrashed);
  Read();
  EXPECT_EQ(Next(), Look::kEnded);
  core_.objects().DropHold(second);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, ItemsThatDiedWithTheTasksNodeComeAgain) {
  Entry* read = LoseItems();
  Give(1, 1, "again");
  Give(2, 1, "again");
  End(3, 1);
  EXPECT_EQ(ErrorOf(read), ErrorType::kNone);
  core_.objects().DropHold(read);
  EXPECT_EQ(Read(), "again");
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, ItemsThatDoNotComeAgainFail) {
  Entry* read = LoseItems();
  core_.streams().Close(id_);
  End(1, 1);
  EXPECT_EQ(ErrorOf(read), ErrorType::kStreamInconsistent);
  core_.objects().DropHold(read);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, WhatADeadWorkerStoredAndDidNotAnnounceIsFreed) {
  Open();
  GiveStored(0);
  GiveStored(1);
  WorkerDies();
  Address to;
  const auto m = out_.Last<ItemRef>(MsgType::kFreeItems, &to);
  EXPECT_EQ(to, RayletOf(1));
  EXPECT_EQ(m.attempt, 0U);
  EXPECT_EQ(m.item, 2U);
}

TEST_F(StreamOwnerTest, ItemsFromAFormerAttemptOrOutOfTurnAreDropped) {
  Open();
  const ObjectId inner{{JobId{1}, Address{3, 1, 0, 1}, 5}, 0, 0};
  Give(4, 0, "a gap", {inner});
  EXPECT_EQ(out_.Last<ItemRef>(MsgType::kItemAck).item, 4U) << "its producer need not hold what is inside";
  EXPECT_EQ(core_.objects().borrowed_count(), 0U);
  GiveStored(0, 7);
  EXPECT_EQ(out_.Last<FreeObject>(MsgType::kFree).id, ItemId(id_, 0));
  EXPECT_EQ(Next(), Look::kNotYet);
}

TEST_F(StreamOwnerTest, TheProducerHoldsWhatAnItemContainsUntilWeAreRegistered) {
  Open();
  const ObjectId inner{{JobId{1}, Address{3, 1, 0, 1}, 5}, 0, 0};
  Give(0, 0, "v", {inner});
  EXPECT_EQ(out_.Count(MsgType::kItemAck), 0U);
  RefMessage reply = out_.Last<RefMessage>(MsgType::kRegister);
  Tell(inner.owner(), MsgType::kRegisterReply, reply);
  Address to;
  EXPECT_EQ(out_.Last<ItemRef>(MsgType::kItemAck, &to).item, 0U);
  EXPECT_EQ(to, kWorker);
}

TEST_F(StreamOwnerTest, TheProducerOfAWindowedStreamLearnsHowFarItsReaderIs) {
  Open(StreamKind::kItems, 2);
  Give(0);
  Give(1);
  Read();
  EXPECT_EQ(out_.Last<ItemRef>(MsgType::kStreamRead).item, 1U);
  Read();
  EXPECT_EQ(out_.Last<ItemRef>(MsgType::kStreamRead).item, 2U);
}

TEST_F(StreamOwnerTest, AClosedStreamKeepsWhatWasReadAndDropsTheRest) {
  Open();
  Give(0);
  GiveStored(1);
  Entry* read = core_.streams().TakeNext(id_);
  Entry* waited_for = core_.streams().Peek(id_, 1);
  core_.objects().AddHold(waited_for);
  core_.streams().Close(id_);
  EXPECT_EQ(out_.Last<ItemRef>(MsgType::kStreamRead).item, kNoItems);
  EXPECT_EQ(out_.Last<FreeObject>(MsgType::kFree).id, ItemId(id_, 1));
  EXPECT_EQ(ErrorOf(waited_for), ErrorType::kEndOfStream) << "it would wait for ever";
  EXPECT_EQ(read->value.size(), 1U);
  GiveStored(2);
  EXPECT_EQ(out_.Last<FreeObject>(MsgType::kFree).id, ItemId(id_, 2));
  End(3);
  core_.objects().DropHold(read);
  core_.objects().DropHold(waited_for);
  ExpectNothingLeft();
}

TEST_F(StreamOwnerTest, TheReturnOfADynamicTaskKeepsItsItems) {
  Open(StreamKind::kDynamic);
  Give(0);
  Give(1);
  Result m;
  m.task = id_;
  m.items = 2;
  m.values.resize(1);
  m.values[0].contained = {ItemId(id_, 0), ItemId(id_, 1)};
  Tell(kWorker, MsgType::kResult, m);
  EXPECT_EQ(core_.streams().count(), 0U);
  EXPECT_NE(core_.objects().Find(ItemId(id_, 1)), nullptr);
  core_.objects().DropHandle(completion_);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
}

// ---- the worker -------------------------------------------------------------------------------------------

const Address kOwner{1, 9, 0, 1};

class StreamRunTest : public LoneCore {
 protected:
  ExecItem* Start(uint32_t window, uint32_t known = 0, uint32_t read = 0) {
    Push m;
    m.task = {JobId{1}, kOwner, 1000};
    m.template_number = 1;
    m.items_known = known;
    m.items_read = read;
    WireTemplate tmpl;
    tmpl.stream = StreamKind::kItems;
    tmpl.window = window;
    Writer bytes;
    bytes(tmpl);
    m.template_bytes = Blob::Copy(bytes.bytes());
    Tell(kOwner, MsgType::kPush, m);
    return core_.executor().Take(now_);
  }
  void ReaderIsAt(uint32_t item) {
    Tell(kOwner, MsgType::kStreamRead, ItemRef{{JobId{1}, kOwner, 1000}, 0, item});
  }
};

TEST_F(StreamRunTest, NoMoreThanAWindowIsUnread) {
  ExecItem* item = Start(2);
  core_.executor().Yield(item, {}, {});
  EXPECT_TRUE(item->stream->may_go_on());
  core_.executor().Yield(item, {}, {});
  EXPECT_FALSE(item->stream->may_go_on());
  int told = 0;
  item->stream->waiting.emplace_back([&] { ++told; });
  ReaderIsAt(1);
  EXPECT_TRUE(item->stream->may_go_on());
  for (auto& fn : core_.objects().TakeCallbacks()) fn();
  EXPECT_EQ(told, 1);
}

TEST_F(StreamRunTest, ItGoesOnWithoutAReader) {
  ExecItem* item = Start(1);
  core_.executor().Yield(item, {}, {});
  EXPECT_FALSE(item->stream->may_go_on());
  ReaderIsAt(kNoItems);
  EXPECT_TRUE(item->stream->may_go_on());
  EXPECT_FALSE(item->stream->wants_next());
}

TEST_F(StreamRunTest, TheEndOfItsOwnerEndsTheWait) {
  ExecItem* item = Start(1);
  core_.executor().Yield(item, {}, {});
  Eof eof;
  eof.who = kOwner;
  Tell(RayletOf(1), MsgType::kEof, eof);
  EXPECT_TRUE(item->stream->may_go_on());
  EXPECT_TRUE(item->stream->orphaned);
}

TEST_F(StreamRunTest, WhatTheOwnerHasIsNotSentAgain) {
  ExecItem* item = Start(1, 2, 2);
  EXPECT_FALSE(item->stream->wants_next());
  item->stream->next = 2;
  EXPECT_TRUE(item->stream->wants_next());
  core_.executor().Yield(item, {}, {});
  EXPECT_EQ(out_.Last<Item>(MsgType::kItem).item, 2U);
  EXPECT_FALSE(item->stream->may_go_on()) << "the count of what was read is of the whole stream";
}

TEST_F(StreamRunTest, RefsInsideAnItemAreHeldUntilItIsAcknowledged) {
  ExecItem* item = Start(0);
  Entry* inner = NewPut();
  core_.objects().AddHold(inner);
  core_.objects().DropHandle(inner);
  core_.executor().Yield(item, {}, {inner});
  EXPECT_EQ(core_.executor().unsettled(), 1U);
  Tell(kOwner, MsgType::kItemAck, ItemRef{{JobId{1}, kOwner, 1000}, 0, 0});
  EXPECT_EQ(core_.executor().unsettled(), 0U);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
}

}  // namespace
}  // namespace rmpi::core
