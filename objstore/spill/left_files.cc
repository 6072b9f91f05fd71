// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/left_files.h"

#include <utility>

namespace rmpi::objstore::spill {

void LeftFiles::OnNodeDead(uint32_t node, const std::vector<std::string>& folders) {
  if (!folders.empty()) nodes_[node].folders = folders;
}

void LeftFiles::Restore(uint32_t node, const RestoreItem& item, uint64_t size) {
  Node& n = nodes_.at(node);
  Wanted wanted{item, size, {}, ""};
  if (n.listed) return Find(node, n, std::move(wanted));
  n.waiting.push_back(std::move(wanted));
  if (!std::exchange(n.asked, true)) host_->ListLeft(node, n.folders);
}

void LeftFiles::OnListed(uint32_t node, const std::vector<LeftFile>& files) {
  Node& n = nodes_.at(node);
  n.listed = true;
  for (const LeftFile& f : files) {
    for (const Listed& o : f.objects)
      n.index.emplace(Version{o.id, o.attempt}, Place{f.file, o.offset, o.size, o.checksum});
  }
  for (Wanted& wanted : std::exchange(n.waiting, {})) Find(node, n, std::move(wanted));
}

void LeftFiles::Find(uint32_t number, const Node& node, Wanted wanted) {
  const auto [first, last] = node.index.equal_range(wanted.item.version);
  for (auto it = first; it != last; ++it) {
    if (it->second.size == wanted.size) wanted.places.push_back(it->second);
  }
  wanted.why = "node " + std::to_string(number) + " is dead, and its spill files do not have the object";
  TryNext(std::move(wanted));
}

void LeftFiles::TryNext(Wanted wanted) {
  const uint64_t request = wanted.item.request;
  if (wanted.places.empty()) return host_->Restored(request, Status::NotFound(wanted.why));
  const Place at = std::move(wanted.places.back());
  wanted.places.pop_back();
  const ReadJob job{request,     at.file->header().number, at.offset, at.size,
                    at.checksum, wanted.item.arena_offset};
  reading_[request] = std::move(wanted);
  host_->ReadLeft(at.file, job);
}

void LeftFiles::OnLeftRead(uint64_t request, const Status& status) {
  Wanted wanted = std::move(reading_.extract(request).mapped());
  if (status.ok()) return host_->Restored(request, status);
  wanted.why = status.message();
  TryNext(std::move(wanted));
}

}  // namespace rmpi::objstore::spill
