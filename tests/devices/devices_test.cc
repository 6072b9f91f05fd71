// SPDX-License-Identifier: Apache-2.0
#include "runtime/devices/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace rmpi {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

using Environment = std::map<std::string, std::string>;

Lookup In(const Environment& environment) {
  return [&environment](const std::string& name) -> std::optional<std::string> {
    const auto it = environment.find(name);
    return it == environment.end() ? std::nullopt : std::optional(it->second);
  };
}

Variables Shown(const DeviceKinds& kinds, const std::vector<uint32_t>& numbers,
                const Environment& environment) {
  return DeviceVariables(NameDevices(kinds, numbers), In(environment));
}

const DeviceKinds kTwoKinds = {{"GPU", "CUDA_VISIBLE_DEVICES", true, {"GPU-aa", "GPU-bb", "7"}},
                               {"NPU", "ASCEND_RT_VISIBLE_DEVICES", false, {"0", "1"}}};

TEST(Devices, SurviveTheEnvironment) {
  DeviceKinds back;
  ASSERT_TRUE(DecodeDevices(EncodeDevices(kTwoKinds), &back).ok());
  ASSERT_EQ(back.size(), 2U);
  EXPECT_EQ(back[0].resource, "GPU");
  EXPECT_EQ(back[0].variable, "CUDA_VISIBLE_DEVICES");
  EXPECT_TRUE(back[0].masked);
  EXPECT_THAT(back[0].ids, ElementsAre("GPU-aa", "GPU-bb", "7"));
  EXPECT_FALSE(back[1].masked);
  for (const char* damaged : {"", "7", "[{\"resource\":1}]", "[{}]"}) {
    EXPECT_FALSE(DecodeDevices(damaged, &back).ok()) << damaged;
  }
}

TEST(Devices, NumbersRunThroughTheKinds) {
  const auto held = NameDevices(kTwoKinds, {1, 3, 4});
  ASSERT_EQ(held.size(), 2U);
  EXPECT_THAT(held[0].ids, ElementsAre("GPU-bb"));
  EXPECT_THAT(held[1].ids, ElementsAre("0", "1"));
  EXPECT_THAT(NameDevices(kTwoKinds, {}), IsEmpty());
}

TEST(Devices, ATaskSeesItsOwn) {
  EXPECT_THAT(Shown(kTwoKinds, {0, 2}, {}), ElementsAre(Pair("CUDA_VISIBLE_DEVICES", "GPU-aa,7")));
  EXPECT_THAT(Shown(kTwoKinds, {1, 4}, {}),
              ElementsAre(Pair("CUDA_VISIBLE_DEVICES", "GPU-bb"), Pair("ASCEND_RT_VISIBLE_DEVICES", "1")));
}

TEST(Devices, TheUserMayForbidIt) {
  EXPECT_THAT(Shown(kTwoKinds, {0, 3}, {{"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", "1"}}),
              ElementsAre(Pair("ASCEND_RT_VISIBLE_DEVICES", "0")));
  EXPECT_EQ(Shown(kTwoKinds, {0}, {{"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", "0"}}).size(), 1U);
  const DeviceKinds odd = {{"RBLN", "RBLN_DEVICES", false, {"0"}}};
  EXPECT_THAT(Shown(odd, {0}, {{"RAY_EXPERIMENTAL_NOSET_RBLN_RT_VISIBLE_DEVICES", "true"}}), IsEmpty());
}

TEST(Devices, WithoutDevicesTheEnvironmentStaysUnlessTold) {
  EXPECT_THAT(NoDeviceVariables(kTwoKinds, In({})), IsEmpty());
  EXPECT_THAT(NoDeviceVariables(kTwoKinds, In({{"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1"}})),
              ElementsAre(Pair("CUDA_VISIBLE_DEVICES", ""), Pair("ASCEND_RT_VISIBLE_DEVICES", "")));
}

TEST(Devices, MasksOfAmdStackUp) {
  const DeviceKinds rocr = {{"GPU", "ROCR_VISIBLE_DEVICES", true, {"4", "5", "6"}}};
  EXPECT_THAT(Shown(rocr, {1, 2}, {{"ROCR_VISIBLE_DEVICES", "4,5,6"}}),
              ElementsAre(Pair("ROCR_VISIBLE_DEVICES", "5,6")));
  EXPECT_THAT(Shown(rocr, {1, 2}, {{"CUDA_VISIBLE_DEVICES", "4,5,6"}}),
              ElementsAre(Pair("ROCR_VISIBLE_DEVICES", "5,6"), Pair("CUDA_VISIBLE_DEVICES", "0,1")));
  const DeviceKinds hip = {{"GPU", "HIP_VISIBLE_DEVICES", true, {"0", "1"}}};
  EXPECT_THAT(Shown(hip, {1}, {{"CUDA_VISIBLE_DEVICES", "0,1"}}),
              ElementsAre(Pair("HIP_VISIBLE_DEVICES", "1"), Pair("CUDA_VISIBLE_DEVICES", "1")));
}

}  // namespace
}  // namespace rmpi
