// SPDX-License-Identifier: Apache-2.0
// The store as one client sees it, and several clients in processes of their own.
#include "objstore/client.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "tests/objstore/store_fixture.h"

namespace rmpi::objstore {
namespace {

using CreateResult = Client::CreateResult;
using PinResult = Client::PinResult;
using ClientTest = StoreTest;

// Runs `body` in a forked child that shares the mappings; true if it returned true.
template <typename Body>
bool InChild(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body() ? 0 : 1);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(ClientTest, CreateSealPinUnpin) {
  Start(8 << 20);
  auto c = NewClient(1);
  auto locator = Create(c.get(), MakeId(1), 1000);
  ASSERT_TRUE(locator);
  EXPECT_EQ(locator->offset % 64, 0u);
  EXPECT_EQ(locator->size, 1000u);
  EXPECT_EQ(c->Pin(*locator, MakeId(1), 0), PinResult::kGone) << "not sealed yet";
  c->Seal(*locator);
  EXPECT_EQ(c->Pin(*locator, MakeId(2), 0), PinResult::kGone) << "another object";
  EXPECT_EQ(c->Pin(*locator, MakeId(1), 1), PinResult::kGone) << "another attempt";
  EXPECT_EQ(pins_->Live(1), 0u);
  EXPECT_EQ(c->Pin(*locator, MakeId(1), 0), PinResult::kPinned);
  EXPECT_EQ(c->Pin(*locator, MakeId(1), 0), PinResult::kPinned);
  EXPECT_EQ(pins_->Live(1), 2u);
  c->Unpin(*locator);
  c->Unpin(*locator);
  EXPECT_EQ(pins_->Live(1), 0u);
}

TEST_F(ClientTest, SmallObjectsShareAnExtentWithoutOverlap) {
  Start(64 << 20);
  auto c = NewClient(1);
  std::vector<Range> ranges;
  for (uint64_t n = 0; n < 5000; ++n) {
    auto locator = Put(c.get(), MakeId(n), n * 7 % 3000, static_cast<char>(n));
    ASSERT_TRUE(locator);
    ASSERT_TRUE(arena_->Contains(*locator));
    ranges.push_back(RangeOf(*locator));
  }
  std::sort(ranges.begin(), ranges.end(), [](auto& a, auto& b) { return a.offset < b.offset; });
  for (size_t i = 1; i < ranges.size(); ++i) ASSERT_LE(ranges[i - 1].end(), ranges[i].offset);
  for (uint64_t n = 0; n < 5000; ++n) {
    const auto* e = store_->Find(MakeId(n));
    ASSERT_NE(e, nullptr);
    for (uint64_t i = 0; i < e->locator.size; ++i) {
      ASSERT_EQ(static_cast<char>(arena_->data(e->locator.offset)[i]), static_cast<char>(n));
    }
  }
}

TEST_F(ClientTest, ALargeObjectHasAnExtentOfItsOwnThatComesBackWhole) {
  Start(64 << 20);
  auto c = NewClient(1);
  const uint64_t before = store_->used_bytes();
  auto locator = Put(c.get(), MakeId(1), 5'000'001);
  ASSERT_TRUE(locator);
  EXPECT_EQ(store_->used_bytes() - before, FootprintBytes(5'000'001));
  EXPECT_EQ(c->unused_bytes(), 0u);
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->used_bytes(), before);
  auto again = Put(c.get(), MakeId(2), 5'000'001);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->offset, locator->offset) << "the pages this client has mapped";
}

TEST_F(ClientTest, ObjectsOfZeroBytes) {
  Start(1 << 20);
  auto c = NewClient(1);
  auto a = Put(c.get(), MakeId(1), 0), b = Put(c.get(), MakeId(2), 0);
  ASSERT_TRUE(a && b);
  EXPECT_NE(a->offset, b->offset);
  EXPECT_EQ(c->Pin(*a, MakeId(1), 0), PinResult::kPinned);
  EXPECT_EQ(c->CopyOut(*b, MakeId(2), 0, nullptr), PinResult::kPinned);
  store_->Free(MakeId(1), 0);
  EXPECT_TRUE(store_->sweep_needed());
  c->Unpin(*a);
  EXPECT_EQ(store_->Sweep(), 1u);
}

TEST_F(ClientTest, AbortGivesTheMemoryToTheNextObject) {
  Start(64 << 20);
  auto c = NewClient(1);
  auto small = Create(c.get(), MakeId(1), 1000);
  ASSERT_TRUE(small);
  c->Abort(*small);
  EXPECT_EQ(Create(c.get(), MakeId(2), 1000)->offset, small->offset);
  auto large = Create(c.get(), MakeId(3), 2 << 20);
  ASSERT_TRUE(large);
  c->Abort(*large);
  EXPECT_EQ(Create(c.get(), MakeId(4), 2 << 20)->offset, large->offset);
  auto first = Create(c.get(), MakeId(5), 100);
  ASSERT_TRUE(Create(c.get(), MakeId(6), 100));
  c->Abort(*first);  // in the middle of the extent: goes back by itself
  const auto retired = c->TakeRetired();
  ASSERT_EQ(retired.size(), 1u);
  EXPECT_TRUE(store_->ReturnExtent(1, 1, retired[0]));
  EXPECT_FALSE(store_->ReturnExtent(1, 1, retired[0])) << "twice";
}

