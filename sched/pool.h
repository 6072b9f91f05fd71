// SPDX-License-Identifier: Apache-2.0
// What a node has free. Most resources are a plain amount; unit resources (GPU and other accelerators) are
// devices as well: a lease takes whole ones, or a part of a single one.
//
// Invariants: no device is given out beyond what it is (one unit); no lease has parts of two devices; what
// Give puts back is exactly what Take took. Only CPU can be in debt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sched/resources.h"

namespace rmpi::sched {

// Whether a resource comes in devices: Ray's list.
bool IsUnitResource(const std::string& name);
// The part of `a` that comes in devices.
Amounts UnitsOf(const Amounts& a);
// How many devices a node with this total has; the last one may be a part.
uint32_t DeviceCount(const Amounts& total);

// Numbers of devices, ascending. A node numbers them all in one row: resources by name, each from its first.
using Devices = std::vector<uint32_t>;

class Pool {
 public:
  explicit Pool(const Amounts& total);
  // A part of another pool's amounts, on these of its devices; a part of a device is one that was shared.
  Pool(const Amounts& part, const Devices& devices);

  const Amounts& available() const { return available_; }
  bool Fits(const Amounts& want) const;
  // `want` must fit. Whole devices: the first free ones. A part: of the fullest device that has it, so that
  // the others stay whole.
  Devices Take(const Amounts& want);
  void Give(const Amounts& what, const Devices& devices);
  // The CPU of a task that waits. May become a debt.
  void Lend(const Amounts& cpu) { Add(&available_, cpu); }
  void TakeBack(const Amounts& cpu) { Subtract(&available_, cpu); }

  // What the head is told: available(), and where devices are partly used, what that hides (see below).
  Amounts Report() const;

  // Free of the device at that place, 0 to kResourceUnit.
  int64_t free_of(uint32_t place) const { return free_[place]; }
  size_t device_count() const { return free_.size(); }

 private:
  struct Kind {
    std::string resource;
    uint32_t first = 0, count = 0;  // places in free_
  };

  void TakeOf(const Kind& kind, int64_t want, Devices* out);

  Amounts available_;
  std::vector<Kind> kinds_;
  std::vector<int64_t> free_;  // by place
  Devices numbers_;            // of the devices at these places, ascending
};

// A report is amounts, with hints "whole:GPU" (of devices that are all free) and "part:GPU" (the most that is
// free of a used one) unless the sum already says so. The head needs no more to know what fits.
bool ReportFits(const Amounts& report, const Amounts& want);
void TakeFromReport(Amounts* report, const Amounts& want);
// How many of it fit, up to `most`; and many taken at once.
uint64_t CountFits(const Amounts& report, const Amounts& want, uint64_t most);
void TakeManyFromReport(Amounts* report, const Amounts& want, uint64_t count);
Amounts WithoutHints(const Amounts& report);

}  // namespace rmpi::sched
