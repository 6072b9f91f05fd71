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

TEST_F(ObjectsTest, TheLastCopysEvictionIsTheObjectsLoss) {
  Entry* e = StoredOn({3});
  Evicted(3, e->id, 0);
  ASSERT_EQ(e->state.load(), EntryState::kInline);
  const SystemError error = DecodeSystemError(e->value.bytes());
  EXPECT_EQ(error.type, ErrorType::kObjectLost);
  EXPECT_NE(error.message.find("node 3"), std::string::npos) << error.message;
}

TEST_F(ObjectsTest, AnEvictionOfAnObjectThatIsGoneIsIgnored) {
  Entry* e = StoredOn({3});
  const ObjectId id = e->id;
  core_.objects().DropHandle(e);
  Evicted(3, id, 0);
  EXPECT_EQ(core_.objects().owned_count(), 0U);
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
  EXPECT_EQ(core_.submitter().pending_count(), 1U);  // freed with the core, though nobody answers
}

}  // namespace
}  // namespace rmpi::core
