// SPDX-License-Identifier: Apache-2.0
#include "sched/cpu_slots.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

namespace rmpi::sched {

CpuSlots::CpuSlots(std::vector<CpuPlace> cpus) : free_(cpus.size()) {
  for (const CpuPlace& place : cpus) {
    const auto cpu = static_cast<size_t>(place.cpu);
    if (cpu >= index_.size()) index_.resize(cpu + 1, -1);
    index_[cpu] = static_cast<int>(slots_.size());
    slots_.push_back({place, true});
    if (std::find(domains_.begin(), domains_.end(), place.numa) == domains_.end())
      domains_.push_back(place.numa);
  }
}

int CpuSlots::NumaOf(int cpu) const {
  return slots_[static_cast<size_t>(index_[static_cast<size_t>(cpu)])].place.numa;
}

bool CpuSlots::AllFree(const CpuSet& cpus) const {
  return std::all_of(cpus.begin(), cpus.end(), [&](int cpu) {
    return slots_[static_cast<size_t>(index_[static_cast<size_t>(cpu)])].free;
  });
}

size_t CpuSlots::FreeIn(int numa) const {
  return static_cast<size_t>(std::count_if(slots_.begin(), slots_.end(),
                                           [&](const Slot& s) { return s.free && s.place.numa == numa; }));
}

void CpuSlots::Use(size_t slot, CpuSet* out) {
  slots_[slot].free = false;
  out->push_back(slots_[slot].place.cpu);
  --free_;
}

void CpuSlots::TakeFrom(int numa, size_t count, CpuSet* out) {
  std::map<int, size_t> free_of_core;
  for (const Slot& s : slots_) {
    if (s.free && s.place.numa == numa) ++free_of_core[s.place.core];
  }
  std::vector<size_t> order;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].free && slots_[i].place.numa == numa) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int core_a = slots_[a].place.core, core_b = slots_[b].place.core;
    return free_of_core[core_a] > free_of_core[core_b];
  });
  for (size_t i = 0; i < std::min(count, order.size()); ++i) Use(order[i], out);
}

CpuSet CpuSlots::Take(uint32_t count, const CpuSet& before, int near) {
  CpuSet out;
  if (count == 0 || count > free_) return out;
  const bool same = before.size() == count && AllFree(before) &&
                    (near == kAnyNuma ||
                     std::all_of(before.begin(), before.end(), [&](int cpu) { return NumaOf(cpu) == near; }));
  if (same) {
    for (int cpu : before) Use(static_cast<size_t>(index_[static_cast<size_t>(cpu)]), &out);
    return out;
  }
  // Those that have enough first, the fullest of them before others; of the rest those with most.
  std::vector<std::pair<int, size_t>> domains;
  for (int d : domains_) domains.emplace_back(d, FreeIn(d));
  std::stable_sort(domains.begin(), domains.end(), [&](const auto& a, const auto& b) {
    const bool enough_a = a.second >= count, enough_b = b.second >= count;
    if (enough_a != enough_b) return enough_a;
    if ((a.first == near) != (b.first == near)) return a.first == near;
    return enough_a ? a.second < b.second : a.second > b.second;
  });
  for (const auto& [domain, free] : domains) {
    if (out.size() == count) break;
    TakeFrom(domain, count - out.size(), &out);
  }
  std::sort(out.begin(), out.end());
  return out;
}

void CpuSlots::Give(const CpuSet& cpus) {
  for (int cpu : cpus) {
    Slot& slot = slots_[static_cast<size_t>(index_[static_cast<size_t>(cpu)])];
    assert(!slot.free);
    slot.free = true;
    ++free_;
  }
}

}  // namespace rmpi::sched
