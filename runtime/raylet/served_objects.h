// SPDX-License-Identifier: Apache-2.0
// ServedObjects: which objects of this node others may fetch now, those that are still coming included.
// Written by the control thread, which also says when one is no longer served; asked, and told what arrives,
// by the data thread of the transfers for every chunk.
#pragma once

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "objstore/store.h"
#include "objstore/transfer/transfer.h"

namespace rmpi {

class ServedObjects {
 public:
  using Version = objstore::Version;

  // One more, or one less, fetches it.
  void Set(const objstore::Store::Entry& entry, bool serving) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Served& s = served_[{entry.id, entry.attempt}];
    if (!s.coming) s.at = entry.locator;
    s.fetches += serving ? 1 : -1;
    EraseUnused({entry.id, entry.attempt});
  }
  // Its bytes come to `at`, from the beginning on. `open`: what has come is served.
  void Coming(const Version& version, const objstore::Locator& at, bool open) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Served& s = served_[version];
    s.at = at;
    s.coming = true;
    s.open = open;
  }
  // They have come all, or do not come any more. What is served further has been Set before.
  void Came(const Version& version) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Served& s = served_[version];
    s.coming = s.open = false;
    s.arrived = 0;
    EraseUnused(version);
  }
  // The first so many bytes of an object that is coming are here.
  uint64_t Arrived(const Version& version) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = served_.find(version);
    return it == served_.end() ? 0 : it->second.arrived;
  }

  // The data thread: everything before `end`, an offset in the segment, is here.
  void NoteArrived(const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t end) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = served_.find({id, attempt});
    if (it == served_.end()) return;
    Served& s = it->second;
    if (s.coming && s.at.segment == segment && end > s.at.offset && end - s.at.offset <= s.at.size)
      s.arrived = std::max(s.arrived, end - s.at.offset);
  }
  // Whether [offset, offset + bytes) of the segment is data of that version, held in place.
  Transfer::Held Look(const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t offset,
                      uint64_t bytes) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = served_.find({id, attempt});
    if (it == served_.end()) return Transfer::Held::kGone;
    const Served& s = it->second;
    if (s.at.segment != segment || offset < s.at.offset || offset - s.at.offset > s.at.size ||
        bytes > s.at.size - (offset - s.at.offset))
      return Transfer::Held::kGone;
    if (!s.coming) return Transfer::Held::kHere;
    if (!s.open) return Transfer::Held::kGone;
    return offset - s.at.offset + bytes <= s.arrived ? Transfer::Held::kHere : Transfer::Held::kComing;
  }

 private:
  struct Served {
    objstore::Locator at;
    int fetches = 0;
    bool coming = false, open = false;
    uint64_t arrived = 0;  // of one that is coming
  };
  void EraseUnused(const Version& version) {
    const auto it = served_.find(version);
    if (it->second.fetches == 0 && !it->second.coming) served_.erase(it);
  }

  mutable std::mutex mutex_;
  std::unordered_map<Version, Served, objstore::VersionHash> served_;
};

}  // namespace rmpi
