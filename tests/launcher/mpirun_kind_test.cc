// SPDX-License-Identifier: Apache-2.0
#include "launcher/mpirun_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rmpi::launcher {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(MpirunKind, IsReadFromItsVersion) {
  EXPECT_EQ(MpirunKindOf("mpirun (Open MPI) 4.1.4\n\nReport bugs to\n"), MpirunKind::kOpenMpi4);
  EXPECT_EQ(MpirunKindOf("mpirun (Open MPI) 5.0.11\n"), MpirunKind::kOpenMpi5);
  EXPECT_EQ(MpirunKindOf("mpirun (Open MPI) 10.0.0\n"), MpirunKind::kOpenMpi5);
  EXPECT_EQ(MpirunKindOf("HYDRA build details:\n    Version:    4.0.2\n"), MpirunKind::kHydra);
  EXPECT_EQ(MpirunKindOf("mpirun (Open MPI) "), MpirunKind::kOpenMpi5);
  EXPECT_EQ(MpirunKindOf(""), MpirunKind::kOther);
}

TEST(MpirunKind, OptionsOutliveADeath) {
  const Environment none;
  EXPECT_THAT(MpirunOptions(MpirunKind::kOpenMpi4, true, none), ElementsAre("--stdin", "none"));
  EXPECT_THAT(MpirunOptions(MpirunKind::kOpenMpi5, true, none),
              ElementsAre("--with-ft", "ulfm", "--stdin", "none"));
  EXPECT_THAT(MpirunOptions(MpirunKind::kHydra, true, none), ElementsAre("-disable-auto-cleanup"));
  EXPECT_THAT(MpirunOptions(MpirunKind::kOther, true, none), IsEmpty());
}

TEST(MpirunKind, OtherHostsGetWhatTheirDaemonsDoNotInherit) {
  const Environment environment = {{"PATH", "/bin"}, {"RAY_MPI_NUM_CPUS", "2"}, {"SECRET", "x"}};
  const std::vector<std::string> options = MpirunOptions(MpirunKind::kOpenMpi5, false, environment);
  EXPECT_THAT(options, ElementsAre("--with-ft", "ulfm", "-x", "PATH", "-x", "RAY_MPI_NUM_CPUS"));
  EXPECT_THAT(MpirunOptions(MpirunKind::kHydra, false, environment), Not(Contains("-x")));
}

}  // namespace
}  // namespace rmpi::launcher
