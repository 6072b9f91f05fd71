// SPDX-License-Identifier: Apache-2.0
// The MPI transport under mpirun. Each test starts mpirun with this same program as ranks (--scenario) and
// reads what they print; mpirun's own status is worth nothing in recovery mode.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <string>

#include "tests/transport/mpi_scenarios.h"

namespace rmpi {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Self() {
  char path[PATH_MAX] = {};
  const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : "";
}

// `settings`: variables for mpirun and its ranks, NAME=value ...
std::string Mpirun(int ranks, const std::string& settings, const std::string& scenario) {
  const std::string command = settings + " timeout -k 2 60 " MPIRUN " " MPIRUN_FLAGS " -n " +
                              std::to_string(ranks) + " " + Self() + " --scenario=" + scenario + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string output;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe)) output.append(buffer, n);
  pclose(pipe);
  printf("%s", output.c_str());
  return output;
}

void ExpectAllOk(const std::string& output, int ranks) {
  for (int r = 0; r < ranks; ++r) EXPECT_THAT(output, HasSubstr("rank " + std::to_string(r) + " ok"));
  EXPECT_THAT(output, Not(HasSubstr("FAILED")));
}

TEST(MpiTransport, RandomFramesAllToAllArriveWholeAndInOrder) { ExpectAllOk(Mpirun(3, "", "alltoall"), 3); }

// Larger frames become rendezvous messages, and later receives may complete first.
TEST(MpiTransport, OrderHoldsWhenFramesRendezvous) {
  ExpectAllOk(
      Mpirun(3, "OMPI_MCA_btl_tcp_eager_limit=4096 OMPI_MCA_btl_tcp_rndv_eager_limit=4096", "alltoall"), 3);
}

// No sockets to sleep on: the timer that backs off must do.
TEST(MpiTransport, WorksOverSharedMemoryToo) { ExpectAllOk(Mpirun(2, "OMPI_MCA_btl=^tcp", "alltoall"), 2); }

TEST(MpiTransport, SleepingCostsNothing) {
  if (std::string(RMPI_MPI) == "mpich")
    GTEST_SKIP() << "MPICH has no sockets to sleep on; the direct transport has";
  ExpectAllOk(Mpirun(3, "", "idle"), 3);
}

TEST(MpiTransport, SocketsWakeTheSleeper) { ExpectAllOk(Mpirun(2, "", "latency"), 2); }

TEST(MpiTransport, SurvivorsOfAKilledRankGoOn) {
  if (std::string(RMPI_MPI) != "open-mpi-4") {
    GTEST_SKIP()
        << "With this MPI, frames go by the direct transport after bring-up, and nothing calls MPI any more";
  }
  const std::string output = Mpirun(3, "", "death");
  ExpectAllOk(output, 2);
  EXPECT_THAT(output, Not(HasSubstr("may now hang or fail")));
  EXPECT_THAT(output, Not(HasSubstr("unexpectedly disconnected")));
}

TEST(MpiTransport, DifferentVersionsRefuseEachOtherByName) { ExpectAllOk(Mpirun(2, "", "mismatch"), 2); }

}  // namespace
}  // namespace rmpi

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first.rfind("--scenario=", 0) == 0) return rmpi::RunScenario(first.substr(11));
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
