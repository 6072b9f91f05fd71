// SPDX-License-Identifier: Apache-2.0
// The allocator against a model that knows each 64-byte unit and each page.
#include "objstore/allocator.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace rmpi::objstore {
namespace {

constexpr uint64_t kUnits = 1024;
constexpr uint64_t kUnitsPerPage = 4096 / kAlignment;

struct Model {
  std::vector<char> free = std::vector<char>(kUnits, 1);
  std::vector<char> cold = std::vector<char>(kUnits, 1);

  // The longest run of free units; of warm ones only, if asked.
  uint64_t Longest(bool warm_only) const {
    uint64_t longest = 0, run = 0;
    for (uint64_t i = 0; i < kUnits; ++i) {
      run = free[i] && !(warm_only && cold[i]) ? run + 1 : 0;
      longest = std::max(longest, run);
    }
    return longest;
  }
  bool All(const std::vector<char>& what, uint64_t first, uint64_t n, bool value) const {
    for (uint64_t i = first; i < first + n; ++i) {
      if ((what[i] != 0) != value) return false;
    }
    return true;
  }
  void Set(uint64_t first, uint64_t n, bool value) {
    for (uint64_t i = first; i < first + n; ++i) free[i] = value;
  }
};

class RandomWalk {
 public:
  explicit RandomWalk(uint32_t seed) : random_(seed) {}

  void Step() {
    const uint32_t what = random_() % 100;
    if (what < 42) {
      Allocate();
    } else if (what < 82) {
      Free();
    } else if (what < 90) {
      AllocateAt();
    } else if (what < 92) {
      MarkWarm();
    } else if (what == 92 && random_() % 20 == 0) {
      FreeAll();
    }
    uint64_t free = 0;
    if (++steps_ % 50 != 0) return;
    for (char f : model_.free) free += f != 0;
    ASSERT_EQ(allocator_.free_bytes(), free * kAlignment);
    ASSERT_EQ(allocator_.largest_free(), model_.Longest(false) * kAlignment);
    uint64_t cold = 0;
    for (char c : model_.cold) cold += c != 0;
    ASSERT_EQ(allocator_.cold_bytes(), cold * kAlignment);
  }

  void FreeAll() {
    while (!live_.empty()) Free();
  }
  const Allocator& allocator() const { return allocator_; }

 private:
  uint64_t RandomUnits() { return random_() % 8 == 0 ? 1 + random_() % 250 : 1 + random_() % 24; }

  void Allocate() {
    const uint64_t units = RandomUnits();
    const uint64_t warm = model_.Longest(true), any = model_.Longest(false);
    const uint64_t bytes = units * kAlignment - random_() % kAlignment;
    const auto offset = allocator_.Allocate(bytes);
    ASSERT_EQ(offset.has_value(), units <= any) << units << " units wanted, longest free run " << any;
    if (!offset) return;
    const uint64_t first = *offset / kAlignment;
    ASSERT_LE(first + units, kUnits);
    ASSERT_TRUE(model_.All(model_.free, first, units, true));
    if (units <= warm) {
      ASSERT_TRUE(model_.All(model_.cold, first, units, false)) << "cold memory, though warm fits";
    }
    model_.Set(first, units, false);
    live_.push_back({*offset, units * kAlignment});
  }

  void AllocateAt() {
    const uint64_t units = RandomUnits(), first = random_() % kUnits;
    const bool fits = first + units <= kUnits && model_.All(model_.free, first, units, true);
    ASSERT_EQ(allocator_.AllocateAt({first * kAlignment, units * kAlignment}), fits);
    if (!fits) return;
    model_.Set(first, units, false);
    live_.push_back({first * kAlignment, units * kAlignment});
  }

