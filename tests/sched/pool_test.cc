// SPDX-License-Identifier: Apache-2.0
#include "sched/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace rmpi::sched {
namespace {

Amounts Gpu(double amount) { return {{"GPU", static_cast<int64_t>(amount * kResourceUnit + 0.5)}}; }

TEST(Pool, WholeDevicesAreTheFirstFreeOnes) {
  Pool pool(Gpu(4));
  EXPECT_EQ(pool.Take(Gpu(2)), (Devices{0, 1}));
  EXPECT_EQ(pool.Take(Gpu(1)), (Devices{2}));
  pool.Give(Gpu(2), {0, 1});
  EXPECT_EQ(pool.Take(Gpu(3)), (Devices{0, 1, 3}));
  EXPECT_FALSE(pool.Fits(Gpu(0.1)));
}

TEST(Pool, PartsShareTheFullestDeviceThatHasRoom) {
  Pool pool(Gpu(3));
  EXPECT_EQ(pool.Take(Gpu(0.5)), (Devices{0}));
  EXPECT_EQ(pool.Take(Gpu(1)), (Devices{1}));
  EXPECT_EQ(pool.Take(Gpu(0.3)), (Devices{0}));
  EXPECT_EQ(pool.Take(Gpu(0.6)), (Devices{2}));
  EXPECT_EQ(pool.Take(Gpu(0.2)), (Devices{0}));
  EXPECT_EQ(pool.Take(Gpu(0.4)), (Devices{2}));
}

TEST(Pool, NoLeaseHasPartsOfTwoDevices) {
  Pool pool(Gpu(2));
  pool.Take(Gpu(0.6));
  pool.Take(Gpu(0.6));
  EXPECT_EQ(AmountOf(pool.available(), "GPU"), 8000);
  EXPECT_FALSE(pool.Fits(Gpu(0.5)));
  EXPECT_TRUE(pool.Fits(Gpu(0.4)));
  EXPECT_FALSE(Pool(Gpu(4)).Fits(Gpu(1.5)));
}

TEST(Pool, KindsAreNumberedInOneRow) {
  const Amounts total = {{"CPU", 8 * kResourceUnit}, {"GPU", 2 * kResourceUnit}, {"NPU", 3 * kResourceUnit}};
  Pool pool(total);
  EXPECT_EQ(DeviceCount(total), 5U);
  const Amounts both = {{"CPU", kResourceUnit}, {"GPU", kResourceUnit}, {"NPU", 2 * kResourceUnit}};
  const Devices devices = pool.Take(both);
  EXPECT_EQ(devices, (Devices{0, 2, 3}));
  pool.Give(both, devices);
  EXPECT_EQ(pool.available(), total);
  for (uint32_t d = 0; d < 5; ++d) EXPECT_EQ(pool.free_of(d), kResourceUnit);
}

TEST(Pool, OtherResourcesAreNoDevices) {
  Pool pool({{"telescope", 2 * kResourceUnit}});
  EXPECT_EQ(pool.device_count(), 0U);
  EXPECT_TRUE(pool.Fits({{"telescope", 15000}}));
  EXPECT_TRUE(pool.Take({{"telescope", 15000}}).empty());
}

TEST(Pool, TheReportTellsWhatTheSumHides) {
  Pool pool(Gpu(2));
  EXPECT_EQ(pool.Report(), pool.available());
  pool.Take(Gpu(0.6));
  EXPECT_EQ(pool.Report(), pool.available()) << "1.4: one whole and 0.4, as it seems";
  pool.Take(Gpu(0.6));
  const Amounts report = pool.Report();
  EXPECT_FALSE(ReportFits(report, Gpu(0.5)));
  EXPECT_TRUE(ReportFits(report, Gpu(0.4)));
  EXPECT_EQ(WithoutHints(report), pool.available());
}

// Any lease that a model which tries every way can place is placed, and nothing else is.
class Model {
 public:
  explicit Model(size_t devices) : free_(devices, kResourceUnit) {}
  bool Fits(int64_t want) const {
    if (want < kResourceUnit)
      return std::any_of(free_.begin(), free_.end(), [&](int64_t f) { return f >= want; });
    if (want % kResourceUnit != 0) return false;
    for (uint32_t set = 0; set < 1U << free_.size(); ++set) {  // every set of devices
      int64_t whole = 0;
      bool all = true;
      for (size_t d = 0; d < free_.size(); ++d) {
        if ((set >> d & 1) == 0) continue;
        all = all && free_[d] == kResourceUnit;
        whole += kResourceUnit;
      }
      if (all && whole == want) return true;
    }
    return false;
  }
  void Change(const Devices& devices, int64_t by) {
    for (uint32_t d : devices) free_[d] += by;
  }
  const std::vector<int64_t>& free() const { return free_; }

 private:
  std::vector<int64_t> free_;
};

TEST(Pool, AgreesWithBruteForce) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const size_t count = 1 + random() % 5;
    Pool pool({{"GPU", static_cast<int64_t>(count) * kResourceUnit}});
    Model model(count);
    std::vector<std::pair<int64_t, Devices>> leases;
    for (int step = 0; step < 60; ++step) {
      if (!leases.empty() && random() % 3 == 0) {
        std::swap(leases[random() % leases.size()], leases.back());
        const auto [want, devices] = leases.back();
        leases.pop_back();
        pool.Give({{"GPU", want}}, devices);
        model.Change(devices, std::min(want, kResourceUnit));
      } else {
        const bool whole = random() % 3 == 0;
        const int64_t want = whole ? static_cast<int64_t>(1 + random() % 4) * kResourceUnit
                                   : static_cast<int64_t>(1 + random() % 20) * 1000;
        ASSERT_EQ(pool.Fits({{"GPU", want}}), model.Fits(want)) << want << " in round " << round;
        ASSERT_EQ(ReportFits(pool.Report(), {{"GPU", want}}), model.Fits(want))
            << want << " of " << ToString(pool.Report());
        if (!model.Fits(want)) continue;
        Amounts foreseen = pool.Report();
        TakeFromReport(&foreseen, {{"GPU", want}});
        const Devices devices = pool.Take({{"GPU", want}});
        ASSERT_EQ(devices.size(), static_cast<size_t>(std::max<int64_t>(1, want / kResourceUnit)));
        model.Change(devices, -std::min(want, kResourceUnit));
        leases.emplace_back(want, devices);
        // The head's forecast may know of less than there is, never of more.
        for (int64_t next = 1000; next <= 4 * kResourceUnit; next += 1000) {
          ASSERT_TRUE(!ReportFits(foreseen, {{"GPU", next}}) || pool.Fits({{"GPU", next}})) << next;
        }
      }
      ASSERT_EQ(WithoutHints(pool.Report()), pool.available());
      int64_t sum = 0;
      for (size_t d = 0; d < count; ++d) {
        ASSERT_GE(model.free()[d], 0) << "device " << d << " given out twice";
        ASSERT_LE(model.free()[d], kResourceUnit);
        ASSERT_EQ(model.free()[d], pool.free_of(static_cast<uint32_t>(d)));
        sum += model.free()[d];
      }
      ASSERT_EQ(sum, AmountOf(pool.available(), "GPU"));
    }
  }
}

}  // namespace
}  // namespace rmpi::sched
