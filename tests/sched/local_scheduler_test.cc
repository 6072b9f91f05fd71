// SPDX-License-Identifier: Apache-2.0
#include "sched/local_scheduler.h"

#include <gtest/gtest.h>

namespace rmpi::sched {
namespace {

const JobId kJob{1};
constexpr uint8_t kPython = 1, kCpp = 2;
const Address kOwner{1, 1, 0, 1};
const Address kOther{1, 2, 0, 1};

class LocalSchedulerTest : public testing::Test, public LocalScheduler::Host {
 protected:
  void Start(int64_t cpus, int64_t gpus = 0) {
    LocalOptions options;
    options.node = 1;
    options.total = {{"CPU", cpus * kResourceUnit}};
    if (gpus != 0) options.total.emplace_back("GPU", gpus * kResourceUnit);
    scheduler_ = std::make_unique<LocalScheduler>(options, this);
  }
  void AddWorkers(int n) {
    for (int i = 0; i < n; ++i) scheduler_->OnWorkerReady({1, next_slot_++, 0, 1}, kJob, kPython, now_);
  }
  LeaseRequest Wants(uint32_t count, uint32_t key = 1, uint32_t depth = 0) {
    LeaseRequest m;
    m.shape_key = key;
    m.wanted = count;
    m.shape.resources = {{"CPU", kResourceUnit}};
    m.shape.depth = depth;
    m.shape.job = kJob;
    return m;
  }
  LeaseRequest WantsGpu(uint32_t count, double gpus, uint32_t key = 2) {
    LeaseRequest m = Wants(count, key);
    m.shape.resources.emplace_back("GPU", static_cast<int64_t>(gpus * kResourceUnit));
    return m;
  }
  Demand Assigned(uint32_t count, uint8_t strategy = 0) {
    Demand d;
    d.owner = {2, 1, 0, 1};
    d.shape_key = 9;
    d.count = count;
    d.shape = Wants(1).shape;
    d.shape.strategy = strategy;
    return d;
  }
  int64_t FreeCpu() const { return AmountOf(scheduler_->available(), "CPU") / kResourceUnit; }
  void Pass(TimeNs span) {
    now_ += span;
    scheduler_->OnTimer(now_);
  }

  void SendGrant(const Address& owner, const Grant& g) override { grants_.emplace_back(owner, g); }
  void AssignDevices(const Address& worker, uint64_t lease, const Devices& devices) override {
    assigned_.push_back({worker, lease, devices});
  }
  void AssignCpus(const Address& worker, uint64_t lease, const CpuSet& cpus) override {
    bound_.push_back({worker, lease, cpus});
  }
  void SendReclaim(const Address& owner, const Reclaim& m) override {
    reclaims_.push_back(owner);
    recalled_.insert(recalled_.end(), m.leases.begin(), m.leases.end());
  }
  void SendReserved(const Reserved& m) override { reserved_.push_back(m); }
  void SendDemand(const Demand& d) override { demands_.push_back(d); }
  void SendReject(const Demand& d) override { rejects_.push_back(d); }
  void StartWorker(JobId, uint8_t language) override {
    ++starts_;
    last_language_ = language;
  }
  void SendUnschedulable(const Address& owner, const Unschedulable& m) override {
    refused_.emplace_back(owner, m);
  }
  void StopWorker(const Address& w) override { stopped_.push_back(w); }

