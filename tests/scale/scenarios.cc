// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/scenarios.h"

#include <algorithm>

#include "tests/scale/owner.h"

namespace rmpi::scale {
namespace {

constexpr TimeNs kPatience = 3600 * kSecond;

TaskTemplate OneCpu() {
  TaskTemplate t;
  t.function_name = "f";
  t.resources = {{"CPU", 1.0}};
  return t;
}

void SubmitAll(Cluster* cluster, uint64_t tasks, TimeNs run) {
  const uint32_t owners = cluster->owner_count();
  for (uint32_t i = 0; i < owners; ++i) {
    cluster->owner(i).Submit(OneCpu(), tasks / owners + (i < tasks % owners ? 1 : 0), run);
  }
}

// What has happened since `begin`.
class Watch {
 public:
  explicit Watch(Cluster* cluster)
      : cluster_(cluster),
        begin_(cluster->now()),
        cpu_(CpuNow()),
        events_(cluster->events()),
        started_(cluster->started()) {
    cluster->TakeHeadLoad();
    cluster->TakeLatencies();
  }
  Outcome Stop(std::string name, uint64_t tasks, bool finished) const {
    Outcome o;
    o.name = std::move(name);
    o.finished = finished;
    o.tasks = tasks;
    o.started = cluster_->started() - started_;
    o.to_last_start = o.started == 0 ? 0 : cluster_->last_start() - begin_;
    o.makespan = cluster_->now() - begin_;
    const std::vector<TimeNs> latencies = cluster_->TakeLatencies();
    if (!latencies.empty()) {
      o.p50 = latencies[latencies.size() / 2];
      o.p99 = latencies[latencies.size() * 99 / 100];
      o.worst = latencies.back();
    }
    o.head = cluster_->TakeHeadLoad();
    o.local_grants_per_s = cluster_->LocalGrantsPerSecond();
    o.head_bytes = cluster_->head_bytes();
    o.cpu = CpuNow() - cpu_;
    o.events = cluster_->events() - events_;
    return o;
  }

