// SPDX-License-Identifier: Apache-2.0
// LocalScheduler: earmarks. What becomes free on the node goes to whom the head has chosen: bundles of a
// group, or a task that starves, before anybody else gets it. There is one earmark at a time; a group's goes
// first.
//
// Invariant: earmarked_ is not empty just as long as a group (earmark_) or one demand whose class says so
// waits here.
#include <algorithm>
#include <map>
#include <utility>

#include "sched/local_scheduler.h"

namespace rmpi::sched {

// Whether what the earmark waits for is still there without this.
bool LocalScheduler::SparesEarmark(const Amounts& want) const {
  if (earmarked_.empty()) return true;
  return std::all_of(want.begin(), want.end(), [&](const auto& w) {
    const auto& [name, amount] = w;
    const int64_t reserved = AmountOf(earmarked_, name);
    return amount <= 0 || reserved == 0 || AmountOf(pool_.available(), name) - amount >= reserved;
  });
}

void LocalScheduler::EarmarkGroup(const Reserve& m, Amounts sum, TimeNs now) {
  for (auto& [key, c] : classes_) {  // a task's: it goes elsewhere
    while (key.earmark && !c.line.empty()) {
      Reject(&c.line.front());
      Erase(c.line.begin());
    }
  }
  earmark_ = m;
  earmarked_ = std::move(sum);
  Recall(nullptr);
  Dispatch(now);
}

void LocalScheduler::EndGroupEarmark() {
  earmark_.reset();
  earmarked_.clear();
}

void LocalScheduler::ServeEarmark() {
  if (!earmark_ || !FitsAll(*earmark_)) return;
  bundles_.Take(*earmark_);
  const Reserved done{earmark_->group, earmark_->epoch, true};
  EndGroupEarmark();
  host_->SendReserved(done);
}

// Whether that lease is not one of just those that `than` would get: to take it from its owner and give it
// back serves nobody.
bool LocalScheduler::Others(const LeaseRecord& lease, const Demand* than) const {
  if (lease.actor || lease.from.first != 0) return false;
  return than == nullptr || lease.owner != than->owner || lease.resources != than->shape.resources;
}

// Whether a task that starves will find room here when others' tasks have ended.
bool LocalScheduler::MayEarmark(const Demand& m) const {
  if (draining_ || !earmarked_.empty() || m.count != 1) return false;
  Amounts sum = pool_.available();
  for (const auto& [id, lease] : leases_) {
    if (Others(lease, &m)) Add(&sum, lease.resources);
  }
  return Fits(sum, m.shape.resources);
}

// Owners would run task after task on their leases: these come back after the running one. All that could
// help are recalled: nobody knows which ends first, and what is not needed is granted again.
void LocalScheduler::Recall(const Demand* except) {
  Amounts missing = earmarked_;
  Subtract(&missing, pool_.available());
  const Amounts units = UnitsOf(missing);
  const bool lacks_devices =
      std::any_of(units.begin(), units.end(), [](const auto& u) { return u.second > 0; });
  std::map<Address, Reclaim> recalls;
  for (const auto& [id, lease] : leases_) {
    if (!Others(lease, except) || (!lacks_devices && !lease.devices.empty())) continue;
    const bool helps = std::any_of(lease.resources.begin(), lease.resources.end(), [&](const auto& r) {
      return r.second > 0 && AmountOf(missing, r.first) > 0;
    });
    if (helps) recalls[lease.owner].leases.push_back(id);
  }
  for (const auto& [owner, recall] : recalls) host_->SendReclaim(owner, recall);
}

}  // namespace rmpi::sched
