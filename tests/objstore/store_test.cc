// SPDX-License-Identifier: Apache-2.0
#include "objstore/store.h"

#include <algorithm>
#include <vector>

#include "tests/objstore/store_fixture.h"

namespace rmpi::objstore {
namespace {

using PinResult = Client::PinResult;

TEST_F(StoreTest, FreeFindsTheObjectInEveryState) {
  Start(8 << 20);
  auto c = NewClient(1);
  // Sealed and announced.
  ASSERT_TRUE(Put(c.get(), MakeId(1), 100));
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->Find(MakeId(1)), nullptr);
  // Announced after FREE, which came by another channel.
  auto late = Create(c.get(), MakeId(2), 100);
  c->Seal(*late);
  store_->Free(MakeId(2), 0);
  EXPECT_TRUE(store_->OnSealed(1, 1, MakeId(2), 0, *late, MakeId(2).owner()));
  EXPECT_EQ(store_->Find(MakeId(2)), nullptr);
  EXPECT_EQ(c->Pin(*late, MakeId(2), 0), PinResult::kGone);
  // A copy that a transfer is still writing.
  auto copy = store_->CreateCopy(MakeId(3), 0, 100, MakeId(3).owner());
  ASSERT_TRUE(copy);
  store_->Free(MakeId(3), 0);
  EXPECT_FALSE(store_->SealCopy(MakeId(3), 0));
  EXPECT_FALSE(store_->sweep_needed());
  for (const Range& r : c->TakeUnusedExtents()) ASSERT_TRUE(store_->ReturnExtent(1, 1, r));
  EXPECT_EQ(store_->used_bytes(), 0u);
}

TEST_F(StoreTest, FreeOfOneAttemptLeavesTheOther) {
  Start(8 << 20);
  auto c = NewClient(1);
  ASSERT_TRUE(Put(c.get(), MakeId(1), 100, 'a', 0));
  auto second = Put(c.get(), MakeId(1), 100, 'b', 1);
  EXPECT_EQ(store_->Find(MakeId(1))->attempt, 1u);
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->Find(MakeId(1), 0), nullptr);
  ASSERT_NE(store_->Find(MakeId(1), 1), nullptr);
  EXPECT_EQ(store_->Find(MakeId(1), 1)->locator, *second);
}

TEST_F(StoreTest, AVersionThatIsHereTwiceIsFreedTwice) {
  Start(8 << 20);
  auto c = NewClient(1);
  ASSERT_TRUE(store_->CreateCopy(MakeId(1), 0, 100, MakeId(1).owner()));  // a pull in progress
  ASSERT_TRUE(Put(c.get(), MakeId(1), 100));                              // made here meanwhile
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->Find(MakeId(1)), nullptr);
  store_->AbortCopy(MakeId(1), 0);
  for (const Range& r : c->TakeUnusedExtents()) ASSERT_TRUE(store_->ReturnExtent(1, 1, r));
  EXPECT_EQ(store_->used_bytes(), 0u);
}

TEST_F(StoreTest, CopiesAreEvictedLeastRecentlyUsedFirstAndPrimariesNever) {
  Start(4 << 20);
  const uint64_t size = (1 << 20) - 64;  // four fill the arena
  auto c = NewClient(1);
  auto first = PutCopy(MakeId(1), size);
  ASSERT_TRUE(first && PutCopy(MakeId(2), size) && PutCopy(MakeId(3), size) && PutCopy(MakeId(4), size));
  ASSERT_TRUE(store_->SetPrimary(MakeId(3), 0, true));
  ASSERT_EQ(c->Pin(*first, MakeId(1), 0), PinResult::kPinned);
  c->Unpin(*first);  // used a moment ago
  ASSERT_TRUE(PutCopy(MakeId(5), size));
  EXPECT_EQ(store_->Find(MakeId(2)), nullptr);
  ASSERT_NE(store_->Find(MakeId(1)), nullptr);
  auto evicted = store_->TakeEvicted();
  ASSERT_EQ(evicted.size(), 1u);
  EXPECT_EQ(evicted[0].version.id, MakeId(2));
  EXPECT_EQ(evicted[0].owner, MakeId(2).owner());

  ASSERT_TRUE(PutCopy(MakeId(6), 2 * size)) << "all but the primary may go";
  EXPECT_EQ(store_->GetStats().copies, 1u);
  ASSERT_NE(store_->Find(MakeId(3)), nullptr);
  EXPECT_FALSE(PutCopy(MakeId(7), 4 * size));
  EXPECT_EQ(store_->Find(MakeId(6)), nullptr) << "it was evicted in the attempt";
}

