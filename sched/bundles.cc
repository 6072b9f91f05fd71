// SPDX-License-Identifier: Apache-2.0
#include "sched/bundles.h"

namespace rmpi::sched {
namespace {

bool IsAsked(const BundleKey& key, int32_t index) {
  return index < 0 || key.second == static_cast<uint32_t>(index);
}

}  // namespace

void Bundles::Take(const Reserve& m) {
  for (const auto& [index, amounts] : m.bundles) {
    const BundleKey key{m.group, index};
    Devices devices = node_->Take(amounts);
    Pool pool(amounts, devices);
    bundles_.insert_or_assign(key, Bundle{amounts, std::move(devices), std::move(pool), 0, false});
    changed_.insert(key);
  }
}

bool Bundles::Has(const BundleKey& key) const {
  const auto it = bundles_.find(key);
  return it != bundles_.end() && !it->second.released;
}

const BundleKey* Bundles::Fitting(uint32_t group, int32_t index, const Amounts& want) const {
  const auto it = Find(group, [&](const BundleKey& key, const Bundle& b) {
    return IsAsked(key, index) && !b.released && b.pool.Fits(want);
  });
  return it == bundles_.end() ? nullptr : &it->first;
}

std::vector<Pool> Bundles::PoolsOf(uint32_t group, int32_t index) const {
  std::vector<Pool> out;
  Find(group, [&](const BundleKey& key, const Bundle& b) {
    if (IsAsked(key, index) && !b.released) out.push_back(b.pool);
    return false;
  });
  return out;
}

void Bundles::Unuse(const BundleKey& key) {
  Bundle& b = bundles_.at(key);
  changed_.insert(key);
  if (--b.uses == 0 && b.released) GiveBack(key);
}

void Bundles::Release(const BundleKey& key) {
  Bundle& b = bundles_.at(key);
  b.released = true;
  if (b.uses == 0) GiveBack(key);
}

void Bundles::GiveBack(const BundleKey& key) {
  const auto it = bundles_.find(key);
  node_->Give(it->second.total, it->second.devices);
  bundles_.erase(it);
  changed_.erase(key);
}

std::vector<BundleKey> Bundles::Of(uint32_t group) const {
  std::vector<BundleKey> out;
  Find(group, [&](const BundleKey& key, const Bundle&) {
    out.push_back(key);
    return false;
  });
  return out;
}

std::vector<BundleReport> Bundles::TakeReport(const std::vector<std::pair<const Shape*, uint64_t>>& waits) {
  std::map<BundleKey, Pool> left;
  for (const BundleKey& key : changed_) {
    if (const auto it = bundles_.find(key); it != bundles_.end() && !it->second.released)
      left.emplace(key, it->second.pool);
  }
  changed_.clear();
  for (const auto& [shape, count] : waits) {
    uint64_t unplaced = count;
    for (auto it = left.lower_bound({shape->group, 0});
         it != left.end() && it->first.first == shape->group && unplaced > 0; ++it) {
      if (!IsAsked(it->first, shape->bundle)) continue;
      if (shape->resources.empty()) break;
      for (; unplaced > 0 && it->second.Fits(shape->resources); --unplaced) it->second.Take(shape->resources);
    }
  }
  std::vector<BundleReport> out;
  for (const auto& [key, pool] : left) out.push_back({key.first, key.second, pool.Report()});
  return out;
}

}  // namespace rmpi::sched
