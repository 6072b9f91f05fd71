// SPDX-License-Identifier: Apache-2.0
#include "slurm/launch.h"

#include <gmock/gmock.h>

namespace rmpi {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

const std::vector<std::string> kCommand = {"ray-mpi", "app.py", "two words"};

Environment Step(int tasks) {
  return {
      {"SLURM_JOB_ID", "7"},        {"SLURM_STEP_ID", "0"}, {"SLURM_JOB_NODELIST", "n[0-3]"},
      {"SLURM_JOB_NUM_NODES", "4"}, {"SLURM_NTASKS", "4"},  {"SLURM_STEP_NUM_TASKS", std::to_string(tasks)},
      {"SLURM_PROCID", "2"}};
}

Environment With(Environment env, const Environment& more) {
  for (const auto& [name, value] : more) env[name] = value;
  return env;
}

TEST(Launch, Nobody) {
  LaunchInfo info = DetectLaunch({{"HOME", "/root"}}, kCommand);
  EXPECT_EQ(info.kind, Launch::kNone);
  EXPECT_EQ(info.size, 1);
  EXPECT_EQ(info.advice, "");
}

TEST(Launch, SrunWithEachPmi) {
  for (const char* pmi : {"PMIX_NAMESPACE", "PMI_FD", "PALS_APID"}) {
    LaunchInfo info = DetectLaunch(With(Step(4), {{pmi, "x"}}), kCommand);
    EXPECT_EQ(info.kind, Launch::kSrun) << pmi;
    EXPECT_EQ(info.rank, 2);
    EXPECT_EQ(info.size, 4);
    EXPECT_FALSE(info.refused());
  }
}

TEST(Launch, SeveralTasksWithoutPmiAreRefusedWithTheLineToUse) {
  LaunchInfo info = DetectLaunch(Step(4), kCommand);
  EXPECT_EQ(info.kind, Launch::kWrongPmi);
  EXPECT_TRUE(info.refused());
  EXPECT_THAT(info.advice, HasSubstr("--mpi=none"));
  EXPECT_THAT(info.advice, EndsWith("    srun --mpi=pmix ray-mpi app.py 'two words'"));
}

TEST(Launch, TheLineRepeatsTheNodesWhereTheStepDiffers) {
  EXPECT_EQ(SrunLine(With(Step(8), {{"SLURM_NTASKS", "8"}}), {"ray-mpi", "app.py"}),
            "srun --mpi=pmix --nodes=4 --ntasks-per-node=1 ray-mpi app.py");
}

TEST(Launch, OneTaskWithoutPmiIsAProcessOnItsOwn) {
  EXPECT_EQ(DetectLaunch(Step(1), kCommand).kind, Launch::kNone);
}

TEST(Launch, SizeOfTheStepNotOfTheJobDecides) {
  Environment batch = Step(4);
  batch.erase("SLURM_STEP_NUM_TASKS");
  batch.erase("SLURM_STEP_ID");
  LaunchInfo info = DetectLaunch(batch, kCommand);
  EXPECT_EQ(info.kind, Launch::kNone);
  EXPECT_THAT(info.advice, HasSubstr("4 nodes and only this one is used"));
}

const Environment kMpirun = {{"OMPI_COMM_WORLD_SIZE", "4"},
                             {"OMPI_COMM_WORLD_RANK", "3"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"PMIX_NAMESPACE", "728956929"}};

TEST(Launch, Mpirun) {
  LaunchInfo info = DetectLaunch(kMpirun, kCommand);
  EXPECT_EQ(info.kind, Launch::kMpirun);
  EXPECT_EQ(info.rank, 3);
  EXPECT_EQ(info.local_rank, 1);
  EXPECT_EQ(info.local_size, 2);
}

TEST(Launch, MpirunOfAnAllocationStartsItsDaemonsByAStepOfItsOwn) {
  // The daemons' step has as many tasks as there are other nodes, and --mpi=none.
  EXPECT_EQ(DetectLaunch(With(Step(3), kMpirun), kCommand).kind, Launch::kMpirun);
}

TEST(Launch, SrunMpirunIsRefused) {
  LaunchInfo info = DetectLaunch(With(With(Step(4), kMpirun), {{"SLURM_MPI_TYPE", "pmix"}}), kCommand);
  EXPECT_EQ(info.kind, Launch::kNested);
  EXPECT_TRUE(info.refused());
  EXPECT_THAT(info.advice, EndsWith("srun --mpi=pmix ray-mpi app.py 'two words'"));
}

TEST(Launch, MpirunFromAnInteractiveStepIsFine) {  // srun --pty bash, then mpirun
  EXPECT_EQ(DetectLaunch(With(With(Step(1), kMpirun), {{"SLURM_MPI_TYPE", "pmix"}}), kCommand).kind,
            Launch::kMpirun);
}

TEST(Launch, OtherMpirun) {
  LaunchInfo info = DetectLaunch({{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}}, kCommand);
  EXPECT_EQ(info.kind, Launch::kMpirun);
  EXPECT_EQ(info.rank, 1);
  EXPECT_EQ(info.size, 3);
}

TEST(Launch, NoMpirunInsideSeveralTasks) {
  EXPECT_EQ(WhyNoMpirun({}, "laptop", kCommand), "");
  EXPECT_EQ(WhyNoMpirun(Step(1), "n1", kCommand), "");
  EXPECT_THAT(WhyNoMpirun(Step(4), "n1", kCommand), HasSubstr("would hang"));
}

TEST(Launch, NoMpirunFromTheLoginNode) {
  const Environment job = {
      {"SLURM_JOB_ID", "7"}, {"SLURM_JOB_NODELIST", "n[1-2]"}, {"SLURM_JOB_NUM_NODES", "2"}};
  EXPECT_THAT(
      WhyNoMpirun(job, "login1", kCommand),
      AllOf(HasSubstr("login1, is none of the job's nodes (n[1-2])"), HasSubstr("srun --mpi=pmix ray-mpi")));
  EXPECT_EQ(WhyNoMpirun(job, "n2", kCommand), "");
  EXPECT_EQ(WhyNoMpirun(job, "n2.cluster.example", kCommand), "");
  Environment named = job;  // Slurm's names need not be the hosts': it tells them to what it starts
  named["SLURMD_NODENAME"] = "n1";
  EXPECT_EQ(WhyNoMpirun(named, "node-0001", kCommand), "");
  Environment single = job;
  single["SLURM_JOB_NODELIST"] = "localhost";
  EXPECT_EQ(WhyNoMpirun(single, "workstation", kCommand), "");
}

}  // namespace
}  // namespace rmpi
