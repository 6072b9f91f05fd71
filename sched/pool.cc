// SPDX-License-Identifier: Apache-2.0
#include "sched/pool.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <string_view>

namespace rmpi::sched {
namespace {

constexpr std::array<std::string_view, 9> kUnitResources = {"FURIOSA", "GPU", "HPU",   "MBLT",        "NPU",
                                                            "RBLN",    "TPU", "TTNPU", "neuron_cores"};

uint32_t CountOf(int64_t amount) {
  return static_cast<uint32_t>((amount + kResourceUnit - 1) / kResourceUnit);
}

// What a lease has of each of its devices.
int64_t ShareOf(int64_t want) { return std::min(want, kResourceUnit); }

const std::string kWhole = "whole:", kPart = "part:";

struct Unit {
  int64_t whole = 0, part = 0;
  bool operator==(const Unit&) const = default;
};

Unit Unhinted(int64_t available) {
  const int64_t free = std::max<int64_t>(available, 0);
  return {free - free % kResourceUnit, free % kResourceUnit};
}

Unit UnitIn(const Amounts& report, const std::string& resource) {
  const auto has = [&](const auto& r) { return r.first == kWhole + resource; };
  if (std::none_of(report.begin(), report.end(), has)) return Unhinted(AmountOf(report, resource));
  return {AmountOf(report, kWhole + resource), AmountOf(report, kPart + resource)};
}

void Hint(Amounts* report, const std::string& resource, const Unit& unit) {
  std::erase_if(*report,
                [&](const auto& r) { return r.first == kWhole + resource || r.first == kPart + resource; });
  if (unit == Unhinted(AmountOf(*report, resource))) return;
  Add(report, {{kWhole + resource, unit.whole}, {kPart + resource, unit.part}});
}

}  // namespace

bool IsUnitResource(const std::string& name) {
  return std::find(kUnitResources.begin(), kUnitResources.end(), name) != kUnitResources.end();
}

Amounts UnitsOf(const Amounts& a) {
  Amounts units;
  std::copy_if(a.begin(), a.end(), std::back_inserter(units),
               [](const auto& r) { return IsUnitResource(r.first); });
  return units;
}

uint32_t DeviceCount(const Amounts& total) {
  uint32_t count = 0;
  for (const auto& [name, amount] : UnitsOf(total)) count += CountOf(amount);
  return count;
}

Pool::Pool(const Amounts& total) : available_(total) {
  for (const auto& [name, amount] : UnitsOf(total)) {
    if (amount <= 0) continue;
    kinds_.push_back({name, static_cast<uint32_t>(free_.size()), CountOf(amount)});
    for (int64_t left = amount; left > 0; left -= kResourceUnit) free_.push_back(ShareOf(left));
  }
  for (uint32_t place = 0; place < free_.size(); ++place) numbers_.push_back(place);
}

// A lease numbers its devices as its node does: by resource, in the order of their names.
Pool::Pool(const Amounts& part, const Devices& devices) : Pool(part) {
  assert(devices.size() == free_.size());
  numbers_ = devices;
}

bool Pool::Fits(const Amounts& want) const {
  if (!sched::Fits(available_, want)) return false;
  for (const Kind& kind : kinds_) {
    const int64_t amount = AmountOf(want, kind.resource);
    if (amount <= 0) continue;
    if (amount > kResourceUnit && amount % kResourceUnit != 0) return false;  // no device and a half
    const auto first = free_.begin() + kind.first;
    const auto have =
        std::count_if(first, first + kind.count, [&](int64_t f) { return f >= ShareOf(amount); });
    if (have < CountOf(amount)) return false;
  }
  return true;
}

void Pool::TakeOf(const Kind& kind, int64_t want, Devices* out) {
  if (want < kResourceUnit) {
    uint32_t best = UINT32_MAX;
    for (uint32_t d = kind.first; d < kind.first + kind.count; ++d) {
      if (free_[d] >= want && (best == UINT32_MAX || free_[d] < free_[best])) best = d;
    }
    assert(best != UINT32_MAX);
    free_[best] -= want;
    out->push_back(numbers_[best]);
    return;
  }
  int64_t left = want;
  for (uint32_t d = kind.first; d < kind.first + kind.count && left > 0; ++d) {
    if (free_[d] != kResourceUnit) continue;
    free_[d] = 0;
    left -= kResourceUnit;
    out->push_back(numbers_[d]);
  }
  assert(left == 0);
}

Devices Pool::Take(const Amounts& want) {
  Subtract(&available_, want);
  Devices devices;
  for (const Kind& kind : kinds_) {
    if (const int64_t amount = AmountOf(want, kind.resource); amount > 0) TakeOf(kind, amount, &devices);
  }
  return devices;
}

void Pool::Give(const Amounts& what, const Devices& devices) {
  Add(&available_, what);
  auto device = devices.begin();
  for (const Kind& kind : kinds_) {
    const int64_t amount = AmountOf(what, kind.resource);
    for (uint32_t d = kind.first; d < kind.first + kind.count && device != devices.end(); ++d) {
      if (numbers_[d] != *device) continue;
      free_[d] += ShareOf(amount);
      ++device;
    }
  }
  assert(device == devices.end());
}

Amounts Pool::Report() const {
  Amounts report = available_;
  for (const Kind& kind : kinds_) {
    Unit unit;
    for (uint32_t d = kind.first; d < kind.first + kind.count; ++d) {
      if (free_[d] == kResourceUnit) {
        unit.whole += kResourceUnit;
      } else {
        unit.part = std::max(unit.part, free_[d]);
      }
    }
    Hint(&report, kind.resource, unit);
  }
  return report;
}

bool ReportFits(const Amounts& report, const Amounts& want) {
  if (!Fits(report, want)) return false;
  return std::all_of(want.begin(), want.end(), [&](const auto& w) {
    const auto& [name, amount] = w;
    if (amount <= 0 || !IsUnitResource(name)) return true;
    const Unit unit = UnitIn(report, name);
    if (amount >= kResourceUnit) return amount % kResourceUnit == 0 && unit.whole >= amount;
    return unit.whole > 0 || unit.part >= amount;
  });
}

void TakeFromReport(Amounts* report, const Amounts& want) {
  for (const auto& [name, amount] : want) {
    const bool is_unit = IsUnitResource(name);
    Unit unit = is_unit ? UnitIn(*report, name) : Unit{};
    Subtract(report, {{name, amount}});
    if (!is_unit) continue;
    if (amount >= kResourceUnit) {
      unit.whole -= amount;
    } else if (unit.part >= amount) {
      unit.part -= amount;
    } else {
      unit.whole -= kResourceUnit;
      unit.part = std::max(unit.part, kResourceUnit - amount);
    }
    Hint(report, name, unit);
  }
}

uint64_t CountFits(const Amounts& report, const Amounts& want, uint64_t most) {
  uint64_t count = most;
  for (const auto& [name, amount] : want) {
    if (amount <= 0) continue;
    count = std::min(count, static_cast<uint64_t>(std::max<int64_t>(AmountOf(report, name), 0) / amount));
  }
  if (count == 0 || UnitsOf(want).empty()) return count;
  Amounts left = report;  // parts of devices do not add up
  uint64_t fit = 0;
  for (; fit < count && ReportFits(left, want); ++fit) TakeFromReport(&left, want);
  return fit;
}

void TakeManyFromReport(Amounts* report, const Amounts& want, uint64_t count) {
  if (!UnitsOf(want).empty()) {
    for (; count > 0; --count) TakeFromReport(report, want);
    return;
  }
  Amounts sum = want;
  for (auto& [name, amount] : sum) amount *= static_cast<int64_t>(count);
  Subtract(report, sum);
}

Amounts WithoutHints(const Amounts& report) {
  Amounts out = report;
  std::erase_if(out, [](const auto& r) { return r.first.starts_with(kWhole) || r.first.starts_with(kPart); });
  return out;
}

}  // namespace rmpi::sched
