// SPDX-License-Identifier: Apache-2.0
// What a node does with the demand of many owners, against a model that looks at everything.
#include <algorithm>
#include <map>
#include <random>

#include "tests/sched/local_fixture.h"

namespace rmpi::sched {
namespace {

class LocalDemandTest : public LocalSchedulerTest {
 protected:
  using Key = std::pair<Address, uint32_t>;

  void Want(const Address& owner, uint32_t key, const Amounts& resources, uint64_t more, uint32_t depth = 0) {
    LeaseRequest& m = wants_[{owner, key}];
    m = Wants(static_cast<uint32_t>(m.wanted + more), key, depth);
    m.shape.resources = resources;
    scheduler_->OnLeaseRequest(owner, m, now_);
  }
  // What has been granted since the last call.
  void Count() {
    for (; seen_ < grants_.size(); ++seen_) {
      const auto& [owner, g] = grants_[seen_];
      ++granted_[{owner, g.shape_key}];
      held_.push_back(g.lease);
    }
  }
  void Return(size_t i) {
    std::swap(held_.at(i), held_.back());
    const uint64_t lease = held_.back();
    held_.pop_back();
    scheduler_->OnLeaseReturn(lease, WorkerAfter::kIdle, now_);
    Count();
  }
  uint64_t Waits(const Key& key) { return wants_[key].wanted - granted_[key]; }

  std::map<Key, LeaseRequest> wants_;
  std::map<Key, uint64_t> granted_;
  std::vector<uint64_t> held_;
  size_t seen_ = 0;
};

const Amounts kOneCpu = {{"CPU", kResourceUnit}};

TEST_F(LocalDemandTest, NothingWaitsForWhatIsThere) {
  const std::vector<Amounts> shapes = {kOneCpu,
                                       {{"CPU", 3 * kResourceUnit}},
                                       {{"CPU", 100 * kResourceUnit}},
                                       {{"CPU", kResourceUnit / 2}, {"GPU", kResourceUnit / 2}},
                                       {{"CPU", kResourceUnit}, {"GPU", kResourceUnit}}};
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto any = [&](size_t n) { return static_cast<uint32_t>(random() % n); };
    wants_.clear(), granted_.clear(), held_.clear(), grants_.clear(), seen_ = 0;
    Start(8, 2);
    AddWorkers(100);  // some for each pair of devices
    for (int step = 0; step < 80; ++step) {
      if (any(2) == 0 && !held_.empty()) {
        Return(any(held_.size()));
      } else {
        const uint32_t key = any(shapes.size());
        Want({1, static_cast<uint16_t>(1 + any(5)), 0, 1}, key, shapes[key], 1 + any(6), any(2));
        Count();
      }
      for (const auto& [key, m] : wants_) {
        ASSERT_LE(granted_[key], m.wanted);
        ASSERT_TRUE(Waits(key) == 0 || !scheduler_->pool().Fits(m.shape.resources))
            << ToString(m.shape.resources) << " waits, and " << ToString(scheduler_->available())
            << " is free";
      }
    }
    while (!held_.empty()) Return(0);
    for (const auto& [key, m] : wants_) {
      ASSERT_EQ(Waits(key), key.second == 2 ? m.wanted : 0U) << ToString(m.shape.resources);
    }
    ASSERT_EQ(scheduler_->available(), scheduler_->total());
  }
}

TEST_F(LocalDemandTest, OwnersTakeTurns) {
  constexpr uint32_t kOwners = 100;
  Start(4);
  AddWorkers(4);
  for (uint16_t i = 1; i <= kOwners; ++i) Want({1, i, 0, 1}, 1, kOneCpu, 1000);
  Count();
  for (int i = 0; i < 2000; ++i) Return(static_cast<size_t>(i) % held_.size());
  for (const auto& [key, n] : granted_) EXPECT_NEAR(static_cast<double>(n), 2000.0 / kOwners, 4.0);
}

TEST_F(LocalDemandTest, ClassesTakeTurnsAndDeeperOnesGoFirst) {
  Start(2);
  AddWorkers(2);
  Want(kOwner, 1, {{"CPU", 100 * kResourceUnit}}, 1);
  Want(kOwner, 2, kOneCpu, 1000);
  Want(kOther, 3, {{"CPU", kResourceUnit}, {"memory", 0}}, 10);
  Count();
  for (int i = 0; i < 25; ++i) Return(0);
  EXPECT_EQ(Waits({kOther, 3}), 0U) << "behind a thousand of another class";
  Want(kOther, 4, kOneCpu, 3, 1);
  for (int i = 0; i < 3; ++i) Return(0);
  EXPECT_EQ(Waits({kOther, 4}), 0U);
}

// Ever so many owners wait, and one lease comes back and goes out again and again.
TEST_F(LocalDemandTest, AStepCostsNoLookAtAllOwners) {
  const auto cost = [&](uint32_t owners) {
    wants_.clear(), granted_.clear(), held_.clear(), grants_.clear(), seen_ = 0;
    Start(4);
    AddWorkers(4);
    for (uint32_t i = 0; i < owners; ++i)
      Want({1 + i / 1000, static_cast<uint16_t>(1 + i % 1000), 0, 1}, 1, kOneCpu, 100'000);
    Count();
    timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t lease = grants_.back().second.lease;
      scheduler_->OnLeaseReturn(lease, WorkerAfter::kIdle, now_);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    EXPECT_GE(grants_.size(), 20'000U);
    return static_cast<double>(end.tv_sec - begin.tv_sec) +
           1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
  };
  EXPECT_LT(cost(10'000), 10 * cost(100)) << "colder memory; a look at all would be 100 times as much";
}

}  // namespace
}  // namespace rmpi::sched
