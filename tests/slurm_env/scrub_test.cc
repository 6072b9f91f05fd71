// SPDX-License-Identifier: Apache-2.0
#include "slurm/scrub.h"

#include <gmock/gmock.h>

namespace rmpi {
namespace {

// One variable of each kind that Slurm 22.05 and Open MPI 4.1 set for a rank.
Environment Rank() {
  return {{"HOME", "/root"},
          {"PMIX_RANK", "3"},
          {"PMI_FD", "11"},
          {"PALS_APID", "1"},
          {"SLURM_JOB_ID", "7"},
          {"SLURM_JOB_NODELIST", "n[0-3]"},
          {"SLURM_NODELIST", "n[0-3]"},
          {"SLURM_JOB_NUM_NODES", "4"},
          {"SLURM_JOB_CPUS_PER_NODE", "2(x4)"},
          {"SLURM_NNODES", "4"},
          {"SLURM_NTASKS", "4"},
          {"SLURM_TASKS_PER_NODE", "1(x4)"},
          {"SLURM_NTASKS_PER_NODE", "1"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_STEPID", "0"},
          {"SLURM_STEP_NUM_TASKS", "4"},
          {"SLURM_PROCID", "3"},
          {"SLURM_LOCALID", "0"},
          {"SLURM_NODEID", "3"},
          {"SLURM_TASK_PID", "99"},
          {"SLURM_GTIDS", "3"},
          {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"},
          {"SLURM_SRUN_COMM_PORT", "4000"},
          {"SLURM_CPU_BIND", "quiet,none"},
          {"SLURM_CPU_BIND_TYPE", "none"},
          {"SLURM_MPI_TYPE", "pmix"},
          {"SLURM_PMIX_MAPPING_SERV", "(vector,(0,1,1))"},
          {"SLURM_DISTRIBUTION", "cyclic"},
          {"SLURM_UMASK", "0022"},
          {"SLURM_PRIO_PROCESS", "0"},
          {"SLURM_TOPOLOGY_ADDR_PATTERN", "node"},
          {"SRUN_DEBUG", "3"},
          {"SLURMD_NODENAME", "n3"}};
}

TEST(Scrub, LeavesTheJobAndTakesTheRank) {
  Environment clean = ScrubEnvironment(Rank());
  Environment visible;
  for (const auto& [name, value] : clean) {
    if (!name.starts_with(kOriginalPrefix)) visible[name] = value;
  }
  const Environment expected = {{"HOME", "/root"},
                                {"SLURM_JOB_ID", "7"},
                                {"SLURM_JOB_NODELIST", "n[0-3]"},
                                {"SLURM_NODELIST", "n[0-3]"},
                                {"SLURM_JOB_NUM_NODES", "4"},
                                {"SLURM_JOB_CPUS_PER_NODE", "2(x4)"},
                                {"SLURM_NNODES", "4"},
                                {"SLURM_NTASKS", "4"},
                                {"SLURM_TASKS_PER_NODE", "1(x4)"},
                                {"SLURM_OVERLAP", "1"},
                                {"OMPI_MCA_plm_slurm_args", "--overlap"}};
  EXPECT_EQ(visible, expected);
}

TEST(Scrub, KeepsWhatItTookReadable) {
  Environment clean = ScrubEnvironment(Rank());
  EXPECT_EQ(Get(clean, "RAY_MPI_ORIG_SLURM_PROCID"), "3");
  EXPECT_EQ(Get(clean, "RAY_MPI_ORIG_SLURMD_NODENAME"), "n3");
  EXPECT_EQ(clean.size(), Rank().size() + 2);  // nothing lost
}

TEST(Scrub, TwiceIsAsOnce) {
  Environment once = ScrubEnvironment(Rank());
  EXPECT_EQ(ScrubEnvironment(once), once);
}

TEST(Scrub, OutsideOfSlurmNothingIsAdded) {
  const Environment env = {{"HOME", "/root"}, {"OMPI_MCA_btl", "tcp,self"}};
  EXPECT_EQ(ScrubEnvironment(env), env);
}

TEST(Scrub, MpirunsOwnParametersGoTheUsersStay) {
  Environment clean = ScrubEnvironment({{"OMPI_COMM_WORLD_SIZE", "2"},
                                        {"OMPI_MCA_ess", "^singleton"},
                                        {"OMPI_MCA_ess_base_vpid", "1"},
                                        {"OMPI_MCA_orte_hnp_uri", "1.0;tcp://h"},
                                        {"OMPI_MCA_orte_ess_num_procs", "2"},
                                        {"OMPI_MCA_pmix", "^s1,s2"},
                                        {"OMPI_MCA_btl", "tcp,self"},
                                        {"OMPI_MCA_essential", "the user's"},
                                        {"OMPI_MCA_pmix_verbose", "the user's"}});
  EXPECT_EQ(Get(clean, "OMPI_MCA_btl"), "tcp,self");
  EXPECT_EQ(Get(clean, "OMPI_MCA_essential"), "the user's");
  EXPECT_EQ(Get(clean, "OMPI_MCA_pmix_verbose"), "the user's");
  for (const char* gone : {"ess", "ess_base_vpid", "orte_hnp_uri", "orte_ess_num_procs", "pmix"}) {
    EXPECT_FALSE(clean.contains("OMPI_MCA_" + std::string(gone))) << gone;
  }
}

TEST(Scrub, WhatMpiInitPutIntoItsOwnEnvironmentGoesToo) {
  // Under srun, Open MPI 4.1; an mpirun that finds these ends at once without a word.
  EXPECT_EQ(
      Get(ScrubEnvironment({{"OMPI_MCA_ess", "pmi"}, {"OMPI_MCA_orte_ess_num_procs", "4"}}), "OMPI_MCA_ess"),
      "");
}

TEST(Scrub, WithoutMpirunAllParametersAreTheUsers) {
  EXPECT_EQ(Get(ScrubEnvironment({{"OMPI_MCA_pmix", "s2"}}), "OMPI_MCA_pmix"), "s2");
}

TEST(Scrub, WhereMpiLiesAndWhatItsUserAllowsStays) {
  const Environment users = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                             {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                             {"OPAL_PREFIX", "/opt/ompi"},
                             {"OMPI_CC", "clang"},
                             {"PRTE_MCA_rmaps", "ppr"}};
  Environment env = Rank();
  env.insert(users.begin(), users.end());
  const Environment clean = ScrubEnvironment(env);
  for (const auto& [name, value] : users) EXPECT_EQ(Get(clean, name), value) << name;
}

TEST(Scrub, GivesBackWhatWeSetOver) {
  Environment env = {{"OMPI_MCA_btl", "vader,self"}};
  SetOverUser(&env, "OMPI_MCA_btl", "tcp,self");
  SetOverUser(&env, "OMPI_MCA_btl", "self,tcp");  // the second time must not take our own for the user's
  SetOverUser(&env, "OMPI_MCA_pml", "ob1");
  EXPECT_EQ(Get(env, "OMPI_MCA_btl"), "self,tcp");
  EXPECT_EQ(Get(env, "OMPI_MCA_pml"), "ob1");
  EXPECT_EQ(ScrubEnvironment(env), (Environment{{"OMPI_MCA_btl", "vader,self"}}));
}

TEST(Scrub, UsersOwnPlmArgumentsStay) {
  Environment env = Rank();
  env["OMPI_MCA_plm_slurm_args"] = "--wait=0";
  EXPECT_EQ(Get(ScrubEnvironment(env), "OMPI_MCA_plm_slurm_args"), "--wait=0");
}

TEST(Scrub, AStepOnPartOfTheJobGetsTheJobsLayoutBack) {
  Environment env = Rank();
  env["SLURM_NNODES"] = "1";
  env["SLURM_NTASKS"] = "1";
  env["SLURM_TASKS_PER_NODE"] = "1";
  Environment clean = ScrubEnvironment(env);
  EXPECT_EQ(Get(clean, "SLURM_NNODES"), "4");
  EXPECT_EQ(Get(clean, "SLURM_TASKS_PER_NODE"), "2(x4)");
  EXPECT_FALSE(clean.contains("SLURM_NTASKS"));
}

TEST(MpirunOfTasks, HasAPlaceForEachCpuAndDoesNotBind) {
  Environment env;
  SetMpirunOfTasks(&env, 6);
  EXPECT_EQ(Get(env, "OMPI_MCA_orte_set_default_slots"), "6");
  EXPECT_EQ(Get(env, "PRTE_MCA_prte_set_default_slots"), "6");
  EXPECT_EQ(Get(env, "OMPI_MCA_hwloc_base_binding_policy"), "none");
  EXPECT_FALSE(env.contains("SLURM_TASKS_PER_NODE"));
}

TEST(MpirunOfTasks, InAJobThePlacesAreTheJobsCpus) {
  Environment env = ScrubEnvironment(Rank());
  SetMpirunOfTasks(&env, 6);
  EXPECT_EQ(Get(env, "SLURM_TASKS_PER_NODE"), "2(x4)");
  EXPECT_EQ(Get(env, "RAY_MPI_ORIG_SLURM_TASKS_PER_NODE"), "1(x4)");
}

TEST(MpirunOfTasks, TheUsersSettingsWin) {
  Environment env = {{"OMPI_MCA_hwloc_base_binding_policy", "core"},
                     {"OMPI_MCA_orte_tmpdir_base", "/scratch"}};
  SetMpirunOfTasks(&env, 0);
  SetMpiFolderOfTasks(&env, "/tmp/run");
  EXPECT_EQ(Get(env, "OMPI_MCA_hwloc_base_binding_policy"), "core");
  EXPECT_EQ(Get(env, "OMPI_MCA_orte_tmpdir_base"), "/scratch");
  EXPECT_EQ(Get(env, "PRTE_MCA_prte_tmpdir_base"), "/tmp/run");
  EXPECT_EQ(Get(env, "OMPI_MCA_orte_set_default_slots"), "1");  // mpirun takes 0 for nothing at all
}

}  // namespace
}  // namespace rmpi
