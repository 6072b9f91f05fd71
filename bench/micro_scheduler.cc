// SPDX-License-Identifier: Apache-2.0
// One step of a node's scheduler: an owner asks for a worker, is granted one and gives it back. Argument: how
// many other owners wait meanwhile for what the node never has free. And one step of the head's: a task gets
// a node; its node reports when it is full. Argument: how many nodes there are, of 128 CPUs each.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <utility>

#include "sched/global_scheduler.h"
#include "sched/local_scheduler.h"
#include "tests/sched/idle_host.h"

namespace rmpi::sched {
namespace {

constexpr uint8_t kPython = 1;
const JobId kJob{1};

// Keeps the last grant and drops all else.
class Granted : public IdleHost {
 public:
  void SendGrant(const Address&, const Grant& grant) override { lease = grant.lease; }

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
  LeaseRequest request = Wants("CPU");
  request.wanted = 0;
  for (auto _ : state) {
    host.lease = 0;
    ++request.wanted;  // counted from the beginning
    scheduler.OnLeaseRequest({1, 50, 0, 1}, request, now);
    if (host.lease == 0) std::abort();
    scheduler.OnLeaseReturn(host.lease, WorkerAfter::kIdle, now);
    now += kMicrosecond;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_LeaseAndReturn)->Arg(0)->Arg(10)->Arg(100)->Arg(1000);

// So many owners want ever more CPUs than there are: a lease that comes back is granted to the next.
void BM_LeaseToTheNext(benchmark::State& state) {
  LocalOptions options;
  options.node = 1;
  options.total = {{"CPU", 4 * kResourceUnit}};
  Granted host;
  LocalScheduler scheduler(options, &host);
  for (uint16_t slot = 1; slot <= 4; ++slot) scheduler.OnWorkerReady({1, slot, 0, 1}, kJob, kPython, kSecond);
  LeaseRequest request = Wants("CPU");
  request.wanted = uint64_t{1} << 40;
  for (int64_t i = 0; i < state.range(0); ++i)
    scheduler.OnLeaseRequest({1, static_cast<uint16_t>(100 + i), 0, 1}, request, kSecond);
  for (auto _ : state) {
    const uint64_t lease = std::exchange(host.lease, 0);
    scheduler.OnLeaseReturn(lease, WorkerAfter::kIdle, kSecond);
    if (host.lease == 0) std::abort();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_LeaseToTheNext)->Arg(1)->Arg(100)->Arg(1000);

constexpr int64_t kCpus = 128;

// Knows which node took the last task.
class Assigned : public GlobalScheduler::Host {
 public:
  void SendAssign(uint32_t to, const Demand&) override { node = to; }
  void SendHandedOff(uint32_t, const HandedOff&) override {}
  void SendUnschedulable(const Address&, const Unschedulable&) override {}
  void Warn(const std::string&) override {}

  uint32_t node = 0;
};

void BM_HeadDecision(benchmark::State& state, Strategy strategy, bool labels) {
  const auto nodes = static_cast<uint32_t>(state.range(0));
  const Amounts total = {{"CPU", kCpus * kResourceUnit}, {"memory", int64_t{512} << 40}};
  Assigned host;
  GlobalScheduler scheduler(&host);
  for (uint32_t node = 1; node <= nodes; ++node) {
    scheduler.AddNode(node, total, {{"zone", node % 4 == 0 ? "a" : "b"}});
  }
  Demand demand;
  demand.owner = {1, 1, 0, 1};
  demand.shape.resources = {{"CPU", kResourceUnit}};
  demand.shape.strategy = strategy;
  if (labels) demand.shape.labels = {{{"zone", LabelOp::kIn, {"a"}}}};
  std::vector<int64_t> used(nodes + 1);
  for (auto _ : state) {
    host.node = 0;
    ++demand.count;
    scheduler.OnDemand(1, demand);
    if (host.node == 0) std::abort();
    if (++used[host.node] == kCpus * 3 / 4) {  // what runs there has ended
      used[host.node] = 0;
      scheduler.OnReport(host.node, total);
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(BM_HeadDecision, pack, Strategy::kDefault, false)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK_CAPTURE(BM_HeadDecision, spread, Strategy::kSpread, false)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK_CAPTURE(BM_HeadDecision, labels, Strategy::kDefault, true)->Arg(10)->Arg(1000)->Arg(10000);

}  // namespace
}  // namespace rmpi::sched
