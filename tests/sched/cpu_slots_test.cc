// SPDX-License-Identifier: Apache-2.0
#include "sched/cpu_slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace rmpi::sched {
namespace {

// Two domains of two cores with two CPUs each, numbered as Linux often does: 0-3 first of each core, 4-7
// second.
std::vector<CpuPlace> Machine() {
  return {{0, 0, 0}, {4, 0, 0}, {1, 1, 0}, {5, 1, 0}, {2, 2, 1}, {6, 2, 1}, {3, 3, 1}, {7, 3, 1}};
}

TEST(CpuSlotsTest, WholeCoresOfOneDomain) {
  CpuSlots slots(Machine());
  EXPECT_EQ(slots.Take(2, {}, kAnyNuma), (CpuSet{0, 4}));
  EXPECT_EQ(slots.Take(4, {}, kAnyNuma), (CpuSet{2, 3, 6, 7})) << "the other domain has as many";
  EXPECT_EQ(slots.Take(2, {}, kAnyNuma), (CpuSet{1, 5}));
  EXPECT_EQ(slots.free_count(), 0U);
}

TEST(CpuSlotsTest, TheDomainThatHasLeastToSpare) {
  CpuSlots slots(Machine());
  ASSERT_EQ(slots.Take(1, {}, 1), (CpuSet{2}));
  EXPECT_EQ(slots.Take(1, {}, kAnyNuma), (CpuSet{3})) << "a core of its own in the domain that is in use";
  EXPECT_EQ(slots.Take(4, {}, kAnyNuma), (CpuSet{0, 1, 4, 5}));
}

TEST(CpuSlotsTest, NearTheDeviceIfThereIsRoom) {
  CpuSlots slots(Machine());
  EXPECT_EQ(slots.Take(2, {}, 1), (CpuSet{2, 6}));
  EXPECT_EQ(slots.Take(3, {}, 1).size(), 3U);
  EXPECT_EQ(slots.NumaOf(slots.Take(1, {}, 1).front()), 1) << "one is left there";
}

TEST(CpuSlotsTest, AcrossDomainsWhenNoneHasAll) {
  CpuSlots slots(Machine());
  EXPECT_EQ(slots.Take(6, {}, 1), (CpuSet{0, 2, 3, 4, 6, 7}));
}

TEST(CpuSlotsTest, WhatTheWorkerHadBefore) {
  CpuSlots slots(Machine());
  EXPECT_EQ(slots.Take(2, {3, 7}, kAnyNuma), (CpuSet{3, 7}));
  EXPECT_EQ(slots.Take(2, {3, 7}, kAnyNuma), (CpuSet{2, 6})) << "others have it now";
  slots.Give({3, 7});
  EXPECT_EQ(slots.Take(2, {3, 7}, 0), (CpuSet{0, 4})) << "it is far from the device";
  EXPECT_EQ(slots.Take(1, {3, 7}, kAnyNuma).size(), 1U);
}

TEST(CpuSlotsTest, TooFewAreNone) {
  CpuSlots slots(Machine());
  EXPECT_TRUE(slots.Take(9, {}, kAnyNuma).empty());
  EXPECT_TRUE(slots.Take(0, {}, kAnyNuma).empty());
  EXPECT_TRUE(CpuSlots({}).Take(1, {}, kAnyNuma).empty());
  EXPECT_EQ(slots.free_count(), 8U);
}

// Random takes and gives on random machines: no CPU twice, as many as asked for or none, and of one domain
// whenever one has as many free.
TEST(CpuSlotsTest, AgainstAModel) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    std::mt19937 engine(seed);
    const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine); };
    const int domains = 1 + below(4), cores = 1 + below(4), threads = 1 + below(2);
    std::vector<CpuPlace> places;
    for (int i = 0; i < domains * cores * threads; ++i)
      places.push_back({i, i / threads, i / threads / cores});
    std::vector<int> numbers(places.size());
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int>(i);
    std::shuffle(numbers.begin(), numbers.end(), engine);
    for (size_t i = 0; i < places.size(); ++i) places[i].cpu = numbers[i];
    std::map<int, int> numa_of;
    for (const CpuPlace& p : places) numa_of[p.cpu] = p.numa;

    CpuSlots slots(places);
    std::set<int> free(numbers.begin(), numbers.end());
    std::vector<CpuSet> taken;
    CpuSet last;
    for (int step = 0; step < 60; ++step) {
      if (!taken.empty() && below(3) == 0) {
        const auto i = static_cast<size_t>(below(static_cast<int>(taken.size())));
        slots.Give(taken[i]);
        free.insert(taken[i].begin(), taken[i].end());
        taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      const int count = 1 + below(6), near = below(domains + 1) - 1;
      std::map<int, int> free_in;
      for (int cpu : free) ++free_in[numa_of[cpu]];
      const CpuSet got = slots.Take(static_cast<uint32_t>(count), last, near);
      ASSERT_EQ(got.size(), free.size() >= static_cast<size_t>(count) ? static_cast<size_t>(count) : 0U);
      if (got.empty()) continue;
      ASSERT_TRUE(std::is_sorted(got.begin(), got.end()));
      for (int cpu : got) ASSERT_EQ(free.erase(cpu), 1U) << "seed " << seed;
      std::set<int> used;
      for (int cpu : got) used.insert(numa_of[cpu]);
      const bool one_has =
          std::any_of(free_in.begin(), free_in.end(), [&](auto& d) { return d.second >= count; });
      if (got != last && one_has) {
        ASSERT_EQ(used.size(), 1U) << "seed " << seed;
      }
      if (near >= 0 && free_in[near] >= count) {
        ASSERT_EQ(used, std::set<int>{near}) << "seed " << seed;
      }
      taken.push_back(got);
      last = got;
    }
    ASSERT_EQ(slots.free_count(), free.size());
  }
}

}  // namespace
}  // namespace rmpi::sched
