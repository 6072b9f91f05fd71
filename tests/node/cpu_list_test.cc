// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/cpu_list.h"

#include <gmock/gmock.h>

#include <thread>

namespace rmpi {
namespace {

using testing::ElementsAre;

TEST(CpuList, ParsesAndFormats) {
  EXPECT_THAT(ParseCpuList("0-3,8\n"), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(ParseCpuList("8,0-1,1"), ElementsAre(0, 1, 8));
  EXPECT_THAT(ParseCpuList("\n"), ElementsAre());
  EXPECT_EQ(FormatCpuList({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(FormatCpuList({}), "");
}

TEST(CpuList, PartsCoverAllOnce) {
  const CpuList all = {0, 1, 2, 3, 4, 5, 6};
  CpuList joined;
  for (int i = 0; i < 3; ++i) {
    for (int cpu : PartOf(all, i, 3)) joined.push_back(cpu);
  }
  EXPECT_EQ(joined, all);
  EXPECT_THAT(PartOf(all, 0, 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(PartOf(all, 2, 3), ElementsAre(5, 6));
}

TEST(CpuList, BindsAndReadsBack) {
  std::thread([] {  // a thread of its own: the mask must not stay with the other tests
    const CpuList all = AffinityOf(0);
    ASSERT_FALSE(all.empty());
    ASSERT_TRUE(BindToCpus({all.back()}).ok());
    EXPECT_THAT(AffinityOf(0), ElementsAre(all.back()));
    EXPECT_EQ(BindToCpus({9999}).code(), StatusCode::kIo);
    EXPECT_EQ(BindToCpus({}).code(), StatusCode::kInvalid);
  })
      .join();
}

}  // namespace
}  // namespace rmpi
