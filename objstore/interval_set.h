// SPDX-License-Identifier: Apache-2.0
// IntervalSet: a set of bytes as disjoint, coalesced [begin, end) intervals. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "objstore/locator.h"

namespace rmpi::objstore {

class IntervalSet {
 public:
  // REQUIRES: no byte of the range is in the set.
  void Add(Range r) {
    if (r.bytes == 0) return;
    bytes_ += r.bytes;
    uint64_t begin = r.offset, end = r.end();
    auto next = intervals_.lower_bound(begin);
    if (next != intervals_.end() && next->first == end) {
      end = next->second;
      next = intervals_.erase(next);
    }
    if (next != intervals_.begin()) {
      auto prev = std::prev(next);
      if (prev->second == begin) {
        prev->second = end;
        return;
      }
    }
    intervals_.emplace_hint(next, begin, end);
  }

  bool ContainsAll(Range r) const {
    auto it = intervals_.upper_bound(r.offset);
    return it != intervals_.begin() && std::prev(it)->second >= r.end();
  }

  // The parts of `r` that are in the set, in order.
  std::vector<Range> Intersect(Range r) const {
    std::vector<Range> out;
    auto it = intervals_.upper_bound(r.offset);
    if (it != intervals_.begin()) --it;
    for (; it != intervals_.end() && it->first < r.end(); ++it) {
      const uint64_t begin = std::max(it->first, r.offset), end = std::min(it->second, r.end());
      if (begin < end) out.push_back({begin, end - begin});
    }
    return out;
  }

  // Removes whatever of `r` is in the set.
  void Subtract(Range r) {
    if (r.bytes == 0) return;
    auto it = intervals_.upper_bound(r.offset);
    if (it != intervals_.begin()) --it;
    while (it != intervals_.end() && it->first < r.end()) {
      const uint64_t begin = it->first, end = it->second;
      if (end <= r.offset) {
        ++it;
        continue;
      }
      it = intervals_.erase(it);
      bytes_ -= end - begin;
      if (begin < r.offset) Add({begin, r.offset - begin});
      if (end > r.end()) Add({r.end(), end - r.end()});
    }
  }

  bool empty() const { return intervals_.empty(); }
  uint64_t bytes() const { return bytes_; }
  size_t count() const { return intervals_.size(); }
  std::vector<Range> Ranges() const {
    std::vector<Range> out;
    out.reserve(intervals_.size());
    for (const auto& [begin, end] : intervals_) out.push_back({begin, end - begin});
    return out;
  }

 private:
  std::map<uint64_t, uint64_t> intervals_;  // begin -> end
  uint64_t bytes_ = 0;
};

}  // namespace rmpi::objstore
