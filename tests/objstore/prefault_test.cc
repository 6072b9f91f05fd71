// SPDX-License-Identifier: Apache-2.0
#include "objstore/prefault.h"

#include <sys/mman.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "tests/objstore/store_fixture.h"

namespace rmpi::objstore {
namespace {

uint64_t ResidentBytes(const Arena& arena) {
  std::vector<unsigned char> pages(arena.size() / 4096);
  EXPECT_EQ(mincore(arena.data(0), arena.size(), pages.data()), 0);
  uint64_t resident = 0;
  for (unsigned char p : pages) resident += p & 1;
  return resident * 4096;
}

// The control thread's part: sleeps until the prefaulter wakes it.
class Loop {
 public:
  void Wake() {
    std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }
  void Run(Prefaulter* p, Allocator* a) {
    while (p->Pump(a)) {
      std::unique_lock lock(mutex_);
      ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [this] { return woken_; }));
      woken_ = false;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

TEST(PrefaulterTest, WarmsTheBudgetAndNotAPageMore) {
  auto arena = MakeArena(32 << 20);
  Allocator allocator(arena->size());
  const auto used = allocator.Allocate(100'000);  // leased to somebody, untouched: not ours to warm
  Loop loop;
  Prefaulter p(arena.get(), {10 << 20, 1 << 20, 90, {}, [&] { loop.Wake(); }});
  loop.Run(&p, &allocator);
  EXPECT_LE(p.done_bytes(), 10u << 20);
  EXPECT_GT(p.done_bytes(), 9u << 20);
  EXPECT_LE(ResidentBytes(*arena), 10u << 20);
  EXPECT_GT(ResidentBytes(*arena), 9u << 20);
  EXPECT_LT(allocator.cold_bytes(), 23u << 20);
  allocator.Free({*used, RoundUp(100'000, 64)});
  const auto next = allocator.Allocate(8 << 20);
  ASSERT_TRUE(next);
  EXPECT_GT(*next, 0u) << "the first bytes are cold, warm ones go first";
}

TEST(PrefaulterTest, StopsWhenThereIsNoRoomLeft) {
  auto arena = MakeArena(32 << 20);
  Allocator allocator(arena->size());
  Loop loop;
  std::atomic<int> asked{0};
  Prefaulter p(arena.get(),
               {32 << 20, 1 << 20, 90, [&](uint64_t) { return ++asked <= 3; }, [&] { loop.Wake(); }});
  loop.Run(&p, &allocator);
  EXPECT_EQ(p.done_bytes(), 3u << 20);
  EXPECT_EQ(ResidentBytes(*arena), 3u << 20);
  EXPECT_FALSE(p.Pump(&allocator));
}

TEST(PrefaulterTest, KeepsWhatIsThereAndStopsAtOnce) {
  auto arena = MakeArena(8 << 20);
  std::memset(arena->data(0), 7, arena->size());
  Allocator allocator(arena->size());
  Loop loop;
  Prefaulter p(arena.get(), {8 << 20, 1 << 20, 50, {}, [&] { loop.Wake(); }});
  ASSERT_TRUE(p.Pump(&allocator));
  p.Stop();
  while (p.Pump(&allocator)) {
  }
  for (uint64_t i = 0; i < arena->size(); ++i) ASSERT_EQ(arena->data(0)[i], std::byte{7});
}

}  // namespace
}  // namespace rmpi::objstore
