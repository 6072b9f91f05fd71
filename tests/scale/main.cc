// SPDX-License-Identifier: Apache-2.0
// Prints what the schedulers do at a size: see --help.
#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <iostream>

#include "tests/scale/scenarios.h"

namespace po = boost::program_options;

namespace rmpi::scale {
namespace {

double Ms(TimeNs t) { return static_cast<double>(t) / 1e6; }

void Print(const Outcome& o) {
  fmt::print(
      "{:<24} {:>9} {:>9} {:>10.0f} {:>10.0f} {:>9.2f} {:>9.2f} {:>9.1f} {:>9.5f} {:>10.0f} {:>10.0f} "
      "{:>9.0f} {:>8.1f}{}\n",
      o.name, o.tasks, o.started, Ms(o.to_last_start), Ms(o.makespan), Ms(o.p50), Ms(o.p99), Ms(o.worst),
      o.head_messages_per_task(), o.decisions_per_s(), o.local_grants_per_s, o.heartbeats_per_s(),
      static_cast<double>(o.cpu) / 1e9, o.finished ? "" : "  NOT FINISHED");
  std::fflush(stdout);
}

void Print(const MixedOutcome& o) {
  Print(o.outcome);
  fmt::print(
      "{:<24} {:.1f} s, utilisation {:.1f} %: {:.1f} % over a list schedule that knows everything ({:.1f} "
      "s); all work on all "
      "CPUs {:.1f} s, on all GPUs {:.1f} s, the longest task {:.1f} s\n",
      "", Ms(o.outcome.makespan) / 1e3, 100 * o.utilisation, 100 * (o.over_bound() - 1),
      Ms(o.bound.makespan) / 1e3, Ms(o.bound.by_cpus) / 1e3, Ms(o.bound.by_gpus) / 1e3,
      Ms(o.bound.longest) / 1e3);
  std::fflush(stdout);
}

int Run(int argc, char** argv) {
  Size size;
  uint64_t tasks = 0;
  uint32_t deaths = 0;
  int64_t span = 0;
  uint64_t seed = 0;
  std::string only;
  po::options_description options(
      "Simulates the schedulers of a large cluster, in virtual time, and prints a line per scenario.\n"
      "Times are virtual milliseconds; decisions/s and grants/s are per core of real CPU time of the head's "
      "GCS\n"
      "and of the nodes' schedulers on this machine; cpu is that of the whole simulation");
  options.add_options()("help,h", "this text")("nodes", po::value(&size.nodes)->default_value(1000), "nodes")(
      "cpus", po::value(&size.cpus)->default_value(128), "CPUs of each")(
      "tasks", po::value(&tasks)->default_value(1'000'000), "of the bursts")(
      "deaths", po::value(&deaths)->default_value(100), "nodes that die in the last scenario")(
      "span", po::value(&span)->default_value(600),
      "seconds of all CPUs that the mixed workload takes at least")(
      "flat", po::bool_switch(&size.flat), "all nodes report to the head, none through another")(
      "seed", po::value(&seed)->default_value(1), "of the mixed workload")("only", po::value(&only),
                                                                           "scenarios whose name begins so");
  po::variables_map given;
  try {
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
  } catch (const po::error& e) {
    fmt::print(stderr, "scale: {}; see --help\n", e.what());
    return 2;
  }
  if (given.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  fmt::print("{} nodes of {} CPUs\n", size.nodes, size.cpus);
  fmt::print("{:<24} {:>9} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10} {:>9} {:>8}\n", "",
             "tasks", "started", "last start", "makespan", "p50", "p99", "worst", "head msg", "decisions/s",
             "grants/s", "reports/s", "cpu s");
  const auto wanted = [&](const std::string& name) { return name.starts_with(only); };
  size_t head_bytes = 0;
  const auto show = [&](const Outcome& o) {
    Print(o);
    head_bytes = o.head_bytes;
  };
  if (wanted("idle")) show(Idle(size, 5 * kSecond));
  for (uint32_t owners : {1U, 100U, 1000U}) {
    if (wanted("burst")) show(Burst(size, owners, tasks, 10 * kMillisecond));
  }
  for (uint32_t owners : {1U, 100U, 1000U}) {
    if (wanted("warm")) show(WarmBurst(size, owners, tasks, 10 * kMillisecond));
  }
  for (uint32_t owners : {1U, 100U}) {
    if (wanted("ramp-up")) show(RampUp(size, owners));
  }
  if (wanted("steady")) show(Steady(size, 1000, 100 * kMillisecond, 2 * kSecond));
  if (wanted("big")) show(BigAmongSmall(size, 10, 10, 100 * kMillisecond));
  if (wanted("mixed")) {
    Size mixed = size;
    mixed.gpus = 8;
    for (uint32_t owners : {1U, 10U}) Print(MixedWork(mixed, owners, span * kSecond, seed));
  }
  if (wanted("actors")) show(Actors(size, 1, 10'000));
  if (wanted("actors")) show(Actors(size, 100, 10'000));
  if (wanted("groups")) {
    show(Groups(size, 1000, GroupStrategy::kPack, 64, 1));
    show(Groups(size, 1000, GroupStrategy::kSpread, 64, 1));
    show(Groups(size, 1, GroupStrategy::kStrictSpread, std::min(size.nodes, 1000U), size.cpus));
  }
  if (wanted("deaths")) show(Deaths(size, 10, deaths));
  fmt::print("the head keeps {:.1f} MB of the nodes\n", static_cast<double>(head_bytes) / 1e6);
  return 0;
}

}  // namespace
}  // namespace rmpi::scale

int main(int argc, char** argv) { return rmpi::scale::Run(argc, argv); }
