// SPDX-License-Identifier: Apache-2.0
#include "launcher/resources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rmpi::launcher {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

class ResourcesTest : public testing::Test {
 protected:
  ResourcesTest() {
    node_.cpus = 4;
    node_.gpu_variable = "CUDA_VISIBLE_DEVICES";
  }
  void Have(std::vector<std::string> gpus, bool masked, const std::string& type = "") {
    node_.gpus = static_cast<double>(gpus.size());
    node_.gpu_ids = std::move(gpus);
    node_.gpus_masked = masked;
    node_.gpu_type = type;
  }
  Status Decide(const Environment& environment = {}) {
    if (Status s = DecideResources(options_, node_, &raylet_, &notices_); !s.ok()) return s;
    return DecideDevices(node_, environment, raylet_, &devices_);
  }

  Options options_;
  NodeResources node_;
  RayletConfig raylet_;
  std::vector<std::string> notices_;
  DeviceKinds devices_;
};

TEST_F(ResourcesTest, ModelAndDevicesOfTheNode) {
  Have({"0", "1"}, false, "H200");
  ASSERT_TRUE(Decide().ok());
  EXPECT_THAT(raylet_.resources, Contains(Pair("GPU", 2)));
  EXPECT_THAT(raylet_.resources, Contains(Pair("accelerator_type:H200", 1)));
  EXPECT_THAT(raylet_.labels, Contains(Pair("ray.io/accelerator-type", "H200")));
  ASSERT_EQ(devices_.size(), 1U);
  EXPECT_THAT(devices_[0].ids, ElementsAre("0", "1"));
  EXPECT_FALSE(devices_[0].masked);
}

TEST_F(ResourcesTest, MoreThanThereIsIsSaidInFullNumbers) {
  node_.memory_bytes = uint64_t{100} << 20;
  options_.object_store_bytes = uint64_t{100} << 20;
  ASSERT_TRUE(Decide().ok());
  EXPECT_THAT(notices_, testing::IsEmpty());

  options_.object_store_bytes = uint64_t{200} << 20;
  options_.num_cpus = 1000000;
  ASSERT_TRUE(Decide().ok());
  EXPECT_THAT(notices_, Contains(HasSubstr("200 MiB are more than the 100 MiB")));
  EXPECT_THAT(notices_, Contains(HasSubstr("--num-cpus 1000000 is more than the 4 granted")));
}

TEST_F(ResourcesTest, FewerThanTheMaskAreItsFirst) {
  Have({"GPU-aa", "MIG-1", "7"}, true);
  options_.num_gpus = 2;
  ASSERT_TRUE(Decide().ok());
  EXPECT_THAT(devices_[0].ids, ElementsAre("GPU-aa", "MIG-1"));
  EXPECT_TRUE(devices_[0].masked);
}

TEST_F(ResourcesTest, MoreThanTheMaskAreAnError) {
  Have({"3"}, true);
  options_.num_gpus = 2;
  EXPECT_THAT(Decide().message(), HasSubstr("CUDA_VISIBLE_DEVICES (3)"));
}

TEST_F(ResourcesTest, MoreThanAreSeenAreNumbered) {
  Have({"0"}, false);
  options_.num_gpus = 3;
  ASSERT_TRUE(Decide().ok());
  EXPECT_THAT(devices_[0].ids, ElementsAre("0", "1", "2"));
  EXPECT_EQ(notices_.size(), 1U);
}

TEST_F(ResourcesTest, NoneOfferedIsNoModel) {
  Have({"0"}, false, "H200");
  options_.num_gpus = 0;
  ASSERT_TRUE(Decide().ok());
  EXPECT_TRUE(devices_.empty());
  EXPECT_THAT(raylet_.resources, Not(Contains(Pair("accelerator_type:H200", 1))));
}

TEST_F(ResourcesTest, KindsComeInTheSchedulersOrder) {
  Have({"0", "1"}, false);
  options_.resources = {{"telescope", 2}, {"NPU", 2}, {"FURIOSA", 1}};
  ASSERT_TRUE(Decide({{"ASCEND_RT_VISIBLE_DEVICES", "4,5,6"}}).ok());
  ASSERT_EQ(devices_.size(), 3U);
  EXPECT_EQ(devices_[0].resource, "FURIOSA");
  EXPECT_EQ(devices_[1].resource, "GPU");
  EXPECT_EQ(devices_[2].resource, "NPU");
  EXPECT_THAT(devices_[2].ids, ElementsAre("4", "5"));
}

TEST_F(ResourcesTest, TheStoreIsBoundToTheNumaNodesOfAPartOfTheMachine) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  node_.numa_nodes = {2, 3};
  node_.numa_bytes = 16 * kGiB;
  node_.all_numa_nodes = false;
  EXPECT_EQ(DecideArenaNuma(options_, node_, 12 * kGiB), "2-3");
  EXPECT_EQ(DecideArenaNuma(options_, node_, 13 * kGiB), "");  // it would not leave room for anything else
  options_.bind = "none";
  EXPECT_EQ(DecideArenaNuma(options_, node_, kGiB), "");
  options_.bind = "core";
  node_.all_numa_nodes = true;
  EXPECT_EQ(DecideArenaNuma(options_, node_, kGiB), "");
}

}  // namespace
}  // namespace rmpi::launcher