  void Free() {
    if (live_.empty()) return;
    std::swap(live_[random_() % live_.size()], live_.back());
    Range range = live_.back();
    live_.pop_back();
    if (range.bytes > kAlignment && random_() % 3 == 0) {  // in two parts, as an extent of several objects
      const uint64_t head = (1 + random_() % (range.bytes / kAlignment - 1)) * kAlignment;
      live_.push_back({range.offset + head, range.bytes - head});
      range.bytes = head;
    }
    allocator_.Free(range);
    model_.Set(range.offset / kAlignment, range.bytes / kAlignment, true);
  }

  void MarkWarm() {
    const uint64_t first = random_() % kUnits, units = 1 + random_() % std::min<uint64_t>(40, kUnits - first);
    allocator_.MarkWarm({first * kAlignment, units * kAlignment});
    const uint64_t begin = first / kUnitsPerPage * kUnitsPerPage;
    for (uint64_t i = begin; i < RoundUp(first + units, kUnitsPerPage); ++i) model_.cold[i] = false;
  }

  std::mt19937 random_;
  Allocator allocator_{kUnits * kAlignment};
  Model model_;
  std::vector<Range> live_;
  uint64_t steps_ = 0;
};

TEST(AllocatorTest, AgreesWithAModelOverRandomOperations) {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomWalk walk(seed);
    for (int i = 0; i < 30'000; ++i) {
      walk.Step();
      if (testing::Test::HasFatalFailure()) return;
    }
    walk.FreeAll();
    EXPECT_EQ(walk.allocator().used_bytes(), 0u);
    EXPECT_EQ(walk.allocator().largest_free(), kUnits * kAlignment);
  }
}

TEST(AllocatorTest, TheMostRecentlyFreedRangeOfASizeComesBackFirst) {
  Allocator a(1 << 20);
  std::vector<uint64_t> at;
  for (int i = 0; i < 6; ++i) at.push_back(*a.Allocate(4096));
  a.MarkWarm({0, 6 * 4096});
  a.Free({at[0], 4096});
  a.Free({at[4], 4096});
  a.Free({at[2], 4096});
  EXPECT_EQ(a.Allocate(4096), at[2]);
  EXPECT_EQ(a.Allocate(4096), at[4]);
  EXPECT_EQ(a.Allocate(4096), at[0]);
}

TEST(AllocatorTest, WarmAndColdNeighboursTogetherHoldWhatNeitherDoes) {
  Allocator a(64 << 10);
  a.MarkWarm({0, 32 << 10});
  EXPECT_EQ(a.NextCold(1 << 20), (Range{32 << 10, 32 << 10}));
  EXPECT_EQ(a.largest_free(), 64u << 10);
  EXPECT_EQ(a.Allocate(48 << 10), 0u);
  EXPECT_EQ(a.NextCold(4096), (Range{48 << 10, 4096}));
  EXPECT_EQ(a.Allocate((16 << 10) + 1), std::nullopt);
  EXPECT_EQ(a.Allocate(16 << 10), 48u << 10);
  EXPECT_EQ(a.free_bytes(), 0u);
  EXPECT_EQ(a.Allocate(0), std::nullopt);
}

TEST(AllocatorTest, RefusesSizesThatOverflow) {
  Allocator a(1 << 20);
  EXPECT_EQ(a.Allocate(UINT64_MAX), std::nullopt);
  EXPECT_EQ(a.Allocate(UINT64_MAX - 62), std::nullopt);
  EXPECT_FALSE(a.AllocateAt({64, UINT64_MAX - 63}));
  EXPECT_FALSE(a.AllocateAt({1, 64}));
  EXPECT_EQ(a.used_bytes(), 0u);
}

TEST(AllocatorDeathTest, FreeingTwiceAborts) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  Allocator a(1 << 20);
  const uint64_t at = *a.Allocate(4096);
  a.Free({at, 2048});
  EXPECT_DEATH(a.Free({at, 4096}), "free already");
  EXPECT_DEATH(a.Free({1 << 20, 64}), "outside");
}

}  // namespace
}  // namespace rmpi::objstore
