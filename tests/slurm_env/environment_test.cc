// SPDX-License-Identifier: Apache-2.0
#include "slurm/environment.h"

#include <gmock/gmock.h>

namespace rmpi {
namespace {

using testing::ElementsAre;

// As Slurm 22.05 sets them for task 4 of `srun` in a job of three unequal nodes.
Environment StepEnvironment() {
  return {{"SLURM_JOB_ID", "71"},
          {"SLURM_STEP_ID", "2"},
          {"SLURM_JOB_NODELIST", "n[01-03]"},
          {"SLURM_JOB_NUM_NODES", "3"},
          {"SLURMD_NODENAME", "n03"},
          {"SLURM_JOB_CPUS_PER_NODE", "8(x2),4"},
          {"SLURM_CPUS_ON_NODE", "4"},
          {"SLURM_MEM_PER_CPU", "500"},
          {"SLURM_STEP_NUM_TASKS", "5"},
          {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
          {"SLURM_PROCID", "4"},
          {"SLURM_LOCALID", "0"},
          {"SLURM_NODEID", "2"},
          {"SLURM_JOB_PARTITION", "debug"}};
}

TEST(JobEnvironment, OfAStep) {
  JobEnvironment job = ParseJobEnvironment(StepEnvironment());
  EXPECT_TRUE(job.in_job() && job.in_step());
  EXPECT_EQ(job.job_id, "71");
  EXPECT_EQ(job.step_id, "2");
  EXPECT_THAT(job.nodes, ElementsAre("n01", "n02", "n03"));
  EXPECT_THAT(job.cpus_per_node, ElementsAre(8, 8, 4));
  EXPECT_EQ(job.rank, 4);
  EXPECT_EQ(job.size, 5);
  EXPECT_EQ(job.local_rank, 0);
  EXPECT_EQ(job.local_size, 1);
  EXPECT_EQ(job.node_id, 2);
  EXPECT_EQ(job.cpus_on_node, 4);
  EXPECT_EQ(job.memory_per_node_bytes, 4 * 500ull << 20);
  EXPECT_EQ(job.restart_count, 0);
  EXPECT_FALSE(job.end_time_s || job.het_group);
}

TEST(JobEnvironment, LocalSizeIsThatOfOurNode) {
  Environment env = StepEnvironment();
  env["SLURM_NODEID"] = "1";
  EXPECT_EQ(ParseJobEnvironment(env).local_size, 2);
  env["SLURM_NODEID"] = "9";  // beyond the list: not to be believed
  EXPECT_EQ(ParseJobEnvironment(env).local_size, 1);
}

TEST(JobEnvironment, MpirunOverridesTheStepOfItsDaemons) {
  Environment env = StepEnvironment();
  env["SLURM_CPUS_ON_NODE"] = "1";
  env["OMPI_COMM_WORLD_SIZE"] = "12";
  env["OMPI_COMM_WORLD_RANK"] = "9";
  env["OMPI_COMM_WORLD_LOCAL_SIZE"] = "4";
  env["OMPI_COMM_WORLD_LOCAL_RANK"] = "1";
  JobEnvironment job = ParseJobEnvironment(env);
  EXPECT_EQ(job.size, 12);
  EXPECT_EQ(job.rank, 9);
  EXPECT_EQ(job.local_size, 4);
  EXPECT_EQ(job.local_rank, 1);
  EXPECT_EQ(job.cpus_on_node, 4);  // from the job's list: node n03
}

TEST(JobEnvironment, ArrayHetRequeueEndTime) {
  JobEnvironment job = ParseJobEnvironment({{"SLURM_JOBID", "8"},
                                            {"SLURM_ARRAY_JOB_ID", "5"},
                                            {"SLURM_ARRAY_TASK_ID", "3"},
                                            {"SLURM_HET_SIZE", "2"},
                                            {"SLURM_HET_GROUP_ID", "1"},
                                            {"SLURM_RESTART_COUNT", "2"},
                                            {"SLURM_JOB_END_TIME", "1700000000"},
                                            {"SLURM_MEM_PER_NODE", "3000"}});
  EXPECT_EQ(job.job_id, "8");
  EXPECT_EQ(job.array_job_id, "5");
  EXPECT_EQ(job.array_task_id, "3");
  EXPECT_EQ(job.het_size, 2);
  EXPECT_EQ(job.het_group, 1);
  EXPECT_EQ(job.restart_count, 2);
  EXPECT_EQ(job.end_time_s, 1700000000);
  EXPECT_EQ(job.memory_per_node_bytes, 3000ull << 20);
  EXPECT_FALSE(job.in_step());
}

TEST(JobEnvironment, OutsideOfSlurm) {
  JobEnvironment job = ParseJobEnvironment({{"HOME", "/root"}});
  EXPECT_FALSE(job.in_job());
  EXPECT_EQ(job.size, 1);
  EXPECT_EQ(job.local_size, 1);
  EXPECT_FALSE(job.cpus_on_node || job.memory_per_node_bytes);
}

TEST(JobEnvironment, GarbageCountsAsNotSet) {
  JobEnvironment job = ParseJobEnvironment({{"SLURM_JOB_ID", "1"},
                                            {"SLURM_JOB_NODELIST", "n[1-"},
                                            {"SLURM_JOB_CPUS_PER_NODE", "many"},
                                            {"SLURM_STEP_NUM_TASKS", "-4"},
                                            {"SLURM_MEM_PER_NODE", "0"},
                                            {"SLURM_CPUS_ON_NODE", "4x"}});
  EXPECT_TRUE(job.nodes.empty() && job.cpus_per_node.empty());
  EXPECT_EQ(job.size, 1);
  EXPECT_FALSE(job.cpus_on_node || job.memory_per_node_bytes);
}

TEST(Environment, ParsesLines) {
  const char* lines[] = {"A=1", "EMPTY=", "WITH=a=b", "NOEQUALS", nullptr};
  Environment env = ParseEnvironment(lines);
  EXPECT_EQ(env.size(), 3u);
  EXPECT_EQ(Get(env, "WITH"), "a=b");
  EXPECT_EQ(Get(env, "MISSING"), "");
  EXPECT_EQ(GetInt(env, "A"), 1);
  EXPECT_EQ(GetInt(env, "WITH"), std::nullopt);
  EXPECT_TRUE(HasPrefix(env, "EMP"));
  EXPECT_FALSE(HasPrefix(env, "EMPTYX"));
}

TEST(JobEnvironment, SwitchesAboveTheNode) {
  Environment env = {{"SLURM_JOB_ID", "7"},
                     {"SLURM_TOPOLOGY_ADDR", "core.leaf3.n7"},
                     {"SLURM_TOPOLOGY_ADDR_PATTERN", "switch.switch.node"}};
  EXPECT_EQ(ParseJobEnvironment(env).topology, "core.leaf3");
  env["SLURM_TOPOLOGY_ADDR"] = "n7";
  env["SLURM_TOPOLOGY_ADDR_PATTERN"] = "node";
  EXPECT_EQ(ParseJobEnvironment(env).topology, "") << "no tree";
}

}  // namespace
}  // namespace rmpi
