// SPDX-License-Identifier: Apache-2.0
// PullManager's objects on this node's disk.
#include <algorithm>

#include "runtime/raylet/pull_manager.h"

namespace rmpi {

// With what lies behind it, as far as there is room that costs nobody anything: nobody waits for that yet.
void PullManager::StartRestore(Active* p) {
  p->stage = Stage::kRestoring;
  std::vector<objstore::spill::RestoreItem> items{{p->request, {p->id, p->attempt}, p->target.offset}};
  for (const auto& [version, size] : host_->ReadAhead({p->id, p->attempt})) {
    const auto& [id, attempt] = version;
    if (Find(id, attempt) != nullptr) continue;
    const auto room = store_->CreateSpareCopy(id, attempt, size, id.owner());
    if (!room) break;
    Active* ahead = Begin(id, attempt, size, p->since);
    ahead->stage = Stage::kRestoring;
    ahead->target = *room;
    items.push_back({ahead->request, version, room->offset});
  }
  host_->Restore(items);
}

void PullManager::OnRestored(uint64_t request, bool ok, const std::string& why, TimeNs now) {
  const auto it = pulls_.find(request);
  if (it == pulls_.end() || it->second.stage != Stage::kRestoring) return;
  Active* p = &it->second;
  if (!ok) {
    p->last_error = why;
    std::erase_if(p->places, [this](const Place& place) { return place.node == node_; });
    p->gone.push_back(node_);
    TryNext(p, now);
    return;
  }
  Arrived(p, true, now);
}

}  // namespace rmpi
