// SPDX-License-Identifier: Apache-2.0
// ServedObjects: which objects of this node others are fetching now. Written by the control thread, asked by
// the data thread of the transfers for every chunk.
#pragma once

#include <mutex>
#include <unordered_map>

#include "objstore/store.h"

namespace rmpi {

class ServedObjects {
 public:
  void Set(const objstore::Store::Entry& entry, bool serving) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Served& s = served_[{entry.id, entry.attempt}];
    s.at = entry.locator;
    s.fetches += serving ? 1 : -1;
    if (s.fetches == 0) served_.erase({entry.id, entry.attempt});
  }
  // Whether [offset, offset + bytes) of the segment is data of that version, held in place.
  bool Covers(const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t offset, uint64_t bytes) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = served_.find({id, attempt});
    if (it == served_.end()) return false;
    const objstore::Locator& at = it->second.at;
    return at.segment == segment && offset >= at.offset && offset - at.offset <= at.size &&
           bytes <= at.size - (offset - at.offset);
  }

 private:
  struct Served {
    objstore::Locator at;
    int fetches = 0;
  };
  mutable std::mutex mutex_;
  std::unordered_map<objstore::Version, Served, objstore::VersionHash> served_;
};

}  // namespace rmpi
