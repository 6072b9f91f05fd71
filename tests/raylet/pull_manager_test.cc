// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/pull_manager.h"

#include <gtest/gtest.h>

#include "runtime/raylet/served_objects.h"
#include "tests/gcs/recorder.h"
#include "tests/objstore/store_fixture.h"

namespace rmpi {
namespace {

using objstore::kNode;
using objstore::MakeId;

const Address kReader{kNode, 3, 0, 1};
const Address kOtherReader{kNode, 4, 0, 1};
constexpr uint64_t kSize = 1 << 20;

class PullManagerTest : public objstore::StoreTest, public PullManager::Host {
 protected:
  void SetUp() override {
    Start(16 << 20);
    pulls_ = std::make_unique<PullManager>(kNode, store_.get(), &out_, this);
  }
  Pull Wants(uint64_t n, std::vector<uint32_t> nodes, uint64_t size = kSize) {
    Pull m;
    m.id = MakeId(n);
    m.size = size;
    for (uint32_t node : nodes) m.places.push_back({node, 0, 4096});
    return m;
  }
  PinRequest LastPin(uint32_t* node = nullptr) {
    Address to;
    const auto pin = out_.Last<PinRequest>(MsgType::kPin, &to);
    if (node != nullptr) *node = to.node;
    return pin;
  }
  void Pinned(bool gone = false) {
    rmpi::Pinned m;
    uint32_t node = 0;
    m.request = LastPin().request;
    m.turn = LastPin(&node).turn;
    m.gone = gone;
    m.offset = 4096;
    m.size = kSize;
    pulls_->OnPinned(RayletOf(node), m, now_);
  }
  size_t Replies() const { return out_.Count(MsgType::kPullReply); }
  PullReply Reply() { return out_.Last<PullReply>(MsgType::kPullReply); }

  void Fetch(uint64_t request, uint32_t, const ObjectId&, uint32_t, uint64_t, uint64_t, uint64_t bytes,
             bool) override {
    fetches_.push_back(request);
    last_bytes_ = bytes;
  }
  void CancelFetch(uint64_t request) override { cancelled_.push_back(request); }
  void Coming(const objstore::Version& version, const objstore::Locator& at, bool open) override {
    served_.Coming(version, at, open);
  }
  void Came(const objstore::Version& version) override { served_.Came(version); }
  uint64_t ArrivedBytes(const objstore::Version&) const override { return arrived_; }
  bool Reachable(uint32_t node) const override { return node != unreachable_; }
  void Serving(const objstore::Store::Entry&, bool serving) override { serving_ += serving ? 1 : -1; }
  void WantRoom() override { ++wants_room_; }
  bool OnDisk(const ObjectId& id, uint32_t) const override { return on_disk_ == id; }
  uint64_t DiskSize(const ObjectId&, uint32_t) const override { return kSize; }
  std::vector<objstore::spill::SpillManager::Ahead> ReadAhead(const objstore::Version&) override {
    return std::exchange(ahead_, {});
  }
  void Restore(const std::vector<objstore::spill::RestoreItem>& items) override {
    for (const auto& item : items) {
      restores_.push_back(item.request);
      std::memset(arena_->data(item.arena_offset), 'r', kSize);
    }
  }
  bool LeftFiles(uint32_t node) const override { return node == left_; }
  void RestoreLeft(uint32_t node, const objstore::spill::RestoreItem& item, uint64_t size) override {
    EXPECT_EQ(node, left_);
    EXPECT_EQ(size, kSize);
    restores_.push_back(item.request);
    std::memset(arena_->data(item.arena_offset), 'l', size);
  }
  TimeNs RoomProgress() const override { return room_progress_; }
  std::string StoreFullText(uint64_t) const override { return "no room"; }

