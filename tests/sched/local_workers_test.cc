// SPDX-License-Identifier: Apache-2.0
// The workers of a node: starts, ends, devices, CPUs, and tasks that wait.
#include "tests/sched/local_fixture.h"

namespace rmpi::sched {
namespace {

TEST_F(LocalSchedulerTest, AWakingTaskMayPutThePoolIntoDebtAndNothingElse) {
  Start(1);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  const Grant first = grants_[0].second;
  scheduler_->OnBlocked(first.worker, first.lease, 0, now_);
  EXPECT_EQ(FreeCpu(), 1);
  scheduler_->OnLeaseRequest(kOther, Wants(2), now_);
  ASSERT_EQ(grants_.size(), 2U);
  scheduler_->OnUnblocked(first.worker, first.lease, now_);
  EXPECT_EQ(FreeCpu(), -1);
  EXPECT_EQ(grants_.size(), 2U) << "no grant from a debt";
  scheduler_->OnLeaseReturn(grants_[1].second.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(FreeCpu(), 0);
  EXPECT_EQ(grants_.size(), 2U) << "the debt is only just repaid";
  scheduler_->OnLeaseReturn(first.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(grants_.size(), 3U);
}

TEST_F(LocalSchedulerTest, ABlockedWorkerThatDiesGivesBackNoMoreThanItHad) {
  Start(2);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  const Grant g = grants_[0].second;
  scheduler_->OnBlocked(g.worker, g.lease, 0, now_);
  scheduler_->OnWorkerGone(g.worker, now_);
  EXPECT_EQ(FreeCpu(), 2);
  EXPECT_EQ(scheduler_->lease_count(), 0U);
}

TEST_F(LocalSchedulerTest, AMessageAboutAFormerLeaseChangesNothing) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(2), now_);
  const Grant first = grants_[0].second;
  scheduler_->OnLeaseReturn(first.lease, WorkerAfter::kIdle, now_);
  ASSERT_EQ(grants_.size(), 2U);
  scheduler_->OnBlocked(first.worker, first.lease, 0, now_);
  EXPECT_EQ(FreeCpu(), 0);
}

TEST_F(LocalSchedulerTest, ProcessesForTasksNoDeeperThanABlockedOneArePaced) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnBlocked(grants_[0].second.worker, grants_[0].second.lease, 1, now_);
  scheduler_->OnLeaseRequest(kOther, Wants(3, 1, 1), now_);
  EXPECT_EQ(starts_, 1) << "the first comes at once";
  for (int i = 0; i < 2; ++i) {  // each blocks in its turn
    AddWorkers(1);
    const Grant g = grants_.back().second;
    scheduler_->OnBlocked(g.worker, g.lease, 1, now_);
    const int before = starts_;
    Pass(900 * kMillisecond);
    EXPECT_EQ(starts_, before) << "round " << i;
    Pass(10 * kSecond);
    EXPECT_EQ(starts_, before + 1) << "round " << i;
  }
}

TEST_F(LocalSchedulerTest, ADeeperTaskNeedsNoPatience) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  for (uint32_t depth = 0; depth < 5; ++depth) {
    const Grant g = grants_.back().second;
    scheduler_->OnBlocked(g.worker, g.lease, depth, now_);
    scheduler_->OnLeaseRequest(g.worker, Wants(1, 1, depth + 1), now_);
    EXPECT_EQ(starts_, static_cast<int>(depth) + 1);
    AddWorkers(1);
  }
}

TEST_F(LocalSchedulerTest, AnAssignmentWaitsForAProcessThatIsOnItsWay) {
  Start(1);
  scheduler_->OnAssign(Assigned(1), now_);
  EXPECT_EQ(starts_, 1);
  Pass(500 * kMillisecond);
  EXPECT_TRUE(rejects_.empty());
  AddWorkers(1);
  EXPECT_EQ(grants_.size(), 1U);
}

