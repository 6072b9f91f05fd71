// SPDX-License-Identifier: Apache-2.0
// The logic of spilling over a real store, with files that are maps: what goes to disk and when, and a random
// program against a model in which every object's bytes are known.
#include "objstore/spill/spill_manager.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/spill/spill_fixture.h"

namespace rmpi::objstore::spill {
namespace {

using SpillManagerTest = SpillTest;

TEST_F(SpillManagerTest, WritesWhatIsAboveTheThresholdAndKeepsItInMemory) {
  Begin(64 * kMiB);
  for (int i = 1; i <= 5; ++i) ASSERT_TRUE(Put(client_.get(), MakeId(i), 8 * kMiB));
  manager_->Pump(0, now_);
  EXPECT_TRUE(writes_.empty()) << "40 of 64 MiB are no reason";
  for (int i = 6; i <= 7; ++i) ASSERT_TRUE(Put(client_.get(), MakeId(i), 8 * kMiB));
  manager_->Pump(0, now_);
  ASSERT_EQ(writes_.size(), 1U);
  EXPECT_EQ(writes_[0].items[0].version.id, MakeId(1)) << "the oldest first";
  manager_->Pump(0, now_);
  EXPECT_EQ(writes_.size(), 1U) << "what is under way counts";
  FinishWrites();
  EXPECT_TRUE(InMemory(MakeId(1)));
  EXPECT_TRUE(manager_->Holds(MakeId(1), 0));
  ASSERT_TRUE(Put(client_.get(), MakeId(8), 8 * kMiB));
  EXPECT_FALSE(InMemory(MakeId(1))) << "it went when its room was needed";
  EXPECT_TRUE(store_->TakeEvicted().empty()) << "the owner need not know";
  EXPECT_TRUE(manager_->Holds(MakeId(1), 0));
}

TEST_F(SpillManagerTest, WhoeverLooksAtAnObjectKeepsItInMemory) {
  Begin(16 * kMiB);
  const auto looked_at = Put(client_.get(), MakeId(1), 4 * kMiB);
  ASSERT_TRUE(Put(client_.get(), MakeId(2), 4 * kMiB));
  ASSERT_EQ(client_->Pin(*looked_at, MakeId(1), 0), Client::PinResult::kPinned);
  manager_->Pump(16 * kMiB, now_);
  ASSERT_EQ(writes_.size(), 1U);
  EXPECT_EQ(writes_[0].items.size(), 1U);
  EXPECT_EQ(writes_[0].items[0].version.id, MakeId(2));
  FinishWrites();
  manager_->Pump(16 * kMiB, now_);
  EXPECT_TRUE(writes_.empty());
  client_->Unpin(*looked_at);
  manager_->Pump(16 * kMiB, now_);
  EXPECT_EQ(writes_.size(), 1U);
  FinishWrites();
}

TEST_F(SpillManagerTest, FusesSmallObjectsAndBoundsWhatIsUnderWay) {
  SpillOptions options;
  options.most_writes = 2;
  options.most_fused = 20;
  Begin(16 * kMiB, options);
  for (int i = 1; i <= 100; ++i) ASSERT_TRUE(Put(client_.get(), MakeId(i), 128 << 10));
  manager_->Pump(16 * kMiB, now_);
  ASSERT_EQ(writes_.size(), 2U);
  for (const WriteJob& job : writes_) {
    EXPECT_GT(job.items.size(), 10U);
    EXPECT_LE(job.items.size(), 20U);
  }
  EXPECT_EQ(writes_[0].file.number, writes_[1].file.number);
  FinishWrite();
  manager_->Pump(16 * kMiB, now_);
  EXPECT_EQ(writes_.size(), 2U);
  FinishWrites();
}

TEST_F(SpillManagerTest, AFreeDuringTheWriteWins) {
  Begin(16 * kMiB);
  ASSERT_TRUE(Put(client_.get(), MakeId(1), 4 * kMiB));
  manager_->Pump(16 * kMiB, now_);
  FreeBoth(MakeId(1));
  FinishWrites();
  EXPECT_FALSE(manager_->Holds(MakeId(1), 0));
  EXPECT_EQ(manager_->GetStats().files, 0U);
  EXPECT_EQ(removed_.size(), 1U);
  EXPECT_EQ(store_->GetStats().primaries, 0U);
}

TEST_F(SpillManagerTest, AFullDiskIsFollowedByTheNext) {
  SpillOptions options;
  options.folders = {"fast", "large"};
  Begin(16 * kMiB, options);
  ASSERT_TRUE(Put(client_.get(), MakeId(1), 4 * kMiB));
  manager_->Pump(16 * kMiB, now_);
  FinishWrite(Status::OutOfDisk("full"));
  EXPECT_TRUE(InMemory(MakeId(1)));
  EXPECT_FALSE(manager_->Holds(MakeId(1), 0));
  manager_->Pump(16 * kMiB, now_);
  FinishWrite();
  EXPECT_EQ(tiers_, (std::vector<size_t>{0, 1}));
  EXPECT_TRUE(manager_->Holds(MakeId(1), 0));
  ASSERT_TRUE(Put(client_.get(), MakeId(2), 4 * kMiB));
  manager_->Pump(16 * kMiB, now_);
  FinishWrite(Status::OutOfDisk("full"));
  EXPECT_EQ(manager_->Blocked().code(), StatusCode::kOutOfDisk);
  manager_->Pump(16 * kMiB, now_);
  EXPECT_TRUE(writes_.empty());
  now_ += 2 * kSecond;
  manager_->Pump(16 * kMiB, now_);
  EXPECT_EQ(writes_.size(), 1U) << "tried again";
  FinishWrites();
  EXPECT_TRUE(manager_->Blocked().ok());
}

TEST_F(SpillManagerTest, TheOldestLeaveATierThatIsNearlyFull) {
  SpillOptions options;
  options.folders = {"fast", "large"};
  Begin(64 * kMiB, options);
  for (int i = 1; i <= 12; ++i) ASSERT_TRUE(Put(client_.get(), MakeId(i), 4 * kMiB));
  const auto settle = [this] {
    manager_->Pump(0, now_);
    FinishWrites();
  };
  manager_->Pump(64 * kMiB, now_);
  FinishWrites();
  settle();
  EXPECT_EQ(std::count(tiers_.begin(), tiers_.end(), 1U), 0) << "there is room";
  EXPECT_EQ(manager_->NextDeadline(), kNever);

  nearly_full_ = {0};
  ASSERT_TRUE(Put(client_.get(), MakeId(13), 4 * kMiB));
  manager_->Pump(64 * kMiB, now_);
  FinishWrites();
  manager_->Pump(0, now_);
  ASSERT_EQ(writes_.size(), 1U);
  EXPECT_EQ(writes_[0].file.tier, 1U);
  EXPECT_EQ(writes_[0].items.front().version.id, MakeId(1));
  EXPECT_LT(writes_[0].items.size(), 12U) << "a part at a time";
  FinishWrite(Status::OutOfDisk("full"));
  EXPECT_TRUE(manager_->Holds(MakeId(1), 0));
  manager_->Pump(0, now_);
  EXPECT_TRUE(writes_.empty());
  EXPECT_LE(manager_->NextDeadline(), now_ + 2 * kSecond) << "but it is tried again";
  const auto old_file = removed_.size();
  for (int i = 0; i < 20; ++i) {
    now_ += kSecond;
    settle();
  }
  EXPECT_GT(removed_.size(), old_file) << "its space is free";
  EXPECT_EQ(manager_->NextDeadline(), kNever);
  for (int i = 50; Put(client_.get(), MakeId(i), 4 * kMiB); ++i) continue;
  for (int i = 1; i <= 13; ++i) EXPECT_TRUE(manager_->Holds(MakeId(i), 0));
}

TEST_F(SpillManagerTest, WhatCannotBeReadIsLost) {
  Begin(16 * kMiB);
  ASSERT_TRUE(Put(client_.get(), MakeId(1), 4 * kMiB));
  manager_->Pump(16 * kMiB, now_);
  FinishWrites();
  manager_->OnRead(MakeId(1), 0, Status::Corrupt("flipped"));
  EXPECT_FALSE(manager_->Holds(MakeId(1), 0));
}

TEST_F(SpillManagerTest, WhoReadsInOrderIsReadAheadFor) {
  Begin(64 * kMiB);
  for (int i = 1; i <= 40; ++i) ASSERT_TRUE(Put(client_.get(), MakeId(i), 256 << 10));
  manager_->Pump(64 * kMiB, now_);
  FinishWrites();
  // In memory, they are not to be read.
  EXPECT_TRUE(manager_->ReadAhead({MakeId(1), 0}).empty());
  EXPECT_TRUE(manager_->ReadAhead({MakeId(2), 0}).empty());
  for (int i = 50; Put(client_.get(), MakeId(i), 4 * kMiB); ++i) continue;
  ASSERT_FALSE(InMemory(MakeId(1)) || InMemory(MakeId(40)));
  EXPECT_TRUE(manager_->ReadAhead({MakeId(1), 0}).empty()) << "may be the only one";
  const auto second = manager_->ReadAhead({MakeId(2), 0});
  ASSERT_EQ(second.size(), 3U) << "within 1 MiB";
  EXPECT_EQ(second[0].version.id, MakeId(3));
  EXPECT_EQ(second[0].size, 256U << 10);
  FreeBoth(MakeId(6));
  const auto third = manager_->ReadAhead({MakeId(7), 0});
  ASSERT_EQ(third.size(), 7U) << "within 2 MiB";
  EXPECT_EQ(third[6].version.id, MakeId(14));
  EXPECT_TRUE(manager_->ReadAhead({MakeId(30), 0}).empty()) << "elsewhere";
  EXPECT_TRUE(manager_->ReadAhead({MakeId(1), 0}).empty());
}

TEST_F(SpillManagerTest, AMostlyDeadFileIsWrittenAnew) {
  SpillOptions options;
  options.file_bytes = 4 * kMiB;
  options.most_fused = 4;
  Begin(64 * kMiB, options);
  for (int i = 1; i <= 16; ++i) ASSERT_TRUE(Put(client_.get(), MakeId(i), kMiB));
  for (int i = 0; i < 8; ++i) {
    manager_->Pump(64 * kMiB, now_);
    FinishWrites();
  }
  const size_t files = manager_->GetStats().files;
  EXPECT_GE(files, 4U);
  for (int i = 1; i <= 16; ++i) {
    if (i % 8 != 0) FreeBoth(MakeId(i));
  }
  for (int i = 0; i < 8; ++i) {
    manager_->Pump(0, now_);
    FinishWrites();
  }
  EXPECT_LT(manager_->GetStats().files, files);
  for (const int i : {8, 16}) {
    EXPECT_TRUE(manager_->Holds(MakeId(i), 0));
    FreeBoth(MakeId(i));
  }
  EXPECT_EQ(manager_->GetStats().files, 0U);
  EXPECT_EQ(manager_->GetStats().bytes, 0U);
  EXPECT_TRUE(disk_.empty());
}

// Objects come, are read, freed, evicted; writes succeed and fail in any order. Whatever is still referenced
// can be read, with its own bytes; at the end there is no file and no byte.
TEST_F(SpillManagerTest, RandomProgramsLoseNothing) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 random(seed);
    SpillOptions options;
    options.folders = {"a", "b"};
    options.file_bytes = 2 * kMiB;
    options.most_fused = 1 + random() % 20;
    Begin(8 * kMiB, options);
    disk_.clear();
    removed_.clear();
    std::map<uint64_t, std::pair<uint64_t, char>> alive;  // size, what it is full of
    uint64_t next = 1;
    for (int step = 0; step < 600; ++step) {
      now_ += 50 * kMillisecond;
      const uint64_t what = random() % 10;
      if (what < 4) {
        const uint64_t size = 1 + random() % (random() % 4 == 0 ? kMiB : 100 << 10);
        const auto fill = static_cast<char>(random());
        if (Put(client_.get(), MakeId(next), size, fill)) {
          alive[next++] = {size, fill};
        } else {
          for (const Range& r : client_->TakeUnusedExtents()) store_->ReturnExtent(1, 1, r);
          manager_->Pump(2 * kMiB, now_);
        }
      } else if (what < 6 && !alive.empty()) {
        auto it = alive.lower_bound(random() % next);
        if (it == alive.end()) it = alive.begin();
        const auto [size, fill] = it->second;
        const ObjectId id = MakeId(it->first);
        ASSERT_TRUE(InMemory(id) || manager_->Holds(id, 0)) << seed << " " << step;
        if (InMemory(id) || Restore(id, size)) {
          const std::byte* bytes = arena_->data(store_->Find(id, 0)->locator.offset);
          ASSERT_TRUE(std::all_of(bytes, bytes + size, [&](std::byte b) { return b == std::byte(fill); }));
        }
      } else if (what < 7 && !alive.empty()) {
        auto it = alive.lower_bound(random() % next);
        if (it == alive.end()) it = alive.begin();
        FreeBoth(MakeId(it->first));
        alive.erase(it);
      } else if (what < 9 && !writes_.empty()) {
        std::swap(writes_.front(), writes_[random() % writes_.size()]);
        FinishWrite(random() % 8 == 0 ? Status::OutOfDisk("full") : Status::Ok());
      } else {
        manager_->Pump(0, now_);
      }
      EXPECT_TRUE(store_->TakeEvicted().empty());
    }
    for (const auto& [n, value] : alive) {
      ASSERT_TRUE(InMemory(MakeId(n)) || manager_->Holds(MakeId(n), 0));
      FreeBoth(MakeId(n));
    }
    FinishWrites();
    EXPECT_EQ(manager_->GetStats().files, 0U) << seed;
    EXPECT_EQ(manager_->GetStats().objects, 0U);
    EXPECT_EQ(manager_->writing_bytes(), 0U);
    EXPECT_TRUE(disk_.empty());
    for (const Range& r : client_->TakeUnusedExtents()) store_->ReturnExtent(1, 1, r);
    EXPECT_EQ(store_->used_bytes(), 0U);
    EXPECT_EQ(store_->primary_bytes(), 0U);
  }
}

}  // namespace
}  // namespace rmpi::objstore::spill
