// SPDX-License-Identifier: Apache-2.0
// One step of a node's scheduler: an owner asks for a worker, is granted one and gives it back. Argument: how
// many other owners wait meanwhile for what the node never has free.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "sched/local_scheduler.h"

namespace rmpi::sched {
namespace {

constexpr uint8_t kPython = 1;
const JobId kJob{1};

// Keeps the last grant and drops all else.
class Granted : public LocalScheduler::Host {
 public:
  void SendGrant(const Address&, const Grant& grant) override { lease = grant.lease; }
  void AssignDevices(const Address&, uint64_t, const Devices&) override {}
  void SendReclaim(const Address&, const Reclaim&) override {}
  void SendReserved(const Reserved&) override {}
  void SendDemand(const Demand&) override {}
  void SendReject(const Demand&) override {}
  void StartWorker(JobId, uint8_t) override {}
  void SendUnschedulable(const Address&, const Unschedulable&) override {}
  void StopWorker(const Address&) override {}

  uint64_t lease = 0;
};

LeaseRequest Wants(const std::string& resource) {
  LeaseRequest request;
  request.shape_key = 1;
  request.wanted = 1;
  request.shape.resources = {{resource, kResourceUnit}};
  request.shape.job = kJob;
  return request;
}

void BM_LeaseAndReturn(benchmark::State& state) {
  LocalOptions options;
  options.node = 1;
  options.total = {{"CPU", 4 * kResourceUnit}, {"busy", kResourceUnit}};
  Granted host;
  LocalScheduler scheduler(options, &host);
  TimeNs now = kSecond;
  for (uint16_t slot = 1; slot <= 4; ++slot) scheduler.OnWorkerReady({1, slot, 0, 1}, kJob, kPython, now);
  for (int64_t i = 0; i <= state.range(0); ++i) {  // the first one holds it, the others wait
    scheduler.OnLeaseRequest({1, static_cast<uint16_t>(100 + i), 0, 1}, Wants("busy"), now);
  }
  const LeaseRequest request = Wants("CPU");
  for (auto _ : state) {
    host.lease = 0;
    scheduler.OnLeaseRequest({1, 50, 0, 1}, request, now);
    if (host.lease == 0) std::abort();
    scheduler.OnLeaseReturn(host.lease, WorkerAfter::kIdle, now);
    now += kMicrosecond;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_LeaseAndReturn)->Arg(0)->Arg(10)->Arg(100);

}  // namespace
}  // namespace rmpi::sched
