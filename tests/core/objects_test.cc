// SPDX-License-Identifier: Apache-2.0
// What an owner knows about the places of its objects, and the largest call that it sends.
#include <gtest/gtest.h>

#include "runtime/worker/core_worker.h"
#include "tests/core/lone_core.h"

namespace rmpi::core {
namespace {

class ObjectsTest : public LoneCore {
 protected:
  Entry* StoredOn(std::vector<uint32_t> nodes, uint32_t attempt = 0) {
    Entry* e = NewPut();
    std::vector<Place> places;
    for (uint32_t node : nodes) places.push_back({node, 0, 4096});
    core_.objects().SetStored(e, 0, attempt, 1 << 20, places);
    return e;
  }
  void Evicted(uint32_t node, const ObjectId& id, uint32_t attempt) {
    LocationDelete m;
    m.versions.emplace_back(id, attempt);
    Tell(RayletOf(node), MsgType::kLocationDelete, m);
  }
};

TEST_F(ObjectsTest, AnOwnerForgetsAnEvictedCopy) {
  Entry* e = StoredOn({2, 3}, 4);
  Evicted(3, e->id, 3);
  EXPECT_EQ(e->details->places.size(), 2U) << "of another version";
  Evicted(3, e->id, 4);
  ASSERT_EQ(e->details->places.size(), 1U);
  EXPECT_EQ(e->details->places[0].node, 2U);
  Evicted(3, e->id, 4);
  EXPECT_EQ(e->details->places.size(), 1U);
}

TEST_F(ObjectsTest, TheLastCopysEvictionIsThePutsLoss) {
  Entry* e = StoredOn({3});
  Evicted(3, e->id, 0);
  ASSERT_EQ(e->state.load(), EntryState::kInline);
  const SystemError error = DecodeSystemError(e->value.bytes());
  EXPECT_EQ(error.type, ErrorType::kLostPut);
  EXPECT_NE(error.message.find("node 3"), std::string::npos) << error.message;
}

TEST_F(ObjectsTest, AnEvictionOfAnObjectThatIsGoneIsIgnored) {
  Entry* e = StoredOn({3});
  const ObjectId id = e->id;
  core_.objects().DropHandle(e);
  Evicted(3, id, 0);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
}

TEST_F(ObjectsTest, AMissedPlaceStaysUntilItsRayletHasAnswered) {
  Entry* e = StoredOn({2, 3});
  const Address asker{4, 1, 0, 1};
  RefMessage miss;
  miss.id = e->id;
  miss.nonce = 3;
  Tell(asker, MsgType::kLocate, miss);
  Tell({4, 2, 0, 1}, MsgType::kLocate, miss);
  core_.objects().MissedOn(e, 3);
  Address to;
  EXPECT_EQ(out_.Last<LocationCheck>(MsgType::kLocationCheck, &to).id, e->id);
  EXPECT_EQ(to, RayletOf(3));
  EXPECT_EQ(out_.Count(MsgType::kLocationCheck), 1U) << "one question for all";
  EXPECT_EQ(out_.Count(MsgType::kLocation), 0U);
  // A copy came there after the miss: it must be freed with the object.
  ObjectAt fresh{e->id, 0, 1 << 20, {3, 0, 8192}};
  Tell(RayletOf(3), MsgType::kLocationAdd, fresh);
  Tell(RayletOf(3), MsgType::kLocationChecked, LocationCheck{e->id, 0, true, false});
  EXPECT_EQ(out_.Count(MsgType::kLocation), 2U);
  EXPECT_EQ(out_.Last<Location>(MsgType::kLocation).value.places.size(), 2U);
  core_.objects().DropHandle(e);
  EXPECT_EQ(out_.Count(MsgType::kFree), 2U);
}

TEST_F(ObjectsTest, AMissedPlaceGoesWhenItsRayletDoesNotHaveItOrIsDead) {
  for (const bool dead : {false, true}) {
    Entry* e = StoredOn({2, 3});
    RefMessage miss;
    miss.id = e->id;
    miss.nonce = 3;
    Tell({4, 1, 0, 1}, MsgType::kLocate, miss);
    const size_t before = out_.Count(MsgType::kLocation);
    if (dead) {
      core_.objects().OnNodeDead(3, "test", false);
    } else {
      Tell(RayletOf(3), MsgType::kLocationChecked, LocationCheck{e->id, 0, false, false});
    }
    ASSERT_EQ(out_.Count(MsgType::kLocation), before + 1);
    const std::vector<Place> places = out_.Last<Location>(MsgType::kLocation).value.places;
    ASSERT_EQ(places.size(), 1U);
    EXPECT_EQ(places[0].node, 2U);
    Tell({4, 1, 0, 1}, MsgType::kLocate, miss);
    EXPECT_EQ(out_.Count(MsgType::kLocation), before + 2) << "known: answered at once";
  }
}

TEST_F(ObjectsTest, WhoWaitsForAnAnswerHearsOfTheObjectsEnd) {
  Entry* e = StoredOn({3});
  RefMessage miss;
  miss.id = e->id;
  miss.nonce = 3;
  Tell({4, 1, 0, 1}, MsgType::kLocate, miss);
  core_.objects().DropHandle(e);
  EXPECT_EQ(out_.Last<Location>(MsgType::kLocation).value.state, ValueState::kGone);
}

// Its answer could come after the borrower has registered again, for an object that it can have.
TEST_F(ObjectsTest, WhoHasParkedAnObjectIsNotToldOfItsEnd) {
  Entry* e = StoredOn({3});
  const Address asker{4, 1, 0, 1};
  RefMessage m;
  m.id = e->id;
  m.nonce = 1;
  Tell(asker, MsgType::kRegister, m);
  core_.objects().DropHandle(e);
  m.nonce = 3;
  Tell(asker, MsgType::kLocate, m);
  EXPECT_EQ(out_.Count(MsgType::kLocationCheck), 1U);
  m.nonce = 0;
  m.lineage = true;
  Tell(asker, MsgType::kUnregister, m);
  EXPECT_EQ(out_.Count(MsgType::kFree), 1U);
  EXPECT_EQ(out_.Count(MsgType::kLocation), 0U);
}

TEST_F(ObjectsTest, ACallWithMoreSmallArgumentsThanAMessageHoldsIsRefused) {
  const Blob value = Blob::Allocate(100 << 10);
  std::vector<Entry*> refs;
  for (int i = 0; i < 1400; ++i) {
    refs.push_back(NewPut());
    core_.objects().SetInline(refs.back(), 0, value);
  }
  Entry* refused = Submit(refs);
  ASSERT_EQ(refused->state.load(), EntryState::kInline);
  const SystemError error = DecodeSystemError(refused->value.bytes());
  EXPECT_EQ(error.type, ErrorType::kTaskUnschedulable);
  EXPECT_NE(error.message.find("ray.put"), std::string::npos) << error.message;
  refs.resize(1000);
  EXPECT_TRUE(Submit(refs)->pending());
  EXPECT_EQ(core_.tasks().pending_count(), 1U);  // freed with the core, though nobody answers
}

}  // namespace
}  // namespace rmpi::core
