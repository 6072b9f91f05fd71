// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/cpu_list.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <memory>

#include "runtime/node/files.h"

namespace rmpi {
namespace {

constexpr int kMaxCpus = 1 << 16;

struct FreeCpuSet {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};
using CpuSet = std::unique_ptr<cpu_set_t, FreeCpuSet>;

}  // namespace

CpuList ParseCpuList(const std::string& text) {
  CpuList cpus;
  for (const std::string& range : Split(text, ',')) {
    int first = 0, last = 0;
    const int found = std::sscanf(range.c_str(), "%d-%d", &first, &last);
    if (found < 1 || first < 0) continue;
    if (found == 1) last = first;
    for (int cpu = first; cpu <= last && cpu < kMaxCpus; ++cpu) cpus.push_back(cpu);
  }
  std::sort(cpus.begin(), cpus.end());
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  return cpus;
}

std::string FormatCpuList(const CpuList& cpus) {
  std::string text;
  for (size_t i = 0; i < cpus.size();) {
    size_t j = i;
    while (j + 1 < cpus.size() && cpus[j + 1] == cpus[j] + 1) ++j;
    text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
    if (j > i) text += "-" + std::to_string(cpus[j]);
    i = j + 1;
  }
  return text;
}

CpuList Intersect(const CpuList& a, const CpuList& b) {
  CpuList both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

CpuList PartOf(const CpuList& cpus, int index, int parts) {
  const size_t each = cpus.size() / static_cast<size_t>(parts),
               more = cpus.size() % static_cast<size_t>(parts);
  const size_t i = static_cast<size_t>(index);
  const size_t begin = i * each + std::min(i, more), end = begin + each + (i < more ? 1 : 0);
  return {cpus.begin() + static_cast<std::ptrdiff_t>(begin), cpus.begin() + static_cast<std::ptrdiff_t>(end)};
}

CpuList AffinityOf(pid_t pid) {
  // The kernel refuses a set smaller than its own; it does not say how large that is.
  for (int room = 1024; room <= kMaxCpus; room *= 4) {
    CpuSet set(CPU_ALLOC(static_cast<size_t>(room)));
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(room));
    if (::sched_getaffinity(pid, bytes, set.get()) == 0) {
      CpuList cpus;
      for (int cpu = 0; cpu < room; ++cpu) {
        if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set.get())) cpus.push_back(cpu);
      }
      return cpus;
    }
    if (errno != EINVAL) break;
  }
  return {};
}

Status BindToCpus(const CpuList& cpus) {
  if (cpus.empty()) return Status::Invalid("no CPU to bind to");
  const size_t room = static_cast<size_t>(*std::max_element(cpus.begin(), cpus.end())) + 1;
  CpuSet set(CPU_ALLOC(room));
  const size_t bytes = CPU_ALLOC_SIZE(room);
  CPU_ZERO_S(bytes, set.get());
  for (int cpu : cpus) CPU_SET_S(static_cast<size_t>(cpu), bytes, set.get());
  if (::sched_setaffinity(0, bytes, set.get()) == 0) return Status::Ok();
  return Status::Io("cannot bind to the CPUs " + FormatCpuList(cpus), errno);
}

}  // namespace rmpi