TEST_F(LocalSchedulerTest, WorkersBeyondOnePerCpuEnd) {
  Start(1);
  AddWorkers(3);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  Pass(3 * kSecond);
  EXPECT_EQ(stopped_.size(), 2U);
  EXPECT_EQ(scheduler_->worker_count(), 1U);
}

TEST_F(LocalSchedulerTest, ALanguageHasWorkersOfItsOwn) {
  Start(2);
  AddWorkers(2);
  LeaseRequest native = Wants(1);
  native.shape.language = kCpp;
  scheduler_->OnLeaseRequest(kOwner, native, now_);
  EXPECT_TRUE(grants_.empty()) << "idle Python workers cannot run it";
  EXPECT_EQ(starts_, 1);
  EXPECT_EQ(last_language_, kCpp);
  scheduler_->OnWorkerReady({1, 50, 0, 1}, kJob, kCpp, now_);
  ASSERT_EQ(grants_.size(), 1U);
  EXPECT_EQ(grants_[0].second.worker.slot, 50);
}

TEST_F(LocalSchedulerTest, AWorkerOnItsWayIsForItsOwnLanguage) {
  Start(2);
  scheduler_->Prestart({}, kPython, 2);
  EXPECT_EQ(starts_, 2);
  scheduler_->OnLeaseRequest(kOwner, Wants(2), now_);
  EXPECT_EQ(starts_, 2) << "two are on their way already";
  LeaseRequest native = Wants(1, 2);
  native.shape.language = kCpp;
  scheduler_->OnLeaseRequest(kOther, native, now_);
  EXPECT_EQ(starts_, 3);
}

TEST_F(LocalSchedulerTest, WhoWaitsForAWorkerThatCannotStartIsTold) {
  Start(2);
  LeaseRequest native = Wants(2);
  native.shape.language = kCpp;
  scheduler_->OnLeaseRequest(kOwner, native, now_);
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  scheduler_->OnCannotStart(kJob, kCpp, "no such program", true, now_);
  ASSERT_EQ(refused_.size(), 1U);
  EXPECT_EQ(refused_[0].first, kOwner);
  EXPECT_EQ(refused_[0].second.reason, "no such program");
  AddWorkers(1);
  EXPECT_EQ(grants_.size(), 1U) << "the others' demand stands";
  EXPECT_EQ(grants_[0].first, kOther);
}

TEST_F(LocalSchedulerTest, AGrantWithDevicesNamesThemFirst) {
  Start(4, 2);
  AddWorkers(3);
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(3, 1), now_);
  ASSERT_EQ(grants_.size(), 2U);
  ASSERT_EQ(assigned_.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(assigned_[i].worker, grants_[i].second.worker);
    EXPECT_EQ(assigned_[i].lease, grants_[i].second.lease);
    EXPECT_EQ(assigned_[i].devices, Devices{static_cast<uint32_t>(i)});
  }
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  EXPECT_EQ(grants_.size(), 3U);
  EXPECT_EQ(assigned_.size(), 2U) << "nothing is said of a lease without devices";
}

TEST_F(LocalSchedulerTest, ABlockedTaskKeepsItsDevices) {
  Start(1, 1);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(1, 1), now_);
  const Grant g = grants_[0].second;
  scheduler_->OnBlocked(g.worker, g.lease, 0, now_);
  EXPECT_EQ(FreeCpu(), 1);
  EXPECT_EQ(scheduler_->pool().free_of(0), 0);
  scheduler_->OnLeaseRequest(kOther, WantsGpu(1, 0.5), now_);
  EXPECT_EQ(grants_.size(), 1U);
}

