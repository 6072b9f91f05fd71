// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/cpu_grant.h"

#include <gmock/gmock.h>

#include "runtime/node/topology.h"

namespace rmpi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CpuList UpTo(int n) {
  CpuList cpus;
  for (int i = 0; i < n; ++i) cpus.push_back(i);
  return cpus;
}

CpuQuestion On(Launch launch, CpuList mask, int available) {
  CpuQuestion q;
  q.launch = launch;
  q.mask = std::move(mask);
  q.available = UpTo(available);
  return q;
}

TEST(CpuGrant, AloneOnAMachine) {
  CpuGrant grant = GrantCpus(On(Launch::kNone, UpTo(8), 8));
  EXPECT_EQ(grant.ids, UpTo(8));
  EXPECT_EQ(grant.count, 8);
  EXPECT_THAT(grant.notices, IsEmpty());
}

TEST(CpuGrant, MaskAndCpusetBothHold) {
  EXPECT_THAT(GrantCpus(On(Launch::kNone, {2, 3, 4, 12}, 4)).ids, ElementsAre(2, 3));
}

TEST(CpuGrant, SrunMaskIsTakenAsItIs) {
  CpuQuestion q = On(Launch::kSrun, {4, 5, 6, 7}, 8);
  q.slurm_cpus = 4;
  CpuGrant grant = GrantCpus(q);
  EXPECT_THAT(grant.ids, ElementsAre(4, 5, 6, 7));
  EXPECT_EQ(grant.count, 4);
  EXPECT_THAT(grant.notices, IsEmpty());
}

TEST(CpuGrant, SrunMaskTooNarrowIsSaidButNotWidened) {
  CpuQuestion q = On(Launch::kSrun, {5}, 128);
  q.slurm_cpus = 128;
  CpuGrant grant = GrantCpus(q);
  EXPECT_THAT(grant.ids, ElementsAre(5));
  EXPECT_EQ(grant.count, 1);
  EXPECT_THAT(grant.notices, ElementsAre(HasSubstr("--cpus-per-task=128")));
}

TEST(CpuGrant, SlurmThatClaimsMoreThanTheMachineHasIsNoMistakeOfTheUser) {
  CpuQuestion q = On(Launch::kSrun, UpTo(2), 2);
  q.slurm_cpus = 4;
  CpuGrant grant = GrantCpus(q);
  EXPECT_EQ(grant.count, 2);
  EXPECT_THAT(grant.notices, IsEmpty());
}

TEST(CpuGrant, WithoutConfinementSlurmsNumberCountsAndNobodyIsBound) {
  CpuQuestion q = On(Launch::kSrun, UpTo(64), 64);
  q.slurm_cpus = 4;
  CpuGrant grant = GrantCpus(q);
  EXPECT_EQ(grant.ids, UpTo(64));
  EXPECT_EQ(grant.count, 4);
}

TEST(CpuGrant, SrunRanksThatShareAMaskDivideIt) {
  CpuQuestion q = On(Launch::kSrun, UpTo(7), 16);
  q.slurm_cpus = 7;
  q.local_size = 2;
  EXPECT_THAT(GrantCpus(q).ids, ElementsAre(0, 1, 2, 3));
  q.local_rank = 1;
  EXPECT_THAT(GrantCpus(q).ids, ElementsAre(4, 5, 6));
}