  struct Assignment {
    Address worker;
    uint64_t lease = 0;
    Devices devices;
  };
  struct Binding {
    Address worker;
    uint64_t lease = 0;
    CpuSet cpus;
  };
  std::unique_ptr<LocalScheduler> scheduler_;
  std::vector<Assignment> assigned_;
  std::vector<Binding> bound_;
  TimeNs now_ = kSecond;
  uint16_t next_slot_ = 10;
  std::vector<std::pair<Address, Grant>> grants_;
  std::vector<Address> reclaims_, stopped_;
  std::vector<Demand> demands_, rejects_;
  std::vector<std::pair<Address, Unschedulable>> refused_;
  std::vector<uint64_t> recalled_;
  std::vector<Reserved> reserved_;
  int starts_ = 0;
  uint8_t last_language_ = 0;
};

TEST_F(LocalSchedulerTest, GrantsWhatItHasAndPassesOnTheRest) {
  Start(2);
  AddWorkers(4);
  scheduler_->OnLeaseRequest(kOwner, Wants(5), now_);
  EXPECT_EQ(grants_.size(), 2U);
  EXPECT_EQ(FreeCpu(), 0);
  ASSERT_FALSE(demands_.empty());
  EXPECT_EQ(demands_.back().count, 3U);
}

TEST_F(LocalSchedulerTest, ForksNoMoreThanFit) {
  Start(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(5), now_);
  EXPECT_EQ(starts_, 2);
  AddWorkers(1);
  EXPECT_EQ(grants_.size(), 1U);
  EXPECT_EQ(starts_, 2);
}

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

TEST_F(LocalSchedulerTest, WhoeverHoldsLeasesIsAskedForThemWhileOthersWait) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  EXPECT_EQ(reclaims_, std::vector<Address>{kOwner});
  Pass(kMillisecond);
  EXPECT_EQ(reclaims_.size(), 1U) << "not at every event";
  Pass(30 * kMillisecond);
  EXPECT_EQ(reclaims_.size(), 2U);
}

TEST_F(LocalSchedulerTest, AnAssignmentThatFindsNoRoomIsRejectedInTime) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnAssign(Assigned(2), now_);
  Pass(90 * kMillisecond);
  EXPECT_TRUE(rejects_.empty());
  Pass(20 * kMillisecond);
  ASSERT_EQ(rejects_.size(), 1U);
  EXPECT_EQ(rejects_[0].count, 2U);
  EXPECT_TRUE(scheduler_->ReportDue()) << "the head takes us for full until it hears from us";
  EXPECT_EQ(scheduler_->demand_count(), 0U);
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

TEST_F(LocalSchedulerTest, HardAffinityIsNeverRejectedNorPolledFor) {
  Start(1);
  AddWorkers(1);
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  scheduler_->OnAssign(Assigned(1, 2), now_);
  Pass(kSecond);
  EXPECT_TRUE(rejects_.empty());
  EXPECT_GT(scheduler_->NextDeadline(), now_) << "no deadline in the past: the loop would spin";
}

TEST_F(LocalSchedulerTest, APromiseIsReportedEvenIfNothingSeemsToHaveChanged) {
  Start(1);
  AddWorkers(1);
  Heartbeat report;
  scheduler_->TakeReport(&report);
  EXPECT_EQ(report.available, (Amounts{{"CPU", kResourceUnit}}));
  EXPECT_FALSE(scheduler_->ReportDue());
  scheduler_->OnAssign(Assigned(1), now_);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);  // between two reports
  EXPECT_TRUE(scheduler_->ReportDue());
}

TEST_F(LocalSchedulerTest, ARequestAndAHandOffThatCrossAreBothCounted) {
  Start(1);
  LeaseRequest wish = Wants(1);
  wish.shape.strategy = 1;  // spread: the head's business
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  wish.wanted = 3;  // the first of them may be on its way already
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  ASSERT_EQ(demands_.size(), 2U);
  EXPECT_EQ(demands_[1].count, 3U) << "in all, since the head knows what it has handed off of it";
  scheduler_->OnHandedOff({kOwner, 1, 0, 1}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 1U);
  scheduler_->OnHandedOff({kOwner, 1, 0, 2}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 0U);
  wish.wanted = 4;
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  EXPECT_EQ(demands_.back().count, 4U);
}

TEST_F(LocalSchedulerTest, AHandOffOfAFormerEpochDoesNotCount) {
  Start(1);
  LeaseRequest wish = Wants(2);
  wish.shape.strategy = 1;
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  wish.epoch = 1;
  scheduler_->OnLeaseRequest(kOwner, wish, now_);
  EXPECT_EQ(demands_.back().epoch, 1U);
  scheduler_->OnHandedOff({kOwner, 1, 0, 2}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 1U);
  scheduler_->OnHandedOff({kOwner, 1, 1, 2}, now_);
  EXPECT_EQ(scheduler_->demand_count(), 0U);
}

TEST_F(LocalSchedulerTest, WhatIsGrantedHereIsNotTheHeadsBusiness) {
  Start(2);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(3), now_);
  EXPECT_EQ(grants_.size(), 2U);
  EXPECT_EQ(demands_.back().count, 1U);
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(grants_.size(), 3U);
  EXPECT_EQ(demands_.back().count, 0U) << "withdrawn";
  scheduler_->OnHandedOff({kOwner, 1, 0, 1}, now_);  // but it was on its way: a surplus
  scheduler_->OnLeaseRequest(kOwner, Wants(4), now_);
  EXPECT_EQ(scheduler_->demand_count(), 0U) << "which serves what is asked for next";
}