TEST_F(LocalSchedulerTest, AProcessRunsWithTheSameDevicesToItsEnd) {
  Start(4, 2);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(1, 1), now_);
  const Address first = grants_[0].second.worker;
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  EXPECT_EQ(grants_.size(), 1U) << "no task without devices in a process that has used one";
  EXPECT_EQ(starts_, 1);
  AddWorkers(1);
  ASSERT_EQ(grants_.size(), 2U);
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(1, 0.5, 3), now_);
  ASSERT_EQ(grants_.size(), 3U);
  EXPECT_EQ(grants_[2].second.worker, first) << "device 0 again";
  scheduler_->OnLeaseReturn(grants_[2].second.lease, WorkerAfter::kIdle, now_);
  EXPECT_TRUE(stopped_.empty());
  scheduler_->OnLeaseRequest(kOther, WantsGpu(1, 2), now_);
  AddWorkers(1);
  ASSERT_EQ(grants_.size(), 4U);
  EXPECT_NE(grants_[3].second.worker, first);
  EXPECT_EQ(stopped_, std::vector<Address>{first}) << "what it holds on device 0 only its end frees";
}

TEST_F(LocalSchedulerTest, DevicesOfALeavingProcessAreFreeWhenItHasLeft) {
  Start(4, 1);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(2, 1), now_);
  const Grant g = grants_[0].second;
  scheduler_->OnLeaseReturn(g.lease, WorkerAfter::kRetires, now_);
  EXPECT_EQ(FreeCpu(), 4);
  EXPECT_EQ(grants_.size(), 1U);
  scheduler_->OnWorkerGone(g.worker, now_);
  ASSERT_EQ(grants_.size(), 2U);
  EXPECT_EQ(assigned_[1].devices, Devices{0});
}

TEST_F(LocalSchedulerTest, AProcessThatStaysForItsObjectsKeepsNoDevices) {
  Start(4, 1);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(2, 1), now_);
  scheduler_->OnRetire(grants_[0].second.worker, now_);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kRetires, now_);
  Pass(kSecond / 2);
  EXPECT_EQ(grants_.size(), 1U);
  Pass(kSecond / 2);
  EXPECT_EQ(grants_.size(), 2U);
  scheduler_->OnWorkerGone(grants_[0].second.worker, now_);
  EXPECT_EQ(scheduler_->pool().free_of(0), 0) << "not given back twice";
}

TEST_F(LocalSchedulerTest, AnIdleProcessOfTheWrongKindMakesRoom) {
  LocalOptions options;
  options.node = 1;
  options.total = {{"CPU", 2 * kResourceUnit}, {"GPU", kResourceUnit}};
  options.max_workers = 1;
  scheduler_ = std::make_unique<LocalScheduler>(options, this);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(1, 1), now_);
  EXPECT_EQ(stopped_.size(), 1U);
  EXPECT_EQ(starts_, 1);
}

// ---- binding
// -----------------------------------------------------------------------------------------------

class BindingTest : public LocalSchedulerTest {
 protected:
  // Two domains of two CPUs; the one GPU is near the second.
  void Begin() {
    LocalOptions options;
    options.node = 1;
    options.total = {{"CPU", 4 * kResourceUnit}, {"GPU", kResourceUnit}};
    options.cpus = {{0, 0, 0}, {1, 1, 0}, {2, 2, 1}, {3, 3, 1}};
    options.device_numa = {1};
    scheduler_ = std::make_unique<LocalScheduler>(options, this);
    AddWorkers(4);
  }
  LeaseRequest WantsCpus(double cpus, uint32_t key) {
    LeaseRequest m = Wants(1, key);
    m.shape.resources[0].second = static_cast<int64_t>(cpus * kResourceUnit);
    return m;
  }
};

TEST_F(BindingTest, WholeCpusOfOneDomain) {
  Begin();
  scheduler_->OnLeaseRequest(kOwner, WantsCpus(2, 1), now_);
  scheduler_->OnLeaseRequest(kOwner, WantsCpus(1, 2), now_);
  ASSERT_EQ(bound_.size(), 2U);
  EXPECT_EQ(bound_[0].cpus, (CpuSet{0, 1}));
  EXPECT_EQ(bound_[0].worker, grants_[0].second.worker);
  EXPECT_EQ(bound_[0].lease, grants_[0].second.lease);
  EXPECT_EQ(bound_[1].cpus, (CpuSet{2}));
}

