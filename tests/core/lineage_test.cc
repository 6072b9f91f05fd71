// SPDX-License-Identifier: Apache-2.0
// What an owner does when an object in a store is lost (PROTOCOL O7): each rule, and each error.
#include <gtest/gtest.h>

#include "runtime/worker/core_worker.h"
#include "tests/core/lone_core.h"

namespace rmpi::core {
namespace {

const Address kWorker2{2, 1, 0, 1};
const Address kWorker3{3, 1, 0, 1};
const Address kStranger{4, 1, 0, 1};

class LineageTest : public LoneCore {
 protected:
  LineageTest() { Retries(3); }
  void Retries(int32_t n, uint32_t returns = 1) {
    TaskTemplate t;
    t.function_name = "f";
    t.resources = {{"CPU", 1.0}};
    t.max_retries = n;
    t.num_returns = returns;
    template_ = core_.tasks().Prepare(t);
  }
  // Grants a lease at `worker` for whatever is asked for.
  void GrantAt(const Address& worker) {
    const auto m = out_.Last<LeaseRequest>(MsgType::kLeaseRequest);
    Tell(RayletOf(worker.node), MsgType::kGrant, Grant{m.shape_key, m.epoch, next_lease_++, worker});
  }
  Push LastPush(Address* to = nullptr) { return out_.Last<Push>(MsgType::kPush, to); }
  static WireValue StoredOn(uint32_t node, uint32_t attempt) {
    WireValue v;
    v.state = ValueState::kStored;
    v.attempt = attempt;
    v.size = 1 << 20;
    v.places = {{node, 0, 4096}};
    return v;
  }
  static WireValue Small() {
    WireValue v;
    v.bytes = Blob::Allocate(8);
    return v;
  }
  // `worker` answers the last push with these values.
  void Answer(const Address& worker, std::vector<WireValue> values) {
    const Push p = LastPush();
    Result r;
    r.task = p.task;
    r.attempt = p.attempt;
    r.values = std::move(values);
    Tell(worker, MsgType::kResult, r);
  }
  // A task of one return, run by kWorker2, whose result lies there.
  Entry* MadeOn2(const std::vector<Entry*>& args = {}) {
    Entry* e = Submit(args);
    GrantAt(kWorker2);
    Answer(kWorker2, {StoredOn(2, LastPush().attempt)});
    return e;
  }
  void Kill(uint32_t node) {
    Join m;
    m.record.node = node;
    m.record.death_reason = "node " + std::to_string(node) + " (host" + std::to_string(node) + ") died";
    Tell(RayletOf(1), MsgType::kNodeDead, m);
  }
  static SystemError ErrorOf(const Entry* e) {
    EXPECT_EQ(e->state.load(), EntryState::kInline);
    return DecodeSystemError(e->value.bytes());
  }
  size_t kept() const { return core_.tasks().lineage().count(); }
  uint64_t next_lease_ = 1;
};

TEST_F(LineageTest, ALostResultIsMadeAgainAndChargedARetry) {
  Entry* e = MadeOn2();
  EXPECT_EQ(kept(), 1U);
  Kill(2);
  EXPECT_TRUE(e->pending()) << "who waits for it goes on waiting";
  GrantAt(kWorker3);
  Address to;
  const Push p = LastPush(&to);
  EXPECT_EQ(to, kWorker3);
  EXPECT_EQ(p.task, e->id.task);
  EXPECT_EQ(p.attempt, 1U);
  EXPECT_EQ(p.retries_left, 2);
  EXPECT_TRUE(p.again);
  Answer(kWorker3, {StoredOn(3, 1)});
  ASSERT_EQ(e->state.load(), EntryState::kStored);
  EXPECT_EQ(e->details->attempt, 1U) << "a new version";
  EXPECT_EQ(e->details->places[0].node, 3U);
}

TEST_F(LineageTest, ACopyBecomesThePrimaryFirst) {
  Entry* e = MadeOn2();
  for (uint32_t node : {3U, 4U}) {
    Tell(RayletOf(node), MsgType::kLocationAdd, ObjectAt{e->id, 0, 1 << 20, {node, 0, 8192}});
  }
  Kill(2);
  EXPECT_EQ(e->state.load(), EntryState::kStored);
  Address to;
  EXPECT_TRUE(out_.Last<LocationCheck>(MsgType::kLocationCheck, &to).keep);
  EXPECT_EQ(to, RayletOf(3));
  Tell(RayletOf(3), MsgType::kLocationChecked, LocationCheck{e->id, 0, false, true});
  EXPECT_TRUE(out_.Last<LocationCheck>(MsgType::kLocationCheck, &to).keep);
  EXPECT_EQ(to, RayletOf(4)) << "it was evicted there: the next one";
  Tell(RayletOf(4), MsgType::kLocationChecked, LocationCheck{e->id, 0, false, true});
  EXPECT_TRUE(e->pending()) << "that was the last: its task runs again";
  EXPECT_EQ(core_.tasks().pending_count(), 1U);
}

TEST_F(LineageTest, SmallResultsKeepNoLineage) {
  Entry* e = Submit({});
  GrantAt(kWorker2);
  Answer(kWorker2, {Small()});
  EXPECT_EQ(kept(), 0U);
  EXPECT_EQ(e->state.load(), EntryState::kInline);
}

TEST_F(LineageTest, LineageGoesWithTheResultItIsKeptFor) {
  Retries(3, 2);
  Entry* first = Submit({});
  Entry* second = core_.objects().Find({first->id.task, 1, 0});
  second->handles.fetch_add(1);
  GrantAt(kWorker2);
  Answer(kWorker2, {StoredOn(2, 0), Small()});
  EXPECT_EQ(kept(), 1U);
  core_.objects().DropHandle(first);
  EXPECT_EQ(kept(), 0U) << "the small result needs none";
  core_.objects().DropHandle(second);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
}

TEST_F(LineageTest, AnArgumentsValueGoesAndComesBack) {
  Entry* a = MadeOn2();
  const ObjectId id = a->id;
  Entry* b = MadeOn2({a});
  core_.objects().DropHandle(a);
  EXPECT_EQ(out_.Last<FreeObject>(MsgType::kFree).id, id) << "its value is of no use";
  EXPECT_EQ(kept(), 2U) << "its lineage is";
  Kill(2);
  GrantAt(kWorker3);
  EXPECT_EQ(LastPush().task, id.task) << "arguments first";
  EXPECT_EQ(core_.tasks().pending_count(), 2U);
  Answer(kWorker3, {StoredOn(3, 1)});
  if (LastPush().task == id.task) GrantAt(kWorker3);
  EXPECT_EQ(LastPush().task, b->id.task);
  Answer(kWorker3, {StoredOn(3, 1)});
  EXPECT_EQ(b->state.load(), EntryState::kStored);
  EXPECT_EQ(out_.Last<FreeObject>(MsgType::kFree).id, id) << "and goes again";
  core_.objects().DropHandle(b);
  EXPECT_EQ(kept(), 0U);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
}

TEST_F(LineageTest, AResultThatIsStillThereKeepsItsVersion) {
  Retries(3, 2);
  Entry* first = Submit({});
  Entry* second = core_.objects().Find({first->id.task, 1, 0});
  second->handles.fetch_add(1);
  GrantAt(kWorker2);
  Answer(kWorker2, {StoredOn(2, 0), StoredOn(2, 0)});
  Tell(RayletOf(3), MsgType::kLocationAdd, ObjectAt{second->id, 0, 1 << 20, {3, 0, 8192}});
  Kill(2);
  EXPECT_TRUE(first->pending());
  EXPECT_EQ(second->state.load(), EntryState::kStored);
  GrantAt(kWorker3);
  Answer(kWorker3, {StoredOn(3, 1), StoredOn(3, 1)});
  EXPECT_EQ(first->details->attempt, 1U);
  EXPECT_EQ(second->details->attempt, 0U);
  const auto freed = out_.Last<FreeObject>(MsgType::kFree);
  EXPECT_EQ(freed.id, second->id);
  EXPECT_EQ(freed.attempt, 1U) << "the second version of it is of no use";
}

TEST_F(LineageTest, APutIsNotMadeAgain) {
  Entry* e = NewPut();
  core_.objects().SetStored(e, 0, 0, 1 << 20, {{2, 0, 4096}});
  Kill(2);
  const SystemError error = ErrorOf(e);
  EXPECT_EQ(error.type, ErrorType::kLostPut);
  EXPECT_NE(error.message.find("host2"), std::string::npos) << "it says what died: " << error.message;
}

TEST_F(LineageTest, WithoutRetriesNothingIsMadeAgain) {
  Retries(0);
  Entry* e = MadeOn2();
  EXPECT_EQ(kept(), 0U);
  Kill(2);
  EXPECT_EQ(ErrorOf(e).type, ErrorType::kLostNoRetries);
  EXPECT_NE(ErrorOf(e).message.find("max_retries"), std::string::npos) << ErrorOf(e).message;
}

TEST_F(LineageTest, RetriesAreSpent) {
  Retries(1);
  Entry* e = MadeOn2();
  Kill(2);
  GrantAt(kWorker3);
  Answer(kWorker3, {StoredOn(3, 1)});
  Kill(3);
  EXPECT_EQ(ErrorOf(e).type, ErrorType::kLostRetriesSpent);
}

TEST_F(LineageTest, WithoutLimitItIsMadeAgainEveryTime) {
  Retries(-1);
  Entry* e = MadeOn2();
  for (uint32_t node = 2; node < 8; ++node) {
    Kill(node);
    ASSERT_TRUE(e->pending());
    const Address worker{node + 1, 1, 0, 1};
    GrantAt(worker);
    Answer(worker, {StoredOn(node + 1, LastPush().attempt)});
    ASSERT_EQ(e->state.load(), EntryState::kStored);
  }
  EXPECT_EQ(e->details->attempt, 6U);
}

TEST_F(LineageTest, TheOldestLineageGoesAtTheCap) {
  Entry* old = MadeOn2();
  const uint64_t one = core_.tasks().lineage().bytes();
  Entry* fresh = MadeOn2();
  core_.tasks().lineage().SetCap(one + one / 2);
  EXPECT_EQ(kept(), 1U);
  Kill(2);
  EXPECT_EQ(ErrorOf(old).type, ErrorType::kLostLineageEvicted);
  EXPECT_NE(ErrorOf(old).message.find("RAY_max_lineage_bytes"), std::string::npos) << ErrorOf(old).message;
  EXPECT_TRUE(fresh->pending());
}

TEST_F(LineageTest, ATaskWhoseArgumentIsLostForGoodFailsWithItsError) {
  Entry* a = NewPut();
  core_.objects().SetStored(a, 0, 0, 1 << 20, {{2, 0, 4096}});
  Entry* b = MadeOn2({a});
  core_.objects().DropHandle(a);
  Kill(2);
  EXPECT_EQ(ErrorOf(b).type, ErrorType::kLostPut);
}

TEST_F(LineageTest, ACancelledTaskIsNotMadeAgain) {
  Entry* e = Submit({});
  GrantAt(kWorker2);
  core_.Cancel(e, false, false);  // comes too late
  Answer(kWorker2, {StoredOn(2, 0)});
  ASSERT_EQ(e->state.load(), EntryState::kStored);
  Kill(2);
  EXPECT_EQ(ErrorOf(e).type, ErrorType::kLostCancelled);
}

TEST_F(LineageTest, ABorrowerWaitsUntilItIsThereAgain) {
  Entry* e = MadeOn2();
  RefMessage m;
  m.id = e->id;
  Tell(kStranger, MsgType::kRegister, m);
  Kill(2);
  const size_t before = out_.Count(MsgType::kLocation);
  m.nonce = 2;  // it missed it there
  Tell(kStranger, MsgType::kLocate, m);
  EXPECT_EQ(out_.Count(MsgType::kLocation), before);
  GrantAt(kWorker3);
  Answer(kWorker3, {StoredOn(3, 1)});
  Address to;
  EXPECT_EQ(out_.Last<Location>(MsgType::kLocation, &to).value.attempt, 1U);
  EXPECT_EQ(to, kStranger);
}

TEST_F(LineageTest, ABorrowersLineageKeepsOursAndAsksForItAgain) {
  Entry* e = MadeOn2();
  const ObjectId id = e->id;
  RefMessage m;
  m.id = id;
  Tell(kStranger, MsgType::kRegister, m);
  core_.objects().DropHandle(e);
  EXPECT_EQ(out_.Count(MsgType::kFree), 0U);
  m.lineage = true;
  Tell(kStranger, MsgType::kUnregister, m);
  EXPECT_EQ(out_.Count(MsgType::kFree), 1U);
  EXPECT_EQ(kept(), 1U);
  m.lineage = false;
  m.nonce = 9;
  Tell(kStranger, MsgType::kRegister, m);
  EXPECT_FALSE(out_.Last<RefMessage>(MsgType::kRegisterReply).gone);
  m.nonce = 0;
  Tell(kStranger, MsgType::kLocate, m);
  EXPECT_EQ(LastPush().task, id.task);
  EXPECT_EQ(LastPush().attempt, 1U);
  Answer(kWorker2, {StoredOn(2, 1)});
  ASSERT_EQ(out_.Count(MsgType::kLocation), 1U);
  EXPECT_EQ(out_.Last<Location>(MsgType::kLocation).value.attempt, 1U);
  Tell(kStranger, MsgType::kUnregister, m);
  EXPECT_EQ(kept(), 0U);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
}

TEST_F(LineageTest, OurLineageParksABorrowedArgument) {
  const ObjectId id{{JobId{1}, kStranger, 7}, 0, 0};
  Entry* a = core_.objects().Borrow(id, nullptr);
  RefMessage m = out_.Last<RefMessage>(MsgType::kRegister);
  Tell(kStranger, MsgType::kRegisterReply, m);
  Location at;
  at.id = id;
  at.value = StoredOn(5, 0);
  Entry* b = Submit({a});
  Tell(kStranger, MsgType::kLocation, at);
  GrantAt(kWorker2);
  Answer(kWorker2, {StoredOn(2, 0)});
  core_.objects().DropHold(a);
  EXPECT_TRUE(out_.Last<RefMessage>(MsgType::kUnregister).lineage);
  const size_t registered = out_.Count(MsgType::kRegister);
  Kill(2);
  EXPECT_EQ(out_.Count(MsgType::kRegister), registered + 1) << "its owner is asked for it again";
  EXPECT_EQ(out_.Last<RefMessage>(MsgType::kLocate).id, id);
  Eof eof;
  eof.who = kStranger;
  eof.cause = "test";
  Tell(RayletOf(1), MsgType::kEof, eof);
  EXPECT_EQ(ErrorOf(b).type, ErrorType::kOwnerDied);
}

TEST_F(LineageTest, ATaskThatComesBackForAMissingArgumentWaitsForIt) {
  Entry* a = MadeOn2();
  Entry* b = Submit({a});
  GrantAt(kWorker3);
  const Push p = LastPush();
  ASSERT_EQ(p.task, b->id.task);
  Returned back;
  back.tasks.push_back({p.task, p.attempt, false, false});
  back.missing = a->id;
  back.missing_on = {2};
  Tell(kWorker3, MsgType::kReturned, back);
  EXPECT_EQ(LastPush().task, p.task);
  const size_t pushes = out_.Count(MsgType::kPush);
  Tell(RayletOf(2), MsgType::kLocationChecked, LocationCheck{a->id, 0, true, false});
  GrantAt(kWorker3);
  EXPECT_GT(out_.Count(MsgType::kPush), pushes) << "node 2 has it after all";
  EXPECT_EQ(LastPush().attempt, 0U) << "free of charge";
}

}  // namespace
}  // namespace rmpi::core