TEST_F(StoreTest, WhatIsPinnedOrHeldIsNotEvictedAndStaysReadable) {
  Start(1 << 20);
  auto c = NewClient(1);
  auto a = PutCopy(MakeId(1), 400'000), b = PutCopy(MakeId(2), 400'000);
  ASSERT_TRUE(a && b);
  ASSERT_EQ(c->Pin(*a, MakeId(1), 0), PinResult::kPinned);
  const Store::Entry* held = store_->Hold(MakeId(2), 0);
  ASSERT_NE(held, nullptr);
  EXPECT_FALSE(PutCopy(MakeId(3), 400'000));
  EXPECT_EQ(c->Pin(*a, MakeId(1), 0), PinResult::kPinned) << "the attempt to evict left it as it was";
  EXPECT_EQ(c->Pin(*b, MakeId(2), 0), PinResult::kPinned);
  c->Unpin(*b);
  store_->Release(held);
  EXPECT_TRUE(PutCopy(MakeId(3), 400'000));
  EXPECT_EQ(store_->Find(MakeId(2)), nullptr);
  EXPECT_NE(store_->Find(MakeId(1)), nullptr);
}

TEST_F(StoreTest, AFreedVersionThatTheRayletHoldsGoesWithTheLastRelease) {
  Start(1 << 20);
  ASSERT_TRUE(PutCopy(MakeId(1), 1000));
  const Store::Entry* one = store_->Hold(MakeId(1), 0);
  const Store::Entry* two = store_->Hold(MakeId(1), 0);
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->Hold(MakeId(1), 0), nullptr);
  store_->Release(one);
  EXPECT_GT(store_->used_bytes(), 0u);
  store_->Release(two);
  EXPECT_EQ(store_->used_bytes(), 0u);
  EXPECT_FALSE(store_->sweep_needed());
}

TEST_F(StoreTest, AFullStoreSaysSoAndGoesOnWhenSomethingIsFreed) {
  Start(8 << 20);
  auto c = NewClient(1);
  uint64_t n = 0;
  while (Put(c.get(), MakeId(n), 50'000)) ++n;
  EXPECT_GT(n * FootprintBytes(50'000), arena_->size() * 9 / 10) << "extents must not strand much memory";
  EXPECT_FALSE(Put(c.get(), MakeId(n), 50'000));
  store_->Free(MakeId(n / 2), 0);
  EXPECT_TRUE(Put(c.get(), MakeId(n), 50'000));
}

TEST_F(StoreTest, MessagesThatAreWrongChangeNothing) {
  Start(8 << 20);
  auto c = NewClient(1), other = NewClient(2);
  auto locator = Create(c.get(), MakeId(1), 1000);
  ASSERT_TRUE(locator);
  const Address owner = MakeId(1).owner();
  EXPECT_FALSE(store_->OnSealed(1, 1, MakeId(1), 0, *locator, owner)) << "not sealed";
  c->Seal(*locator);
  const uint64_t used = store_->used_bytes();
  EXPECT_FALSE(store_->OnSealed(1, 2, MakeId(1), 0, *locator, owner)) << "another generation";
  EXPECT_FALSE(store_->OnSealed(2, 1, MakeId(1), 0, *locator, owner)) << "another client";
  EXPECT_FALSE(store_->OnSealed(1, 1, MakeId(1), 1, *locator, owner)) << "another attempt";
  Locator bad = *locator;
  bad.size = 999;
  EXPECT_FALSE(store_->OnSealed(1, 1, MakeId(1), 0, bad, owner));
  bad = {kNode, 0, 1ull << 40, 1000};
  EXPECT_FALSE(store_->OnSealed(1, 1, MakeId(1), 0, bad, owner));
  bad = *locator;
  bad.node = kNode + 1;
  EXPECT_FALSE(store_->OnSealed(1, 1, MakeId(1), 0, bad, owner));
  EXPECT_FALSE(store_->ReturnExtent(1, 2, RangeOf(*locator)));
  EXPECT_FALSE(store_->ReturnExtent(2, 1, RangeOf(*locator)));
  EXPECT_FALSE(store_->ReturnExtent(1, 1, {0, arena_->size()}));
  EXPECT_FALSE(store_->ReturnExtent(1, 1, {1, 64}));
  EXPECT_EQ(store_->LeaseExtent(1, 2, 64), std::nullopt);
  EXPECT_EQ(store_->LeaseExtent(1, 1, UINT64_MAX), std::nullopt);
  store_->ClientGone(1, 2);
  EXPECT_EQ(store_->used_bytes(), used);
  EXPECT_TRUE(store_->OnSealed(1, 1, MakeId(1), 0, *locator, owner));
  EXPECT_FALSE(store_->OnSealed(1, 1, MakeId(1), 0, *locator, owner)) << "its bytes are no longer leased";
  EXPECT_FALSE(store_->ReturnExtent(1, 1, RangeOf(*locator)));
}

TEST_F(StoreTest, ADeadClientsExtentsAndPinsComeBackAndItsSealedObjectsStay) {
  Start(8 << 20);
  auto c = NewClient(1), reader = NewClient(2);
  auto kept = Put(c.get(), MakeId(1), 1000, 'k');
  auto dropped = Create(c.get(), MakeId(2), 1000);
  ASSERT_TRUE(kept && dropped);
  ASSERT_EQ(c->Pin(*kept, MakeId(1), 0), PinResult::kPinned);
  store_->ClientGone(1, 1);
  EXPECT_EQ(pins_->Live(1), 0u);
  EXPECT_EQ(store_->used_bytes(), FootprintBytes(1000));
  EXPECT_EQ(reader->Pin(*kept, MakeId(1), 0), PinResult::kPinned);
  EXPECT_EQ(static_cast<char>(arena_->data(kept->offset)[999]), 'k');
  reader->Unpin(*kept);
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->used_bytes(), 0u);
}

TEST_F(StoreTest, ADeadOwnersObjectsGo) {
  Start(8 << 20);
  auto a = NewClient(1), b = NewClient(2);
  ASSERT_TRUE(Put(a.get(), MakeId(1, 1), 1000) && Put(b.get(), MakeId(2, 2), 1000) &&
              PutCopy(MakeId(3, 1), 1000));
  store_->OwnerGone(MakeId(1, 1).owner());
  EXPECT_EQ(store_->Find(MakeId(1, 1)), nullptr);
  EXPECT_EQ(store_->Find(MakeId(3, 1)), nullptr);
  EXPECT_NE(store_->Find(MakeId(2, 2)), nullptr);
  store_->NodeGone(kNode);
  EXPECT_EQ(store_->Find(MakeId(2, 2)), nullptr);
}

TEST_F(StoreTest, StatsCountEveryByteOnce) {
  Start(8 << 20);
  auto a = NewClient(1), b = NewClient(2);
  ASSERT_TRUE(Put(a.get(), MakeId(1), 1000) && Put(b.get(), MakeId(2), 2'000'000));
  ASSERT_TRUE(PutCopy(MakeId(3), 3000));
  const Store::Stats s = store_->GetStats();
  EXPECT_EQ(s.capacity_bytes, arena_->size());
  EXPECT_EQ(s.used_bytes, s.leased_bytes + s.primary_bytes + s.copy_bytes);
  EXPECT_EQ(s.primaries, 2u);
  EXPECT_EQ(s.copies, 1u);
  EXPECT_EQ(s.clients.size(), 2u);
}

}  // namespace
}  // namespace rmpi::objstore
