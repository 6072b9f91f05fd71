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

uint32_t CountOf(int64_t amount) { return static_cast<uint32_t>((amount + kResourceUnit - 1) / kResourceUnit); }

// What a lease has of each of its devices.
int64_t ShareOf(int64_t want) { return std::min(want, kResourceUnit); }

}  // namespace

bool IsUnitResource(const std::string& name) {
  return std::find(kUnitResources.begin(), kUnitResources.end(), name) != kUnitResources.end();
}

Amounts UnitsOf(const Amounts& a) {
  Amounts units;
  std::copy_if(a.begin(), a.end(), std::back_inserter(units), [](const auto& r) { return IsUnitResource(r.first); });
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
}

bool Pool::Fits(const Amounts& want) const {
  if (!sched::Fits(available_, want)) return false;
  for (const Kind& kind : kinds_) {
    const int64_t amount = AmountOf(want, kind.resource);
    if (amount <= 0) continue;
    if (amount > kResourceUnit && amount % kResourceUnit != 0) return false;  // no device and a half
    const auto first = free_.begin() + kind.first;
    const auto have = std::count_if(first, first + kind.count, [&](int64_t f) { return f >= ShareOf(amount); });
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
    out->push_back(best);
    return;
  }
  int64_t left = want;
  for (uint32_t d = kind.first; d < kind.first + kind.count && left > 0; ++d) {
    if (free_[d] != kResourceUnit) continue;
    free_[d] = 0;
    left -= kResourceUnit;
    out->push_back(d);
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
    for (; device != devices.end() && *device < kind.first + kind.count; ++device) free_[*device] += ShareOf(amount);
  }
  assert(device == devices.end());
}

}  // namespace rmpi::sched