TEST_F(LocalSchedulerTest, AnOwnersEndFreesItsLeasesButNotItsWorkers) {
  Start(2);
  AddWorkers(2);
  scheduler_->OnLeaseRequest(kOwner, Wants(2), now_);
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  EXPECT_EQ(scheduler_->OnOwnerGone(kOwner, now_).size(), 2U);
  EXPECT_EQ(FreeCpu(), 2);
  EXPECT_EQ(grants_.size(), 2U) << "its workers still run what it asked for";
  AddWorkers(1);
  EXPECT_EQ(grants_.size(), 3U);
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

// ---- the hybrid policy
// --------------------------------------------------------------------------------------

TEST_F(LocalSchedulerTest, HalfIsPackedHereAndTheRestIsTheHeads) {
  Start(4);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}});
  scheduler_->OnLeaseRequest(kOwner, Wants(4), now_);
  EXPECT_EQ(grants_.size(), 2U);
  ASSERT_EQ(demands_.size(), 1U);
  EXPECT_EQ(demands_[0].count, 2U);
  EXPECT_TRUE(reclaims_.empty()) << "nobody is starved: there is room";
  scheduler_->OnLeaseReturn(grants_[0].second.lease, WorkerAfter::kIdle, now_);
  EXPECT_EQ(grants_.size(), 3U) << "less than half again";
  EXPECT_EQ(demands_.back().count, 1U);
}

TEST_F(LocalSchedulerTest, AloneEverythingIsServed) {
  Start(4);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}});
  scheduler_->OnLeaseRequest(kOwner, Wants(4), now_);
  EXPECT_EQ(grants_.size(), 2U);
  scheduler_->RemoveOther(2, now_);
  EXPECT_EQ(grants_.size(), 4U);
  EXPECT_EQ(demands_.back().count, 0U);
}

TEST_F(LocalSchedulerTest, ArgumentsThatLieHereKeepTheirTaskHere) {
  Start(4);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}});
  LeaseRequest m = Wants(4);
  m.shape.affinity_node = 1;
  scheduler_->OnLeaseRequest(kOwner, m, now_);
  EXPECT_EQ(grants_.size(), 4U);
}

TEST_F(LocalSchedulerTest, WorkForCpusLeavesGpusToOthers) {
  Start(4, 2);
  AddWorkers(4);
  scheduler_->AddOther(2, {{"CPU", 4 * kResourceUnit}, {"GPU", kResourceUnit}});
  scheduler_->OnLeaseRequest(kOwner, Wants(1), now_);
  EXPECT_EQ(grants_.size(), 1U) << "the other node has GPUs, too";
  scheduler_->AddOther(3, {{"CPU", kResourceUnit}});
  scheduler_->OnLeaseRequest(kOther, Wants(1), now_);
  EXPECT_EQ(grants_.size(), 1U);
  EXPECT_EQ(demands_.back().owner, kOther);
  scheduler_->OnLeaseRequest(kOther, WantsGpu(1, 1), now_);
  EXPECT_EQ(grants_.size(), 2U);
}

TEST_F(LocalSchedulerTest, OnlyTheFirstAlternativeIsServedUnasked) {
  Start(2);
  AddWorkers(2);
  scheduler_->SetNode(1, {{"zone", "a"}});
  LeaseRequest m = Wants(1);
  m.shape.labels = {{{"zone", LabelOp::kIn, {"b"}}}, {{"zone", LabelOp::kIn, {"a"}}}};
  scheduler_->OnLeaseRequest(kOwner, m, now_);
  EXPECT_TRUE(grants_.empty());
  EXPECT_EQ(demands_.size(), 1U);
  std::swap(m.shape.labels[0], m.shape.labels[1]);
  m.shape_key = 2;
  scheduler_->OnLeaseRequest(kOwner, m, now_);
  EXPECT_EQ(grants_.size(), 1U);
}

// ---- binding
// ------------------------------------------------------------------------------------------------

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

}  // namespace
}  // namespace rmpi::sched
