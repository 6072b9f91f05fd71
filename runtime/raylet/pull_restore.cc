// SPDX-License-Identifier: Apache-2.0
// PullManager's objects on disk: this node's, and what dead nodes have left.
#include <algorithm>

#include "runtime/raylet/pull_manager.h"

namespace rmpi {

// With what lies behind it, as far as there is room that costs nobody anything: nobody waits for that yet.
void PullManager::StartRestore(Active* p) {
  p->stage = Stage::kRestoring;
  p->reading = node_;
  std::vector<objstore::spill::RestoreItem> items{{p->request, {p->id, p->attempt}, p->target.offset}};
  for (const auto& [version, size] : host_->ReadAhead({p->id, p->attempt})) {
    const auto& [id, attempt] = version;
    if (Find(id, attempt) != nullptr) continue;
    const auto room = store_->CreateSpareCopy(id, attempt, size, id.owner());
    if (!room) break;
    Active* ahead = Begin(id, attempt, size, p->since);
    ahead->stage = Stage::kRestoring;
    ahead->reading = node_;
    ahead->target = *room;
    items.push_back({ahead->request, version, room->offset});
  }
  host_->Restore(items);
}

void PullManager::OnRestored(uint64_t request, bool ok, const std::string& why, TimeNs now) {
  const auto it = pulls_.find(request);
  if (it == pulls_.end() || it->second.stage != Stage::kRestoring) return;
  Active* p = &it->second;
  const uint32_t from = p->reading;
  if (!ok) {
    p->last_error = why;
    std::erase_if(p->places, [from](const Place& place) { return place.node == from; });
    p->gone.push_back(from);
    TryNext(p, now);
    return;
  }
  Arrived(p, from == node_, now);
}

// Its files are a place like others, but for nobody being there to be asked.
void PullManager::StartRestoreLeft(Active* p, uint32_t node) {
  p->stage = Stage::kRestoring;
  p->reading = node;
  host_->RestoreLeft(node, {p->request, {p->id, p->attempt}, p->target.offset}, p->size);
}

// Whoever asks or fetches from that node looks into its files, after all other places.
void PullManager::TryFilesOf(uint32_t node) {
  if (!host_->LeftFiles(node)) return;
  for (auto& [request, p] : pulls_) {
    if (p.holder == node) p.places.insert(p.places.begin(), Place{node, 0, 0});
  }
}

}  // namespace rmpi