TEST_F(ClientTest, UnusedExtentsComeBackAndLeaveNothing) {
  Start(256 << 20);
  auto c = NewClient(1);
  std::vector<ObjectId> ids;
  for (uint64_t n = 0; n < 250; ++n) {
    ids.push_back(MakeId(n));
    ASSERT_TRUE(Put(c.get(), ids.back(), n * n * 20));
  }
  for (const Range& r : c->TakeUnusedExtents()) EXPECT_TRUE(store_->ReturnExtent(1, 1, r));
  EXPECT_EQ(c->unused_bytes(), 0u);
  EXPECT_EQ(store_->GetStats().leased_bytes, 0u);
  for (const ObjectId& id : ids) store_->Free(id, 0);
  EXPECT_EQ(store_->used_bytes(), 0u);
  EXPECT_EQ(store_->GetStats().largest_free_bytes, arena_->size());
}

TEST_F(ClientTest, TooLargeForTheArenaIsSaidAtOnce) {
  Start(1 << 20);
  auto c = NewClient(1);
  Locator locator;
  uint64_t extent_bytes;
  EXPECT_EQ(c->Create(MakeId(1), 0, 1 << 20, &locator, &extent_bytes), CreateResult::kTooLarge);
  EXPECT_EQ(c->Create(MakeId(1), 0, UINT64_MAX, &locator, &extent_bytes), CreateResult::kTooLarge);
}

TEST_F(ClientTest, PinningAGarbageLocatorIsRefused) {
  Start(1 << 20);
  auto c = NewClient(1);
  const ObjectId id = MakeId(1);
  for (const Locator& l :
       {Locator{kNode, 0, 0, 8}, Locator{kNode, 0, 63, 8}, Locator{kNode, 0, 2 << 20, 8},
        Locator{kNode, 0, 64, UINT64_MAX}, Locator{kNode, 9, 64, 8}, Locator{kNode, 0, 128, 8}}) {
    EXPECT_EQ(c->Pin(l, id, 0), PinResult::kGone);
    EXPECT_EQ(c->CopyOut(l, id, 0, nullptr), PinResult::kGone);
  }
  EXPECT_EQ(pins_->Live(1), 0u);
}

TEST_F(ClientTest, AFullPinTableLeavesCopies) {
  Start(8 << 20);
  auto c = NewClient(1);
  std::vector<std::pair<ObjectId, Locator>> pinned;
  for (uint64_t n = 1;; ++n) {
    auto locator = Put(c.get(), MakeId(n), 8, static_cast<char>(n));
    ASSERT_TRUE(locator);
    const PinResult r = c->Pin(*locator, MakeId(n), 0);
    if (r == PinResult::kPinned) {
      pinned.push_back({MakeId(n), *locator});
      continue;
    }
    ASSERT_EQ(r, PinResult::kTableFull);
    std::byte copy[8];
    ASSERT_EQ(c->CopyOut(*locator, MakeId(n), 0, copy), PinResult::kPinned);
    EXPECT_EQ(static_cast<char>(copy[7]), static_cast<char>(n));
    break;
  }
  EXPECT_GE(pinned.size(), 4096u);
  for (auto& [id, locator] : pinned) c->Unpin(locator);
  EXPECT_EQ(pins_->Live(1), 0u);
}

TEST_F(ClientTest, AForkedChildOfUserCodeCannotReleaseItsParentsPins) {
  Start(1 << 20);
  auto c = NewClient(1);
  auto locator = Put(c.get(), MakeId(1), 100);
  ASSERT_EQ(c->Pin(*locator, MakeId(1), 0), PinResult::kPinned);
  EXPECT_TRUE(InChild([&] {
    c->Unpin(*locator);
    return c->Pin(*locator, MakeId(1), 0) == PinResult::kGone && pins_->Live(1) == 1;
  }));
  EXPECT_EQ(pins_->Live(1), 1u);
  store_->Free(MakeId(1), 0);
  EXPECT_TRUE(store_->sweep_needed());
}

TEST_F(ClientTest, OtherProcessesReadWhatIsSealedAndTheirPinsOutliveFree) {
  Start(8 << 20);
  auto writer = NewClient(1);
  auto locator = Put(writer.get(), MakeId(1), 100'000, 'q');
  int ready[2], go[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(go), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    Client reader(arena_.get(), pins_.get(), kNode, 2);  // after the fork, as a worker of the zygote does
    char byte = 0;
    bool ok = reader.Pin(*locator, MakeId(1), 0) == PinResult::kPinned && write(ready[1], "r", 1) == 1 &&
              read(go[0], &byte, 1) == 1;
    for (uint64_t i = 0; i < locator->size; ++i)
      ok = ok && arena_->data(locator->offset)[i] == std::byte{'q'};
    ok = ok && reader.Pin(*locator, MakeId(1), 0) == PinResult::kGone;  // freed: no new pin
    reader.Unpin(*locator);
    _exit(ok ? 0 : 1);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  store_->Free(MakeId(1), 0);
  EXPECT_EQ(store_->Find(MakeId(1)), nullptr);
  EXPECT_TRUE(store_->sweep_needed());
  for (uint64_t n = 2; n < 40; ++n) ASSERT_TRUE(Put(writer.get(), MakeId(n), 100'000, 'z'));
  ASSERT_EQ(write(go[1], "g", 1), 1);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(store_->Sweep(), 1u);
  EXPECT_FALSE(store_->sweep_needed());
}

}  // namespace
}  // namespace rmpi::objstore
