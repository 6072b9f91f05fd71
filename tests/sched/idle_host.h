// SPDX-License-Identifier: Apache-2.0
// A node around a LocalScheduler that does nothing: for who wants to see one thing that it is asked for, or
// none.
#pragma once

#include "sched/local_scheduler.h"

namespace rmpi::sched {

class IdleHost : public LocalScheduler::Host {
 public:
  void SendGrant(const Address&, const Grant&) override {}
  void AssignDevices(const Address&, uint64_t, const Devices&) override {}
  void AssignCpus(const Address&, uint64_t, const CpuSet&) override {}
  void SendReclaim(const Address&, const Reclaim&) override {}
  void SendReserved(const Reserved&) override {}
  void SendDemand(const Demand&) override {}
  void SendReject(const Demand&) override {}
  void StartWorker(JobId, uint8_t) override {}
  void SendUnschedulable(const Address&, const Unschedulable&) override {}
  void StopWorker(const Address&) override {}
};

}  // namespace rmpi::sched
