// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/cgroup.h"

#include <gmock/gmock.h>

#include "tests/node/fake_root.h"

namespace rmpi {
namespace {

using testing::ElementsAre;
using testing::Optional;

constexpr char kV2[] = "/sys/fs/cgroup/slurm/job_7";

TEST(Cgroup2, SmallestLimitOfAllAncestorsCounts) {
  FakeRoot root;
  root.UseCgroup2();
  root.Write(std::string(kV2) + "/step_0/memory.max", "max\n");
  root.Write(std::string(kV2) + "/memory.max", "4294967296\n");
  root.Write(std::string(kV2) + "/memory.current", "2147483648\n");
  root.Write(std::string(kV2) + "/memory.stat", "anon 5\ninactive_file 1073741824\n");
  root.Write("/sys/fs/cgroup/slurm/memory.max", "8589934592\n");
  root.Write(std::string(kV2) + "/cpuset.cpus.effective", "2-5\n");
  root.Write("/sys/fs/cgroup/slurm/cpuset.cpus.effective", "0-7\n");
  root.Write("/sys/fs/cgroup/slurm/cpu.max", "250000 100000\n");
  root.Write(std::string(kV2) + "/cpu.max", "max 100000\n");
  CgroupLimits limits = ReadCgroupLimits(root.path());
  EXPECT_THAT(limits.memory_bytes, Optional(4 * kGiB));
  EXPECT_THAT(limits.memory_left_bytes, Optional(3 * kGiB));  // inactive file pages count as free
  EXPECT_THAT(limits.cpus, Optional(ElementsAre(2, 3, 4, 5)));
  EXPECT_THAT(limits.cpu_quota, Optional(2.5));
}

TEST(Cgroup2, TheFullerAncestorDecidesWhatIsLeft) {
  FakeRoot root;
  root.UseCgroup2();
  root.Write(std::string(kV2) + "/memory.max", "4294967296\n");
  root.Write(std::string(kV2) + "/memory.current", "0\n");
  root.Write("/sys/fs/cgroup/slurm/memory.max", "8589934592\n");
  root.Write("/sys/fs/cgroup/slurm/memory.current", "8589934592\n");
  CgroupLimits limits = ReadCgroupLimits(root.path());
  EXPECT_THAT(limits.memory_bytes, Optional(4 * kGiB));
  EXPECT_THAT(limits.memory_left_bytes, Optional(uint64_t{0}));
}

TEST(Cgroup1, LimitsOfEachHierarchy) {
  FakeRoot root;
  root.UseCgroup1();
  root.Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.Write("/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes", "3221225472\n");
  root.Write("/sys/fs/cgroup/memory/slurm/job_7/memory.usage_in_bytes", "1073741824\n");
  root.Write("/sys/fs/cgroup/memory/slurm/job_7/memory.stat",
             "inactive_file 5\ntotal_inactive_file 1073741824\n");
  root.Write("/sys/fs/cgroup/memory/slurm/job_7/step_0/memory.limit_in_bytes", "9223372036854771712\n");
  root.Write("/sys/fs/cgroup/cpuset/slurm/job_7/cpuset.cpus", "0-1,8-9\n");
  root.Write("/sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us", "300000\n");
  root.Write("/sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us", "100000\n");
  root.Write("/sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "-1\n");
  CgroupLimits limits = ReadCgroupLimits(root.path());
  EXPECT_THAT(limits.memory_bytes, Optional(3 * kGiB));
  EXPECT_THAT(limits.memory_left_bytes, Optional(3 * kGiB));
  EXPECT_THAT(limits.cpus, Optional(ElementsAre(0, 1, 8, 9)));
  EXPECT_THAT(limits.cpu_quota, Optional(3.0));
}

TEST(Cgroup, ContainerSeesOnlyItsPartOfTheTree) {
  FakeRoot root;
  root.Write("/proc/self/cgroup", "4:memory:/docker/abc/inner\n");
  root.Write("/proc/self/mountinfo",
             "33 30 0:29 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  root.Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
  root.Write("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1073741824\n");
  EXPECT_THAT(ReadCgroupLimits(root.path()).memory_bytes, Optional(kGiB));
  // Started from outside: the path leads out of what is mounted, so the mounted root is all there is.
  root.Write("/proc/self/cgroup", "4:memory:/../elsewhere\n");
  EXPECT_THAT(ReadCgroupLimits(root.path()).memory_bytes, Optional(2 * kGiB));
}

TEST(Cgroup, NoneAtAll) {
  FakeRoot root;
  CgroupLimits limits = ReadCgroupLimits(root.path());
  EXPECT_FALSE(limits.cpus || limits.cpu_quota || limits.memory_bytes || limits.memory_left_bytes);
}

}  // namespace
}  // namespace rmpi