TEST(CpuGrant, SrunRanksWithMasksOfTheirOwnKeepThem) {
  CpuQuestion q = On(Launch::kSrun, {4, 5, 6, 7}, 8);
  q.slurm_cpus = 8;
  q.local_size = 2;
  q.local_rank = 1;
  CpuGrant grant = GrantCpus(q);
  EXPECT_THAT(grant.ids, ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(grant.notices, IsEmpty());
}

TEST(CpuGrant, MpirunsOneCpuMaskIsUndoneAndDivided) {
  for (int rank : {0, 1}) {
    CpuQuestion q = On(Launch::kMpirun, {rank}, 8);
    q.local_size = 2;
    q.local_rank = rank;
    CpuGrant grant = GrantCpus(q);
    EXPECT_EQ(grant.ids, rank == 0 ? CpuList({0, 1, 2, 3}) : CpuList({4, 5, 6, 7}));
    EXPECT_THAT(grant.notices, ElementsAre(HasSubstr("--bind-to none")));
  }
}

TEST(CpuGrant, MpirunsMaskIsNotWidenedBeyondWhatMpirunHas) {  // taskset -c 2-3 mpirun -n 1
  CpuQuestion q = On(Launch::kMpirun, {2}, 8);
  q.launcher_mask = CpuList{2, 3};
  EXPECT_THAT(GrantCpus(q).ids, ElementsAre(2, 3));
}

TEST(CpuGrant, MpirunUnboundIsDividedWithoutANotice) {
  CpuQuestion q = On(Launch::kMpirun, UpTo(4), 4);
  q.local_size = 4;
  q.local_rank = 2;
  CpuGrant grant = GrantCpus(q);
  EXPECT_THAT(grant.ids, ElementsAre(2));
  EXPECT_THAT(grant.notices, IsEmpty());
}

TEST(CpuGrant, MpirunInAnUnconfinedJobKeepsToTheJobsNumber) {
  CpuQuestion q = On(Launch::kMpirun, UpTo(64), 64);
  q.slurm_cpus = 7;
  q.local_size = 2;
  CpuGrant grant = GrantCpus(q);
  EXPECT_EQ(grant.count, 4);
  EXPECT_EQ(grant.ids, UpTo(64));
  q.local_rank = 1;
  EXPECT_EQ(GrantCpus(q).count, 3);
}

TEST(CpuGrant, MoreRanksThanCpusTakeTurns) {
  for (Launch launch : {Launch::kSrun, Launch::kMpirun}) {
    CpuQuestion q = On(launch, UpTo(2), 2);
    q.local_size = 4;
    q.local_rank = 3;
    CpuGrant grant = GrantCpus(q);
    EXPECT_EQ(grant.count, 1);
    EXPECT_EQ(grant.ids, UpTo(2));
    EXPECT_THAT(grant.notices, ElementsAre(HasSubstr("4 ranks share the 2 CPUs")));
  }
}

TEST(CpuGrant, QuotaCountsWholeCpusAndAtLeastOne) {
  CpuQuestion q = On(Launch::kNone, UpTo(8), 8);
  q.quota = 2.5;
  EXPECT_EQ(GrantCpus(q).count, 2);
  q.quota = 0.5;
  EXPECT_EQ(GrantCpus(q).count, 1);
  q.quota = 64;
  EXPECT_THAT(GrantCpus(q).notices, IsEmpty());
}

TEST(CpuGrant, DividingFollowsTheMachinesShape) {
  // Two packages of two cores with two threads each, numbered as Linux does: a core's threads are n and n
  // + 4.
  Topology topology;
  ASSERT_TRUE(LoadTopology("package:2 core:2 pu:2(indexes=0,4,1,5,2,6,3,7)", &topology).ok());
  EXPECT_THAT(topology.cpus_by_locality, ElementsAre(0, 4, 1, 5, 2, 6, 3, 7));
  EXPECT_EQ(topology.cores, 4);
  CpuQuestion q = On(Launch::kMpirun, UpTo(8), 8);
  q.by_locality = [&](const CpuList&) { return topology.cpus_by_locality; };
  q.local_size = 2;
  EXPECT_THAT(GrantCpus(q).ids, ElementsAre(0, 1, 4, 5));  // one package, not one thread of each core
}

TEST(Topology, NumaNodes) {
  Topology topology;
  ASSERT_TRUE(LoadTopology("package:2 [numa(memory=4GB)] core:2 pu:1", &topology).ok());
  ASSERT_EQ(topology.numa_nodes.size(), 2u);
  EXPECT_THAT(topology.numa_nodes[1].cpus, ElementsAre(2, 3));
  EXPECT_GT(topology.numa_nodes[1].memory_bytes, 3'900'000'000u);
  EXPECT_EQ(LoadTopology("nonsense", &topology).code(), StatusCode::kInvalid);
}

}  // namespace
}  // namespace rmpi
