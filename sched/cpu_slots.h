// SPDX-License-Identifier: Apache-2.0
// Which logical CPUs a lease's worker is bound to. Only whole CPUs are bound: a lease of none, or of a part
// of one, runs wherever its node may, and so does one for which too few are free (others hold CPUs that they
// have lent while they wait).
//
// Invariants: no CPU belongs to two leases; what Give puts back is what Take gave out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rmpi::sched {

struct CpuPlace {
  int cpu = 0;   // the kernel's number
  int core = 0;  // those of one core share it
  int numa = 0;
};

using CpuSet = std::vector<int>;  // kernel's numbers, ascending

constexpr int kAnyNuma = -1;

class CpuSlots {
 public:
  // None: nothing is ever bound. By locality: neighbours share most.
  explicit CpuSlots(std::vector<CpuPlace> cpus);

  // `before`, what the worker ran with, if that will do: it need not be bound anew. Else of one NUMA domain
  // where one has as many: `near`, or the one that has least to spare; cores that are free as a whole first.
  // Empty: unbound.
  CpuSet Take(uint32_t count, const CpuSet& before, int near);
  void Give(const CpuSet& cpus);

  size_t free_count() const { return free_; }
  int NumaOf(int cpu) const;

 private:
  struct Slot {
    CpuPlace place;
    bool free = true;
  };

  bool AllFree(const CpuSet& cpus) const;
  size_t FreeIn(int numa) const;
  void TakeFrom(int numa, size_t count, CpuSet* out);
  void Use(size_t slot, CpuSet* out);

  std::vector<Slot> slots_;
  std::vector<int> domains_;  // in the order of their first CPU
  std::vector<int> index_;    // cpu -> slot; -1: not ours
  size_t free_ = 0;
};

}  // namespace rmpi::sched
