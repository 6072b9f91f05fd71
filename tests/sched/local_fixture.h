// SPDX-License-Identifier: Apache-2.0
// A node's scheduler whose host writes down what it is told.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "sched/local_scheduler.h"

namespace rmpi::sched {

inline const JobId kJob{1};
inline constexpr uint8_t kPython = 1, kCpp = 2;
inline const Address kOwner{1, 1, 0, 1};
inline const Address kOther{1, 2, 0, 1};

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
  Demand Assigned(uint32_t count, Strategy strategy = Strategy::kDefault) {
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

}  // namespace rmpi::sched