  Recorder out_;
  std::unique_ptr<PullManager> pulls_;
  std::vector<uint64_t> fetches_;
  std::vector<uint64_t> restores_;
  std::vector<objstore::spill::SpillManager::Ahead> ahead_;
  ObjectId on_disk_;
  TimeNs room_progress_ = 0;
  uint32_t unreachable_ = 0;
  uint32_t left_ = 0;  // a dead node with files
  int serving_ = 0;
  ServedObjects served_;
  uint64_t arrived_ = 0;
  uint64_t last_bytes_ = 0;
  std::vector<uint64_t> cancelled_;
  int wants_room_ = 0;
  TimeNs now_ = kSecond;
};

TEST_F(PullManagerTest, OneTransferServesAllWhoWait) {
  pulls_->OnPull(kReader, Wants(1, {2}), now_);
  pulls_->OnPull(kOtherReader, Wants(1, {2}), now_);
  EXPECT_EQ(out_.Count(MsgType::kPin), 1U);
  Pinned();
  ASSERT_EQ(fetches_.size(), 1U);
  pulls_->OnFetched(fetches_[0], true, "", now_);
  EXPECT_EQ(Replies(), 2U);
  EXPECT_EQ(Reply().place.node, kNode);
  EXPECT_EQ(out_.Count(MsgType::kLocationAdd), 1U);
  EXPECT_EQ(out_.Count(MsgType::kUnpin), 1U);
  EXPECT_EQ(pulls_->active(), 0U);
  pulls_->OnPull(kReader, Wants(1, {2}), now_);
  EXPECT_EQ(Replies(), 3U) << "now it is here";
  EXPECT_EQ(fetches_.size(), 1U);
}

TEST_F(PullManagerTest, ThePrimaryIsAskedFirstThenTheOthers) {
  pulls_->OnPull(kReader, Wants(1, {2, 3}), now_);
  uint32_t node = 0;
  LastPin(&node);
  EXPECT_EQ(node, 2U);
  Pinned(true);
  LastPin(&node);
  EXPECT_EQ(node, 3U);
  Pinned();
  pulls_->OnFetched(fetches_.at(0), false, "reset", now_);
  ASSERT_EQ(Replies(), 1U);
  EXPECT_TRUE(Reply().failed);
  EXPECT_NE(Reply().text.find("reset"), std::string::npos);
  EXPECT_EQ(store_->Find(MakeId(1)), nullptr);
  EXPECT_EQ(pulls_->active(), 0U);
}

TEST_F(PullManagerTest, UnreachableAndDeadSourcesArePassedOver) {
  unreachable_ = 2;
  pulls_->OnPull(kReader, Wants(1, {2, 3}), now_);
  uint32_t node = 0;
  LastPin(&node);
  EXPECT_EQ(node, 3U);
  pulls_->OnNodeDead(3, now_);
  ASSERT_EQ(Replies(), 1U);
  EXPECT_TRUE(Reply().failed);
}

TEST_F(PullManagerTest, WithdrawingATasksPullLeavesTheGetOfTheSameProcess) {
  Pull args = Wants(1, {2});
  args.priority = PullPriority::kArgs;
  pulls_->OnPull(kReader, args, now_);
  pulls_->OnPull(kReader, Wants(1, {2}), now_);
  args.cancel = true;
  pulls_->OnPull(kReader, args, now_);
  Pinned();
  pulls_->OnFetched(fetches_.at(0), true, "", now_);
  EXPECT_EQ(Replies(), 1U);
}

TEST_F(PullManagerTest, FreedOnItsWayIsAFailure) {
  pulls_->OnPull(kReader, Wants(1, {2}), now_);
  Pinned();
  store_->Free(MakeId(1), 0);
  pulls_->OnFetched(fetches_.at(0), true, "", now_);
  ASSERT_EQ(Replies(), 1U);
  EXPECT_TRUE(Reply().failed);
  EXPECT_EQ(store_->used_bytes(), 0U);
}

TEST_F(PullManagerTest, AFullStoreIsWaitedForButNotForEver) {
  const auto client = NewClient(1);
  std::vector<ObjectId> here;
  for (uint64_t n = 100; Put(client.get(), MakeId(n), 2 << 20); ++n) here.push_back(MakeId(n));
  pulls_->OnPull(kReader, Wants(1, {2}, 8 << 20), now_);
  EXPECT_EQ(out_.Count(MsgType::kPin), 0U);
  EXPECT_LT(pulls_->NextDeadline(), now_ + kSecond);
  now_ += 3 * kSecond;
  pulls_->OnTimer(now_);
  ASSERT_EQ(Replies(), 1U);
  EXPECT_TRUE(Reply().full);
  EXPECT_NE(Reply().text.find("no room"), std::string::npos);

  pulls_->OnPull(kReader, Wants(2, {2}), now_);
  for (const ObjectId& id : here) store_->Free(id, 0);
  now_ += 20 * kMillisecond;
  pulls_->OnTimer(now_);
  EXPECT_EQ(out_.Count(MsgType::kPin), 1U);
}

TEST_F(PullManagerTest, ASourceHoldsWhatIsFetchedFromIt) {
  const auto client = NewClient(1);
  ASSERT_TRUE(Put(client.get(), MakeId(1), kSize));
  pulls_->OnPin(RayletOf(2), {5, MakeId(1), 0}, now_);
  EXPECT_FALSE(out_.Last<rmpi::Pinned>(MsgType::kPinned).gone);
  EXPECT_EQ(serving_, 1);
  const uint64_t used = store_->used_bytes();
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->used_bytes(), used);
  pulls_->OnUnpin(RayletOf(2), {5, MakeId(1), 0}, now_);
  store_->Sweep();
  EXPECT_EQ(serving_, 0);
  EXPECT_LT(store_->used_bytes(), used);
  pulls_->OnPin(RayletOf(2), {6, MakeId(1), 0}, now_);
  EXPECT_TRUE(out_.Last<rmpi::Pinned>(MsgType::kPinned).gone);
}

TEST_F(PullManagerTest, WhatIsOnDiskIsRestoredOnceForAllWhoWant) {
  on_disk_ = MakeId(1);
  pulls_->OnPull(kReader, Wants(1, {kNode}), now_);
  pulls_->OnPin(RayletOf(2), {5, MakeId(1), 0}, now_);
  EXPECT_EQ(Replies(), 0U);
  EXPECT_EQ(out_.Count(MsgType::kPinned), 0U);
  ASSERT_EQ(restores_.size(), 1U);
  pulls_->OnRestored(restores_[0], true, "", now_);
  EXPECT_EQ(Reply().place.node, kNode);
  EXPECT_FALSE(out_.Last<rmpi::Pinned>(MsgType::kPinned).gone);
  EXPECT_EQ(out_.Count(MsgType::kLocationAdd), 1U) << "its owner learns the new place";
  EXPECT_EQ(serving_, 1);
}

TEST_F(PullManagerTest, WhatWasRestoredStaysAMomentForItsReader) {
  on_disk_ = MakeId(1);
  pulls_->OnPull(kReader, Wants(1, {kNode}), now_);
  pulls_->OnRestored(restores_[0], true, "", now_);
  EXPECT_FALSE(store_->CreateCopy(MakeId(9), 0, (16 << 20) - kSize / 2, MakeId(9).owner()));
  EXPECT_NE(store_->Find(MakeId(1), 0), nullptr);
  now_ += 200 * kMillisecond;
  pulls_->OnTimer(now_);
  EXPECT_TRUE(store_->CreateCopy(MakeId(9), 0, (16 << 20) - kSize / 2, MakeId(9).owner()));
  EXPECT_EQ(store_->Find(MakeId(1), 0), nullptr);
}

TEST_F(PullManagerTest, AReaderThatHasComeEndsThatMoment) {
  const auto client = NewClient(1);
  on_disk_ = MakeId(1);
  pulls_->OnPull(kReader, Wants(1, {kNode}), now_);
  pulls_->OnRestored(restores_[0], true, "", now_);
  const Place at = Reply().place;
  const objstore::Locator locator{at.node, at.segment, at.offset, kSize};
  ASSERT_EQ(client->Pin(locator, MakeId(1), 0), objstore::Client::PinResult::kPinned);
  const uint64_t most = (16 << 20) - kSize / 2;
  EXPECT_FALSE(store_->CreateCopy(MakeId(9), 0, most, MakeId(9).owner())) << "it is being read";
  client->Unpin(locator);
  EXPECT_TRUE(store_->CreateCopy(MakeId(9), 0, most, MakeId(9).owner()));
}

TEST_F(PullManagerTest, WhatLiesBehindIsReadAheadIfThatTakesNoRoomFromOthers) {
  const auto client = NewClient(1);
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(Put(client.get(), MakeId(10 + i), kSize));
  on_disk_ = MakeId(1);
  for (int i = 2; i < 9; ++i) ahead_.push_back({{MakeId(i), 0}, kSize});
  pulls_->OnPull(kReader, Wants(1, {kNode}), now_);
  ASSERT_EQ(restores_.size(), 3U) << "one that is wanted, and two for which there is room";
  on_disk_ = MakeId(2);
  pulls_->OnPull(kReader, Wants(2, {kNode, 3}), now_);
  EXPECT_EQ(restores_.size(), 3U) << "it is on its way";
  for (const uint64_t request : std::vector<uint64_t>(restores_)) pulls_->OnRestored(request, true, "", now_);
  EXPECT_EQ(Replies(), 2U);
  EXPECT_EQ(out_.Count(MsgType::kLocationAdd), 3U);
  EXPECT_EQ(pulls_->active(), 0U);
  EXPECT_NE(store_->Find(MakeId(3), 0), nullptr);
  on_disk_ = MakeId(9);
  pulls_->OnPull(kReader, Wants(9, {kNode}), now_);
  EXPECT_EQ(restores_.size(), 4U);
  EXPECT_EQ(store_->Find(MakeId(3), 0), nullptr) << "nobody waits for it";
  EXPECT_NE(store_->Find(MakeId(1), 0), nullptr);
}

TEST_F(PullManagerTest, WhatIsReadAheadInVainComesFromElsewhere) {
  on_disk_ = MakeId(1);
  ahead_.push_back({{MakeId(2), 0}, kSize});
  pulls_->OnPull(kReader, Wants(1, {kNode}), now_);
  ASSERT_EQ(restores_.size(), 2U);
  on_disk_ = {};
  pulls_->OnPull(kReader, Wants(2, {kNode, 3}), now_);
  pulls_->OnRestored(restores_[1], false, "a flipped bit", now_);
  uint32_t node = 0;
  LastPin(&node);
  EXPECT_EQ(node, 3U);
}

TEST_F(PullManagerTest, WhoWaitsForRoomIsServedWhenItComes) {
  const auto client = NewClient(1);
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(Put(client.get(), MakeId(10 + i), kSize));
  pulls_->OnPull(kReader, Wants(1, {2}, 2 * kSize), now_);
  EXPECT_LT(pulls_->NextDeadline(), now_ + kMillisecond) << "soon at first";
  for (int i = 0; i < 20; ++i) {
    now_ = pulls_->NextDeadline();
    pulls_->OnTimer(now_);
  }
  EXPECT_EQ(pulls_->NextDeadline(), now_ + 10 * kMillisecond) << "and then less often";
  for (int i = 0; i < 3; ++i) store_->Free(MakeId(10 + i), 0);
  pulls_->OnRoom();
  EXPECT_LE(pulls_->NextDeadline(), now_);
  pulls_->OnTimer(now_);
  EXPECT_EQ(out_.Count(MsgType::kPin), 1U);
  EXPECT_EQ(pulls_->NextDeadline(), kNever);
}

TEST_F(PullManagerTest, WhatCannotBeRestoredComesFromElsewhereOrIsGone) {
  on_disk_ = MakeId(1);
  pulls_->OnPull(kReader, Wants(1, {kNode, 3}), now_);
  pulls_->OnRestored(restores_[0], false, "a flipped bit", now_);
  uint32_t node = 0;
  LastPin(&node);
  EXPECT_EQ(node, 3U);
  Pinned(true);
  EXPECT_TRUE(Reply().failed);
  EXPECT_EQ(Reply().gone, (std::vector<uint32_t>{kNode, 3}));
  pulls_->OnPin(RayletOf(2), {5, MakeId(1), 0}, now_);
  pulls_->OnRestored(restores_[1], false, "a flipped bit", now_);
  EXPECT_TRUE(out_.Last<rmpi::Pinned>(MsgType::kPinned).gone);
}

TEST_F(PullManagerTest, FilesOfADeadNodeAreAPlace) {
  left_ = unreachable_ = 3;
  pulls_->OnPull(kReader, Wants(1, {2, 3}), now_);
  uint32_t node = 0;
  LastPin(&node);
  EXPECT_EQ(node, 2U) << "memory is asked first";
  Pinned(true);
  ASSERT_EQ(restores_.size(), 1U);
  pulls_->OnRestored(restores_[0], true, "", now_);
  EXPECT_EQ(Reply().place.node, kNode);
  EXPECT_EQ(out_.Count(MsgType::kLocationAdd), 1U);
  EXPECT_FALSE(store_->Find(MakeId(1), 0)->backed) << "it is not on the disk of this node";
  pulls_->OnPull(kReader, Wants(2, {3}), now_);
  ASSERT_EQ(restores_.size(), 2U);
  pulls_->OnRestored(restores_[1], false, "a flipped bit", now_);
  EXPECT_TRUE(Reply().failed);
  EXPECT_EQ(Reply().gone, std::vector<uint32_t>{3}) << "the owner is not to name it again";
  EXPECT_EQ(Reply().text, "a flipped bit");
}

TEST_F(PullManagerTest, WhoWaitsForANodeThatDiesLooksIntoItsFiles) {
  pulls_->OnPull(kReader, Wants(1, {3}), now_);
  pulls_->OnPull(kReader, Wants(2, {3}), now_);
  Pinned();
  ASSERT_EQ(fetches_.size(), 1U);
  left_ = unreachable_ = 3;
  pulls_->OnNodeDead(3, now_);
  EXPECT_EQ(restores_.size(), 1U) << "the one that was only asked for";
  pulls_->OnFetched(fetches_[0], false, "its source died", now_);
  ASSERT_EQ(restores_.size(), 2U);
  for (const uint64_t request : std::vector<uint64_t>(restores_)) pulls_->OnRestored(request, true, "", now_);
  EXPECT_EQ(Replies(), 2U);
  EXPECT_FALSE(Reply().failed);
  EXPECT_EQ(pulls_->active(), 0U);
}

TEST_F(PullManagerTest, PatienceGoesOnWhileRoomIsMade) {
  const auto client = NewClient(1);
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(Put(client.get(), MakeId(10 + i), kSize));
  pulls_->OnPull(kReader, Wants(1, {2}, 2 * kSize), now_);
  EXPECT_GE(pulls_->WaitingBytes(), 2 * kSize);
  for (int i = 0; i < 10; ++i) {
    now_ += kSecond;
    room_progress_ = now_;
    pulls_->OnTimer(now_);
  }
  EXPECT_EQ(Replies(), 0U);
  now_ += 3 * kSecond;
  pulls_->OnTimer(now_);
  EXPECT_TRUE(Reply().full);
}

// ---- objects that many want: broadcast_trees_test and tests/sim/pull_sim_test have the trees ----

class BroadcastTest : public PullManagerTest {
 protected:
  // What `node` answers to the last question.
  void Answer(uint32_t node, uint32_t ask, bool coming = false) {
    rmpi::Pinned m;
    m.request = LastPin().request;
    m.turn = LastPin().turn;
    m.ask = ask;
    m.coming = coming;
    m.offset = 4096;
    m.size = kSize;
    pulls_->OnPinned(RayletOf(node), m, now_);
  }
  PinRequest ChildOf(uint32_t holder) {
    PinRequest m{77, MakeId(1), 0};
    m.turn = 1;
    m.holder = holder;
    return m;
  }
  rmpi::Pinned LastAnswer() { return out_.Last<rmpi::Pinned>(MsgType::kPinned); }
};

TEST_F(BroadcastTest, TheHolderSendsLaterOnesToThoseBefore) {
  const auto client = NewClient(1);
  ASSERT_TRUE(Put(client.get(), MakeId(1), 4 * kSize));
  pulls_->OnPin(RayletOf(2), {5, MakeId(1), 0}, now_);
  EXPECT_EQ(LastAnswer().ask, 0U);
  pulls_->OnPin(RayletOf(3), {5, MakeId(1), 0}, now_);
  pulls_->OnPin(RayletOf(4), {5, MakeId(1), 0}, now_);
  EXPECT_NE(LastAnswer().ask, 0U);
  for (uint32_t node = 2; node <= 4; ++node) pulls_->OnUnpin(RayletOf(node), {5, MakeId(1), 0}, now_);
  EXPECT_EQ(pulls_->holding() + pulls_->trees(), 0U);
  EXPECT_EQ(serving_, 0);
}

TEST_F(BroadcastTest, AReceiverThatFailsIsReplacedAndWhatCameIsKept) {
  pulls_->OnPull(kReader, Wants(1, {2}), now_);
  Answer(2, 3);
  uint32_t node = 0;
  EXPECT_EQ(LastPin(&node).holder, 2U);
  EXPECT_EQ(node, 3U);
  Answer(3, 0, true);
  ASSERT_EQ(fetches_.size(), 1U);
  arrived_ = kSize / 4;
  pulls_->OnFetched(fetches_[0], false, "reset", now_);
  EXPECT_EQ(LastPin(&node).avoid, 3U);
  EXPECT_EQ(node, 2U);
  Answer(3, 0, true);  // late, of the turn before
  EXPECT_EQ(fetches_.size(), 1U);
  Answer(2, 0);
  ASSERT_EQ(fetches_.size(), 2U);
  EXPECT_EQ(last_bytes_, kSize - kSize / 4);
  pulls_->OnFetched(fetches_[1], true, "", now_);
  EXPECT_EQ(Reply().place.node, kNode);
  const auto unpin = out_.Last<PinRequest>(MsgType::kUnpin, nullptr);
  EXPECT_TRUE(unpin.whole);
}

TEST_F(BroadcastTest, AReceiverThatStandsStillIsLeft) {
  pulls_->OnPull(kReader, Wants(1, {2}), now_);
  Answer(2, 3);
  Answer(3, 0, true);
  for (int s = 0; s < 9; ++s) pulls_->OnTimer(now_ += kSecond);
  arrived_ = 1;
  for (int s = 0; s < 9; ++s) pulls_->OnTimer(now_ += kSecond);
  EXPECT_TRUE(cancelled_.empty()) << "something had come";
  for (int s = 0; s < 3; ++s) pulls_->OnTimer(now_ += kSecond);
  EXPECT_EQ(cancelled_, fetches_);
  pulls_->OnFetched(fetches_[0], false, "cancelled", now_);
  for (uint32_t other = 4; other < 7; ++other) {
    Answer(2, other);
    for (int s = 0; s < 12; ++s) pulls_->OnTimer(now_ += kSecond);  // no answer either
  }
  uint32_t node = 0;
  EXPECT_TRUE(LastPin(&node).direct) << "after four the holder itself has to send";
  EXPECT_EQ(node, 2U);
}

TEST_F(BroadcastTest, ChildrenAreServedWhileItComesAndAfter) {
  pulls_->OnPull(kReader, Wants(1, {2}), now_);
  pulls_->OnPin(RayletOf(4), ChildOf(3), now_);
  EXPECT_TRUE(LastAnswer().gone) << "of the tree of another holder";
  pulls_->OnPin(RayletOf(4), ChildOf(2), now_);
  EXPECT_TRUE(LastAnswer().coming);
  Pinned();
  pulls_->OnFetched(fetches_[0], true, "", now_);
  EXPECT_EQ(serving_, 1) << "held for the child";
  store_->Free(MakeId(1), 0);
  EXPECT_NE(store_->used_bytes(), 0U);
  pulls_->OnUnpin(RayletOf(4), ChildOf(2), now_);
  store_->Sweep();
  EXPECT_EQ(store_->used_bytes(), 0U);
}

TEST_F(BroadcastTest, MemoryIsNotGivenUpBeforeTheChildrenHaveLetGo) {
  for (const bool freed : {false, true}) {
    pulls_->OnPull(kReader, Wants(1, {2}), now_);
    pulls_->OnPin(RayletOf(4), ChildOf(2), now_);
    Pinned();
    const size_t replies = Replies();
    if (freed) store_->Free(MakeId(1), 0);
    pulls_->OnFetched(fetches_.back(), freed, "reset", now_);
    EXPECT_EQ(Replies(), replies);
    EXPECT_NE(store_->used_bytes(), 0U);
    EXPECT_EQ(served_.Look(MakeId(1), 0, 0, 0, 0), Transfer::Held::kGone) << "nothing more";
    if (freed) {
      pulls_->OnNodeDead(4, now_);
    } else {
      pulls_->OnUnpin(RayletOf(4), ChildOf(2), now_);
    }
    EXPECT_TRUE(Reply().failed);
    EXPECT_EQ(store_->used_bytes(), 0U);
    EXPECT_EQ(pulls_->active(), 0U);
  }
}

TEST_F(PullManagerTest, ADeadReadersHoldsGo) {
  const auto client = NewClient(1);
  ASSERT_TRUE(Put(client.get(), MakeId(1), kSize));
  pulls_->OnPin(RayletOf(2), {5, MakeId(1), 0}, now_);
  store_->Free(MakeId(1), 0);
  const uint64_t used = store_->used_bytes();
  pulls_->OnNodeDead(2, now_);
  store_->Sweep();
  EXPECT_LT(store_->used_bytes(), used);
}

}  // namespace
}  // namespace rmpi
