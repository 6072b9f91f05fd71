// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/gpus.h"

#include <gmock/gmock.h>

#include "tests/node/fake_root.h"

namespace rmpi {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Gpus, VisibleDevices) {
  FakeRoot root;
  auto ids = [&](const Environment& env) { return GrantGpus(env, root.path(), 0, 1).ids; };
  EXPECT_THAT(ids({{"CUDA_VISIBLE_DEVICES", "2,GPU-8f1a"}}), ElementsAre("2", "GPU-8f1a"));
  EXPECT_THAT(ids({{"CUDA_VISIBLE_DEVICES", ""}}), IsEmpty());
  EXPECT_THAT(ids({{"CUDA_VISIBLE_DEVICES", "NoDevFiles"}}), IsEmpty());
  EXPECT_THAT(ids({{"CUDA_VISIBLE_DEVICES", "0,-1,2"}}), ElementsAre("0"));
  EXPECT_THAT(ids({{"SLURM_GPUS_ON_NODE", "2"}, {"SLURM_JOB_ID", "1"}}), ElementsAre("0", "1"));
  EXPECT_THAT(ids({}), IsEmpty());
}

TEST(Gpus, RanksOfAHostDivideThem) {
  FakeRoot root;
  const Environment env = {{"CUDA_VISIBLE_DEVICES", "0,1,2"}, {"SLURM_GPUS_ON_NODE", "3"}};
  EXPECT_THAT(GrantGpus(env, root.path(), 0, 2).ids, ElementsAre("0"));
  EXPECT_THAT(GrantGpus(env, root.path(), 1, 2).ids, ElementsAre("1", "2"));
}

TEST(Gpus, RanksThatHaveTheirOwnKeepThem) {
  FakeRoot root;
  EXPECT_THAT(GrantGpus({{"CUDA_VISIBLE_DEVICES", "1"}, {"SLURM_GPUS_ON_NODE", "2"}}, root.path(), 1, 2).ids,
              ElementsAre("1"));
  EXPECT_THAT(GrantGpus({{"CUDA_VISIBLE_DEVICES", "0"}, {"SLURM_GPUS_PER_TASK", "1"}}, root.path(), 1, 2).ids,
              ElementsAre("0"));
}

TEST(Gpus, AmdMachine) {
  FakeRoot root;
  root.Write("/dev/kfd", "");
  GpuGrant grant =
      GrantGpus({{"CUDA_VISIBLE_DEVICES", "0"}, {"ROCR_VISIBLE_DEVICES", "0,1"}}, root.path(), 0, 1);
  EXPECT_THAT(grant.ids, ElementsAre("0", "1"));
  EXPECT_EQ(grant.variable, "ROCR_VISIBLE_DEVICES");
}

TEST(Gpus, DriversOwnCountOnlyOutsideOfAJob) {
  FakeRoot root;
  root.Write("/proc/driver/nvidia/gpus/0000:01:00.0/information", "");
  root.Write("/proc/driver/nvidia/gpus/0000:02:00.0/information", "");
  EXPECT_THAT(GrantGpus({}, root.path(), 0, 1).ids, ElementsAre("0", "1"));
  EXPECT_THAT(GrantGpus({{"SLURM_JOB_ID", "1"}}, root.path(), 0, 1).ids, IsEmpty());
}

}  // namespace
}  // namespace rmpi