TEST_F(BindingTest, NoneOrAPartIsNotBound) {
  Begin();
  scheduler_->OnLeaseRequest(kOwner, WantsCpus(0.5, 1), now_);
  scheduler_->OnLeaseRequest(kOwner, WantsCpus(0, 2), now_);
  scheduler_->OnLeaseRequest(kOwner, WantsCpus(1.5, 3), now_);
  EXPECT_EQ(grants_.size(), 3U);
  EXPECT_TRUE(bound_.empty());
  EXPECT_EQ(scheduler_->cpu_slots().free_count(), 4U);
}

TEST_F(BindingTest, NearTheGpu) {
  Begin();
  scheduler_->OnLeaseRequest(kOwner, WantsGpu(1, 1), now_);
  ASSERT_EQ(bound_.size(), 1U);
  EXPECT_EQ(bound_[0].cpus, (CpuSet{2}));
}

TEST_F(BindingTest, TheNextLeaseOfAWorkerStaysWhereItWas) {
  Begin();
  for (uint32_t key : {1, 2}) scheduler_->OnLeaseRequest(kOwner, WantsCpus(1, key), now_);
  ASSERT_EQ(bound_.size(), 2U);
  scheduler_->OnLeaseReturn(grants_[1].second.lease, WorkerAfter::kIdle, now_);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  for (uint32_t key : {3, 4}) scheduler_->OnLeaseRequest(kOwner, WantsCpus(1, key), now_);
  ASSERT_EQ(bound_.size(), 4U);
  EXPECT_EQ(bound_[2].worker, bound_[0].worker) << "the most recently used one";
  EXPECT_EQ(bound_[2].cpus, bound_[0].cpus);
  EXPECT_EQ(bound_[3].cpus, bound_[1].cpus);
}

TEST_F(BindingTest, WhoRunsOnLentCpusIsNotBound) {
  Begin();
  scheduler_->OnLeaseRequest(kOwner, WantsCpus(4, 1), now_);
  ASSERT_EQ(bound_.size(), 1U);
  scheduler_->OnBlocked(grants_[0].second.worker, grants_[0].second.lease, 0, now_);
  scheduler_->OnLeaseRequest(kOwner, WantsCpus(2, 2), now_);
  ASSERT_EQ(grants_.size(), 2U);
  EXPECT_EQ(bound_.size(), 1U);
  scheduler_->OnUnblocked(grants_[0].second.worker, grants_[0].second.lease, now_);
  for (const auto& [owner, g] : std::vector(grants_))
    scheduler_->OnLeaseReturn(g.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(scheduler_->cpu_slots().free_count(), 4U);
}

TEST_F(LocalSchedulerTest, ADrainedNodeStartsNothingAndRecallsItsLeases) {
  Start(2);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  ASSERT_EQ(grants_.size(), 1U);
  scheduler_->Drain(now_);
  EXPECT_EQ(recalled_, std::vector<uint64_t>{grants_[0].second.lease});
  scheduler_->OnLeaseRequest(kOwner, Wants(3), now_);
  scheduler_->OnAssign(Assigned(1, Strategy::kNodeAffinity), now_);
  EXPECT_EQ(grants_.size(), 1U);
  ASSERT_FALSE(demands_.empty());
  EXPECT_EQ(demands_.back().count, 2U);
  EXPECT_EQ(rejects_.size(), 1U) << "also of hard affinity: the head knows better";
  scheduler_->OnReserve({7, 1, false, {{0, {{"CPU", kResourceUnit}}}}}, now_);
  ASSERT_EQ(reserved_.size(), 1U);
  EXPECT_FALSE(reserved_[0].ok);
  EXPECT_EQ(scheduler_->task_leases(), 1U);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(scheduler_->task_leases(), 0U);
  EXPECT_EQ(grants_.size(), 1U);
}

}  // namespace
}  // namespace rmpi::sched
