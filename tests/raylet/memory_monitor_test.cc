// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/memory_monitor.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/node/fake_root.h"

namespace rmpi {
namespace {

using testing::HasSubstr;
using testing::Optional;

OomCandidate Candidate(bool retriable, uint64_t started_ns, uint64_t mib = 100) {
  OomCandidate c;
  c.retriable = retriable;
  c.started_ns = started_ns;
  c.own_bytes = mib << 20;
  return c;
}

TEST(OomPolicy, RetriableFirstThenTheNewest) {
  EXPECT_THAT(ChooseVictim({Candidate(false, 9), Candidate(true, 1), Candidate(true, 5), Candidate(true, 3)}),
              Optional(size_t{2}));
  EXPECT_THAT(ChooseVictim({Candidate(false, 4), Candidate(false, 9), Candidate(false, 5)}),
              Optional(size_t{1}));
}

TEST(OomPolicy, WhoseEndGivesNothingBackStays) {
  EXPECT_THAT(ChooseVictim({Candidate(true, 9, 1), Candidate(false, 5, 500)}), Optional(size_t{1}));
  EXPECT_EQ(ChooseVictim({Candidate(true, 9, 1)}), std::nullopt);
  EXPECT_EQ(ChooseVictim({}), std::nullopt);
}

TEST(MemoryMonitor, TheFullestLimitCounts) {
  FakeRoot root;  // 12 of 16 GiB are available
  root.UseCgroup2();
  MemoryUse use = ReadMemoryUse(root.path());
  EXPECT_EQ(use.limit, "the machine");
  EXPECT_EQ(use.used_bytes, 4 * kGiB);
  root.Write("/sys/fs/cgroup/slurm/job_7/memory.max", "4294967296\n");
  root.Write("/sys/fs/cgroup/slurm/job_7/memory.current", "4187593113\n");
  root.Write("/sys/fs/cgroup/slurm/job_7/memory.stat", "anon 5\ninactive_file 0\n");
  use = ReadMemoryUse(root.path());
  EXPECT_THAT(use.limit, HasSubstr("/slurm/job_7"));
  EXPECT_NEAR(use.fraction(), 0.975, 1e-6);
}

TEST(MemoryMonitor, ActsAboveTheThresholdAndAtItsPace) {
  FakeRoot root;
  root.UseCgroup1();
  const std::string group = "/sys/fs/cgroup/memory/slurm/job_7/step_0";
  root.Write(group + "/memory.limit_in_bytes", "1000000000\n");
  root.Write(group + "/memory.usage_in_bytes", "940000000\n");
  MemoryMonitor monitor(root.path());
  EXPECT_EQ(monitor.Check(kSecond), std::nullopt);
  root.Write(group + "/memory.usage_in_bytes", "960000000\n");
  EXPECT_EQ(monitor.Check(kSecond + 100 * kMillisecond), std::nullopt) << "not yet";
  ASSERT_TRUE(monitor.Check(kSecond + 250 * kMillisecond).has_value());
  monitor.Killed(2 * kSecond);
  EXPECT_EQ(monitor.Check(2 * kSecond + 500 * kMillisecond), std::nullopt)
      << "the victim has to be gone first";
  EXPECT_TRUE(monitor.Check(3 * kSecond).has_value());
}

TEST(MemoryMonitor, RaysSettings) {
  FakeRoot root;
  ::setenv("RAY_memory_usage_threshold", "0.2", 1);
  MemoryMonitor low(root.path());
  const auto use = low.Check(kSecond);
  ASSERT_TRUE(use.has_value());
  OomCandidate victim = Candidate(true, 1);
  victim.name = "simulate";
  root.Write("/proc/77/status", "Name:\tpython\nRssAnon:\t  2048 kB\n");
  root.Write("/proc/77/cmdline", "python app.py\n");
  const std::string text = low.Reason(victim, *use, 3);
  EXPECT_THAT(text, HasSubstr("4096.0 MiB of 16384.0 MiB are in use (25.0 %, the limit of the machine)"));
  EXPECT_THAT(text, HasSubstr("newest retriable task, 'simulate'"));
  EXPECT_THAT(text, HasSubstr("77      2.0 MiB  python app.py"));
  ::setenv("RAY_memory_usage_threshold", "much", 1);
  EXPECT_EQ(MemoryMonitor(root.path()).Check(kSecond), std::nullopt) << "the default";
  ::unsetenv("RAY_memory_usage_threshold");
  ::setenv("RAY_memory_monitor_refresh_ms", "0", 1);
  EXPECT_EQ(MemoryMonitor(root.path()).NextDeadline(), kNever);
  ::unsetenv("RAY_memory_monitor_refresh_ms");
}

}  // namespace
}  // namespace rmpi
