// SPDX-License-Identifier: Apache-2.0
#include "sched/resources.h"

#include <algorithm>
#include <cstdio>

namespace rmpi::sched {
namespace {

constexpr const char* kCritical[] = {"CPU", "memory"};

template <class A>
auto Lower(A& a, const std::string& name) {
  return std::lower_bound(a.begin(), a.end(), name,
                          [](const auto& x, const std::string& n) { return x.first < n; });
}

void Change(Amounts* a, const Amounts& what, int64_t sign) {
  for (const auto& [name, amount] : what) {
    auto it = Lower(*a, name);
    if (it == a->end() || it->first != name) it = a->insert(it, {name, 0});
    it->second += sign * amount;
  }
}

}  // namespace

int64_t AmountOf(const Amounts& a, const std::string& name) {
  const auto it = Lower(a, name);
  return it == a.end() || it->first != name ? 0 : it->second;
}

bool Fits(const Amounts& have, const Amounts& want) {
  return std::all_of(want.begin(), want.end(),
                     [&](const auto& w) { return AmountOf(have, w.first) >= w.second; });
}

void Subtract(Amounts* from, const Amounts& what) { Change(from, what, -1); }
void Add(Amounts* to, const Amounts& what) { Change(to, what, 1); }

double CriticalUse(const Amounts& total, const Amounts& available) {
  double most = 0;
  for (const auto& [name, amount] : total) {
    if (amount <= 0) continue;
    const double used = 1.0 - static_cast<double>(AmountOf(available, name)) / static_cast<double>(amount);
    most = std::max(most, used);
  }
  return most;
}

double BusyShare(const Amounts& total, const Amounts& available) {
  double most = 0;
  for (const char* name : kCritical) {
    const auto all = static_cast<double>(AmountOf(total, name));
    if (all <= 0) continue;
    most = std::max(most, 1.0 - static_cast<double>(AmountOf(available, name)) / all);
  }
  return most;
}

bool Crowded(const Amounts& total, const Amounts& available) {
  return std::any_of(std::begin(kCritical), std::end(kCritical), [&](const char* name) {
    const int64_t all = AmountOf(total, name);
    return all > 0 && 2 * AmountOf(available, name) <= all;
  });
}

uint64_t CountUntilCrowded(const Amounts& total, const Amounts& available, const Amounts& want) {
  uint64_t count = UINT64_MAX;
  for (const char* name : kCritical) {
    const int64_t all = AmountOf(total, name), each = 2 * AmountOf(want, name);
    if (all <= 0 || each <= 0) continue;
    const int64_t over = std::max<int64_t>(2 * AmountOf(available, name) - all, 0);
    count = std::min(count, static_cast<uint64_t>((over + each - 1) / each));
  }
  return count;
}

bool HasGpus(const Amounts& amounts) { return AmountOf(amounts, "GPU") > 0; }

std::string ToString(const Amounts& a) {
  std::string out = "{";
  for (const auto& [name, amount] : a) {
    char number[32];
    std::snprintf(number, sizeof number, "%.15g", static_cast<double>(amount) / kResourceUnit);
    out += (out.size() > 1 ? ", " : "") + name + ": " + number;
  }
  return out + "}";
}

}  // namespace rmpi::sched
