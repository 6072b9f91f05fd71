// SPDX-License-Identifier: Apache-2.0
// LocalScheduler: the bundles of placement groups (PROTOCOL A3).
#include <algorithm>

#include "sched/local_scheduler.h"

namespace rmpi::sched {

constexpr TimeNs kRecallPeriod = 100 * kMillisecond;

// Where a lease for this could come from now.
std::optional<BundleKey> LocalScheduler::RoomFor(const Shape& shape, bool earmarked) {
  if (shape.group != 0) {
    const BundleKey* key = bundles_.Fitting(shape.group, shape.bundle, shape.resources);
    return key == nullptr ? std::nullopt : std::optional<BundleKey>(*key);
  }
  if (!pool_.Fits(shape.resources) || (!earmarked && !SparesEarmark(shape.resources))) return std::nullopt;
  return BundleKey{0, 0};
}

void LocalScheduler::Use(const BundleKey& from) {
  if (from.first == 0) return;
  bundles_.Use(from);
  bundles_.Changed(from);
}

void LocalScheduler::GiveTo(const BundleKey& from, const Amounts& what, const Devices& devices) {
  PoolOf(from).Give(what, devices);
  if (from.first != 0) bundles_.Unuse(from);
}

// ---- a group's way in -------------------------------------------------------------------------------------

bool LocalScheduler::FitsAll(const Reserve& m) const {
  Pool left = pool_;
  return std::all_of(m.bundles.begin(), m.bundles.end(), [&](const auto& b) {
    if (!left.Fits(b.second)) return false;
    left.Take(b.second);
    return true;
  });
}

void LocalScheduler::OnReserve(const Reserve& m, TimeNs now) {
  const bool there = std::all_of(m.bundles.begin(), m.bundles.end(), [&](const auto& b) {
    return bundles_.Has({m.group, b.first});
  });
  if (there) return host_->SendReserved({m.group, m.epoch, true});
  // One that is being released stays until its last process has ended.
  const std::vector<BundleKey> of = bundles_.Of(m.group);
  const bool clear = std::none_of(m.bundles.begin(), m.bundles.end(), [&](const auto& b) {
    return std::find(of.begin(), of.end(), BundleKey{m.group, b.first}) != of.end();
  });
  promised_ = true;  // the head has deducted it already
  if (draining_) return host_->SendReserved({m.group, m.epoch, false});
  Amounts sum;
  for (const auto& [index, amounts] : m.bundles) Add(&sum, amounts);
  if (clear && FitsAll(m) && SparesEarmark(sum)) {
    bundles_.Take(m);
    return host_->SendReserved({m.group, m.epoch, true});
  }
  if (!m.earmark || !clear) return host_->SendReserved({m.group, m.epoch, false});
  EarmarkGroup(m, std::move(sum), now);
}

// ---- the end of the node ----------------------------------------------------------------------------------

void LocalScheduler::Drain(TimeNs now) {
  if (draining_) return;
  draining_ = promised_ = true;
  if (earmark_) {
    host_->SendReserved({earmark_->group, earmark_->epoch, false});
    EndGroupEarmark();
  }
  Dispatch(now);
}

// Again and again: a lease may have been granted just before its owner heard of the last recall.
void LocalScheduler::RecallAll(TimeNs now) {
  if (task_leases() == 0) return;
  if (now >= next_recall_) {
    next_recall_ = now + kRecallPeriod;
    std::map<Address, Reclaim> recalls;
    for (const auto& [id, lease] : leases_) {
      if (!lease.actor) recalls[lease.owner].leases.push_back(id);
    }
    for (const auto& [owner, recall] : recalls) host_->SendReclaim(owner, recall);
  }
  Arm(next_recall_);
}

// ---- the end of a bundle ----------------------------------------------------------------------------------

std::vector<Address> LocalScheduler::OnRelease(const Release& m, TimeNs now) {
  std::vector<BundleKey> released = bundles_.Of(m.group);
  if (!m.bundles.empty()) {
    std::erase_if(released, [&](const BundleKey& key) {
      return std::find(m.bundles.begin(), m.bundles.end(), key.second) == m.bundles.end();
    });
  }
  promised_ = true;
  if (earmark_ && earmark_->group == m.group) EndGroupEarmark();
  std::vector<Address> ran;
  for (const auto& [id, lease] : leases_) {
    if (std::find(released.begin(), released.end(), lease.from) == released.end()) continue;
    ran.push_back(lease.worker);
    const auto w = workers_.find(lease.worker);
    if (w != workers_.end()) w->second.retiring = true;  // no second lease before it is ended
  }
  for (const BundleKey& key : released) bundles_.Release(key);
  // What was assigned to them and has not begun: the head knows what becomes of it.
  for (auto& [key, c] : classes_) {
    if (!key.assigned || key.shape.group != m.group || !bundles_.PoolsOf(m.group, key.shape.bundle).empty())
      continue;
    while (!c.line.empty()) {
      Reject(&c.line.front());
      Erase(c.line.begin());
    }
  }
  Dispatch(now);
  return ran;
}

}  // namespace rmpi::sched