 private:
  Cluster* cluster_;
  TimeNs begin_, cpu_;
  uint64_t events_, started_;
};

std::string From(const std::string& what, uint32_t owners) {
  return what + ", " + std::to_string(owners) + (owners == 1 ? " owner" : " owners");
}

}  // namespace

Outcome Idle(const Size& size, TimeNs span) {
  Cluster cluster(size, Costs{}, 1);
  cluster.RunFor(2 * kSecond);  // all have said what they have
  const Watch watch(&cluster);
  cluster.RunFor(span);
  return watch.Stop("idle", 0, true);
}

Outcome Burst(const Size& size, uint32_t owners, uint64_t tasks, TimeNs run) {
  Cluster cluster(size, Costs{}, owners);
  const Watch watch(&cluster);
  SubmitAll(&cluster, tasks, run);
  const bool finished = cluster.RunUntilIdle(kPatience);
  return watch.Stop(From("burst", owners), tasks, finished);
}

Outcome WarmBurst(const Size& size, uint32_t owners, uint64_t tasks, TimeNs run) {
  Cluster cluster(size, Costs{}, owners);
  SubmitAll(&cluster, tasks, run);
  cluster.RunUntilIdle(kPatience);
  const Watch watch(&cluster);
  SubmitAll(&cluster, tasks, run);
  const bool finished = cluster.RunUntilIdle(kPatience);
  return watch.Stop(From("warm burst", owners), tasks, finished);
}

Outcome RampUp(const Size& size, uint32_t owners) {
  Cluster cluster(size, Costs{}, owners);
  const Watch watch(&cluster);
  const uint64_t tasks = uint64_t{size.nodes} * size.cpus;
  SubmitAll(&cluster, tasks, 10 * kPatience);
  while (cluster.started() < tasks && cluster.now() < kPatience) cluster.RunFor(100 * kMillisecond);
  return watch.Stop(From("ramp-up", owners), tasks, cluster.started() == tasks);
}

Outcome Steady(const Size& size, uint32_t owners, TimeNs run, TimeNs span) {
  Cluster cluster(size, Costs{}, owners);
  const double rate = 0.5 * size.nodes * size.cpus / static_cast<double>(run);  // tasks per ns
  const auto gap = static_cast<TimeNs>(owners / rate);
  const auto each = static_cast<uint64_t>(span / std::max<TimeNs>(gap, 1));
  const auto submit = [&](uint64_t count) {
    for (uint32_t i = 0; i < owners; ++i) cluster.owner(i).SubmitSteadily(OneCpu(), count, run, gap);
  };
  submit(each / 4);  // workers are started
  cluster.RunUntilIdle(kPatience);
  const Watch watch(&cluster);
  submit(each);
  const bool finished = cluster.RunUntilIdle(kPatience);
  return watch.Stop(From("steady", owners), each * owners, finished);
}

Outcome Actors(const Size& size, uint32_t owners, uint64_t actors) {
  Cluster cluster(size, Costs{}, owners);
  const Watch watch(&cluster);
  for (uint32_t i = 0; i < owners; ++i) cluster.owner(i).SubmitActors(actors / owners);
  while (cluster.started() < actors && cluster.now() < 100 * kSecond) cluster.RunFor(100 * kMillisecond);
  return watch.Stop(From("actors", owners), actors, cluster.started() == actors);
}

Outcome Groups(const Size& size, uint64_t groups, GroupStrategy strategy, uint32_t bundles, int64_t cpus) {
  Cluster cluster(size, Costs{}, 1);
  const Watch watch(&cluster);
  cluster.owner(0).CreateGroups(groups, strategy, bundles, cpus);
  const bool finished = cluster.RunUntilIdle(kPatience);
  const char* names[] = {"pack", "spread", "strict pack", "strict spread"};
  return watch.Stop(
      std::to_string(groups) + " x " + std::to_string(bundles) + " " + names[static_cast<size_t>(strategy)],
      groups, finished);
}

Outcome Deaths(const Size& size, uint32_t owners, uint32_t deaths) {
  Cluster cluster(size, Costs{}, owners);
  const uint64_t tasks = uint64_t{2} * size.nodes * size.cpus;
  const Watch watch(&cluster);
  SubmitAll(&cluster, tasks, kSecond);
  cluster.RunFor(kSecond);
  const uint32_t step = size.nodes / (deaths + 1);
  for (uint32_t i = 1; i <= deaths; ++i) {
    uint32_t node = 1 + i * step;
    while (std::any_of(cluster.owners().begin(), cluster.owners().end(),
                       [&](const auto& o) { return o->self().node == node; }))
      ++node;  // what its owners submitted would die with it
    cluster.KillNode(node);
  }
  const bool finished = cluster.RunUntilIdle(kPatience);
  return watch.Stop(From(std::to_string(deaths) + " deaths", owners), tasks, finished);
}

Outcome BigAmongSmall(const Size& size, uint32_t owners, uint64_t big, TimeNs run) {
  constexpr TimeNs kSpan = 120 * kSecond;
  Cluster cluster(size, Costs{}, owners + 1);
  const auto small = static_cast<uint64_t>(kSpan / run) * size.nodes * size.cpus / owners;
  for (uint32_t i = 1; i <= owners; ++i) cluster.owner(i).Submit(OneCpu(), small, run);
  cluster.RunFor(2 * kSecond);
  const Watch watch(&cluster);
  Owner& starving = cluster.owner(0);
  starving.SubmitMixed(std::vector<MixedTask>(big, {kMillisecond, size.cpus / 2, 0, 0}));
  const TimeNs begin = cluster.now();
  while (starving.pending() != 0 && cluster.now() < begin + kSpan / 2) cluster.RunFor(10 * kMillisecond);
  return watch.Stop("big among small", big, starving.pending() == 0);
}

MixedOutcome MixedWork(const Size& size, uint32_t owners, TimeNs span, uint64_t seed) {
  const Workload work = Mixed(size, span, seed);
  Cluster cluster(size, Costs{}, owners);
  const Watch watch(&cluster);
  std::vector<std::vector<MixedTask>> parts(owners);
  for (size_t i = 0; i < work.tasks.size(); ++i) parts[i % owners].push_back(work.tasks[i]);
  for (uint32_t i = 0; i < owners; ++i) cluster.owner(i).SubmitMixed(parts[i]);
  cluster.owner(0).SubmitGangs(work.gangs);
  const bool finished = cluster.RunUntilIdle(20 * span);
  MixedOutcome out;
  out.outcome = watch.Stop(From("mixed", owners), work.tasks.size(), finished);
  out.bound = ListSchedule(size, work);
  out.utilisation = static_cast<double>(out.bound.by_cpus) / static_cast<double>(out.outcome.makespan);
  return out;
}

}  // namespace rmpi::scale
