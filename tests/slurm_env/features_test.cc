// SPDX-License-Identifier: Apache-2.0
#include "slurm/features.h"

#include <gtest/gtest.h>

namespace rmpi {
namespace {

using Features = std::map<std::string, std::vector<std::string>>;

TEST(FeaturesTest, OfEachNode) {
  const std::string text =
      "NodeName=n1 Arch=x86_64 CoresPerSocket=1 AvailableFeatures=avx512,ib,off ActiveFeatures=avx512,ib "
      "Gres=gpu:2 "
      "NodeAddr=n1 State=IDLE \n"
      "NodeName=n2 Arch=x86_64 AvailableFeatures=(null) ActiveFeatures=(null) Gres=(null) \n"
      "NodeName=n3 ActiveFeatures=ib\n";
  EXPECT_EQ(ParseNodeFeatures(text), (Features{{"n1", {"avx512", "ib"}}, {"n3", {"ib"}}}));
}

TEST(FeaturesTest, NothingOfWhatIsNoList) {
  EXPECT_TRUE(ParseNodeFeatures("").empty());
  EXPECT_TRUE(ParseNodeFeatures("slurm_load_node error: Unable to contact slurm controller\n").empty());
  EXPECT_TRUE(ParseNodeFeatures("ActiveFeatures=a\nNodeName=\n").empty());
}

}  // namespace
}  // namespace rmpi
