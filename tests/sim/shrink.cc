// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/shrink.h"

#include "tests/sim/world.h"

namespace rmpi::sim {
namespace {

constexpr uint64_t kSeedsPerTry = 24;

struct Run {
  uint64_t seed = 0;
  Limits limits;
  std::string failure;
};

// "(3)" and the like: which invariant a failure's first line names.
std::string Kind(const std::string& failure) {
  const std::string line = failure.substr(0, failure.find('\n'));
  const size_t open = line.rfind('('), close = line.rfind(')');
  return open == std::string::npos || close < open ? line : line.substr(open, close - open);
}

std::string Options(const Run& run) {
  std::string text = "--seed=" + std::to_string(run.seed);
  if (run.limits.tasks != UINT32_MAX) text += " --tasks=" + std::to_string(run.limits.tasks);
  if (run.limits.nodes != UINT32_MAX) text += " --nodes=" + std::to_string(run.limits.nodes);
  std::string names;
  for (const std::string& name : run.limits.without) names += (names.empty() ? "" : ",") + name;
  return names.empty() ? text : text + " --without=" + names;
}

// A run within these limits that fails alike. Seeds are taken in steps of 12, which keeps what a seed's
// remainders decide.
bool Fails(uint64_t seed, const Limits& limits, const std::string& kind, Run* out) {
  for (uint64_t i = 0; i < kSeedsPerTry; ++i) {
    const std::string failure = World(seed + 12 * i, false, limits).Run();
    if (failure.empty() || Kind(failure) != kind) continue;
    out->seed = seed + 12 * i;
    out->limits = limits;
    out->failure = failure;
    return true;
  }
  return false;
}

}  // namespace

std::string Shrink(uint64_t seed) {
  Run best;
  best.seed = seed;
  best.failure = World(seed, false).Run();
  if (best.failure.empty()) return "";
  const std::string kind = Kind(best.failure);
  const auto attempt = [&](const Limits& limits) { return Fails(best.seed, limits, kind, &best); };
  Features features;
  for (const auto& [name, on] : Switches(&features)) {
    Limits limits = best.limits;
    limits.without.insert(name);
    attempt(limits);
  }
  for (uint32_t nodes = 1; nodes < 4; ++nodes) {
    Limits limits = best.limits;
    limits.nodes = nodes;
    if (attempt(limits)) break;
  }
  uint32_t tasks = 512;
  for (uint32_t step = 256; step != 0; step /= 2) {  // a search by halves
    Limits limits = best.limits;
    limits.tasks = tasks - step;
    if (attempt(limits)) tasks -= step;
  }
  return "the smallest run that fails alike: sim_test " + Options(best) + " --verbose\n" + best.failure;
}

}  // namespace rmpi::sim
