// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/restored_copies.h"

namespace rmpi {
namespace {

constexpr TimeNs kPatience = 100 * kMillisecond;

}  // namespace

void RestoredCopies::Arrived(const objstore::Version& version, TimeNs now) {
  store_->AwaitReader(version.id, version.attempt);
  waiting_.emplace_back(now + kPatience, version);
}

void RestoredCopies::OnTimer(TimeNs now) {
  for (; !waiting_.empty() && waiting_.front().first <= now; waiting_.pop_front()) {
    store_->NoReader(waiting_.front().second.id, waiting_.front().second.attempt);
  }
}

}  // namespace rmpi
