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

TEST(Gpus, AContainerHasThoseInItsDev) {
  FakeRoot root;
  for (int i = 0; i < 4; ++i) {
    const std::string n = std::to_string(i);
    root.Write("/proc/driver/nvidia/gpus/0000:0" + n + ":00.0/information",
               "Model: \t\t NVIDIA H200\nIRQ:   \t\t 255\nDevice Minor: \t " + n + "\n");
  }
  root.Write("/dev/nvidia2", "");
  root.Write("/dev/nvidiactl", "");
  const GpuGrant grant = GrantGpus({}, root.path(), 0, 1);
  EXPECT_THAT(grant.ids, ElementsAre("0"));
  EXPECT_EQ(grant.type, "H200");
  EXPECT_FALSE(grant.masked);
  EXPECT_TRUE(GrantGpus({{"CUDA_VISIBLE_DEVICES", "0"}}, root.path(), 0, 1).masked);
}

TEST(Gpus, DevAloneIsEnough) {
  FakeRoot root;
  for (const char* name : {"nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"})
    root.Write(std::string("/dev/") + name, "");
  EXPECT_THAT(GrantGpus({}, root.path(), 0, 1).ids, ElementsAre("0", "1"));
}

TEST(Gpus, MasksOfAmd) {
  FakeRoot root;
  root.Write("/dev/kfd", "");
  root.Write("/sys/class/kfd/kfd/topology/nodes/0/gpu_id", "0\n");
  root.Write("/sys/class/kfd/kfd/topology/nodes/1/gpu_id", "51245\n");
  EXPECT_THAT(GrantGpus({}, root.path(), 0, 1).ids, ElementsAre("0"));
  EXPECT_EQ(GrantGpus({}, root.path(), 0, 1).variable, "HIP_VISIBLE_DEVICES");
  const GpuGrant both =
      GrantGpus({{"ROCR_VISIBLE_DEVICES", "4,5"}, {"HIP_VISIBLE_DEVICES", "1"}}, root.path(), 0, 1);
  EXPECT_EQ(both.variable, "HIP_VISIBLE_DEVICES");
  EXPECT_THAT(both.ids, ElementsAre("1"));
}

TEST(Gpus, NamesOfModels) {
  EXPECT_EQ(AcceleratorType("NVIDIA H200"), "H200");
  EXPECT_EQ(AcceleratorType("NVIDIA A100-SXM4-40GB"), "A100");
  EXPECT_EQ(AcceleratorType("Tesla V100-SXM2-16GB"), "V100");
  EXPECT_EQ(AcceleratorType("NVIDIA RTX PRO 6000 Blackwell Server Edition"), "RTX-PRO-6000");
  EXPECT_EQ(AcceleratorType("NVIDIA GeForce RTX 5090"), "GeForce-RTX-5090");
  EXPECT_EQ(AcceleratorType(""), "");
}

}  // namespace
}  // namespace rmpi
