// SPDX-License-Identifier: Apache-2.0
#include "sched/node_index.h"

#include <algorithm>
#include <bit>
#include <tuple>

#include "sched/pool.h"

namespace rmpi::sched {
namespace {

size_t CommonLength(const std::string& a, const std::string& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(end.first - a.begin());
}

}  // namespace

size_t NodeIndex::Bits::From(size_t i) const {
  size_t word = i / 64;
  if (word >= words_.size()) return SIZE_MAX;
  for (uint64_t bits = words_[word] & (~uint64_t{0} << (i % 64));; bits = words_[word]) {
    if (bits != 0) return 64 * word + static_cast<size_t>(std::countr_zero(bits));
    if (++word == words_.size()) return SIZE_MAX;
  }
}

size_t NodeIndex::Bits::Before(size_t i) const {
  if (i == 0) return SIZE_MAX;
  --i;
  size_t word = i / 64;
  for (uint64_t bits = words_[word] & (~uint64_t{0} >> (63 - i % 64));; bits = words_[word]) {
    if (bits != 0) return 64 * word + 63 - static_cast<size_t>(std::countl_zero(bits));
    if (word-- == 0) return SIZE_MAX;
  }
}

// ---- nodes ------------------------------------------------------------------------------------------------

void NodeIndex::Add(uint32_t node, const Amounts* total, const Amounts* available, const Labels* labels) {
  const std::string* place = LabelOf(*labels, kSwitchLabel);
  nodes_.push_back({node, place == nullptr ? "" : *place + ".", total, available, labels});
  plain_ += HasGpus(*total) ? 0 : 1;
  ordered_ = false;
}

void NodeIndex::Remove(uint32_t node) {
  const auto it = std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.id == node; });
  if (it == nodes_.end()) return;
  plain_ -= HasGpus(*it->total) ? 0 : 1;
  nodes_.erase(it);
  ordered_ = false;
}

void NodeIndex::Order() {
  if (ordered_) return;
  ordered_ = true;
  std::sort(nodes_.begin(), nodes_.end(),
            [](const Node& a, const Node& b) { return std::tie(a.place, a.id) < std::tie(b.place, b.id); });
  positions_.clear();
  for (size_t i = 0; i < nodes_.size(); ++i) positions_[nodes_[i].id] = static_cast<uint32_t>(i);
  views_.clear();
}

size_t NodeIndex::PositionOf(uint32_t node) const {
  const auto it = positions_.find(node);
  return it == positions_.end() ? 0 : it->second;
}

bool NodeIndex::HasMore(uint32_t node) {
  // All views are made anew; or there are so many requests that some have none.
  if (!ordered_ || views_.size() >= kMostViews) return true;
  const size_t position = PositionOf(node);
  bool room = false;
  for (auto& [key, view] : views_) {
    Settle(view.get(), position);
    room |= view->bucket_of[position] != kNone;
  }
  return room;
}

// ---- views ------------------------------------------------------------------------------------------------

uint32_t NodeIndex::BucketOf(const View& view, const Node& node) const {
  if (!ReportFits(*node.available, view.want) || !Matches(*node.labels, view.rules)) return kNone;
  const double use = BusyShare(*node.total, *node.available);
  const auto sixteenth = static_cast<uint32_t>(std::clamp(use - 0.5, 0.0, 0.5) * 2 * 15);
  const uint32_t second = HasGpus(*node.total) && !view.wants_gpus ? kUses : 0;
  return second + (use < 0.5 ? 0 : 1 + sixteenth);
}

bool NodeIndex::Settle(View* view, size_t position) {
  const uint32_t was = view->bucket_of[position], is = BucketOf(*view, nodes_[position]);
  if (was == is) return true;
  if (was != kNone) {
    view->buckets[was].Clear(position);
    --view->counts[was];
    --view->with_room;
  }
  if (is != kNone) {
    view->buckets[is].Set(position);
    ++view->counts[is];
    ++view->with_room;
  }
  view->bucket_of[position] = static_cast<uint8_t>(is);
  return false;
}

NodeIndex::View& NodeIndex::ViewOf(const Amounts& want, const LabelRules& rules) {
  Order();
  auto [it, fresh] = views_.try_emplace({want, rules}, nullptr);
  if (fresh) {
    it->second = std::make_unique<View>();
    View& view = *it->second;
    view.want = want;
    view.rules = rules;
    view.wants_gpus = HasGpus(want);
    for (Bits& bits : view.buckets) bits.Resize(nodes_.size());
    view.bucket_of.assign(nodes_.size(), kNone);
    for (size_t i = 0; i < nodes_.size(); ++i) Settle(&view, i);
  }
  View& view = *it->second;
  view.used = ++uses_;
  if (views_.size() > kMostViews) {
    const auto oldest = std::min_element(views_.begin(), views_.end(), [](const auto& a, const auto& b) {
      return a.second->used < b.second->used;
    });
    views_.erase(oldest);
  }
  return view;
}

// ---- choices ----------------------------------------------------------------------------------------------

// Of two neighbours in order of place the one that has more switches in common.
size_t NodeIndex::Nearest(const Bits& bits, size_t to, size_t except) const {
  size_t after = bits.From(to), before = bits.Before(to);
  if (after == except && after != SIZE_MAX) after = bits.From(after + 1);
  if (before == except && before != SIZE_MAX) before = bits.Before(before);
  if (after == SIZE_MAX || before == SIZE_MAX) return after == SIZE_MAX ? before : after;
  const std::string& place = nodes_[to].place;
  return CommonLength(nodes_[before].place, place) > CommonLength(nodes_[after].place, place) ? before
                                                                                              : after;
}

uint32_t NodeIndex::Pack(const Amounts& want, const LabelRules& rules, uint32_t near, uint32_t except) {
  View& view = ViewOf(want, rules);
  const auto hidden = positions_.find(except);
  const size_t but = hidden == positions_.end() ? SIZE_MAX : hidden->second;
  const size_t to = PositionOf(near);
  for (uint32_t bucket = 0; bucket < kBuckets;) {
    const size_t at = view.counts[bucket] == 0 ? SIZE_MAX : Nearest(view.buckets[bucket], to, but);
    if (at == SIZE_MAX) {
      ++bucket;
    } else if (Settle(&view, at)) {
      return nodes_[at].id;
    }  // else it is in a later bucket by now, or in none
  }
  return 0;
}

uint32_t NodeIndex::Next(const Amounts& want, const LabelRules& rules, uint32_t after) {
  View& view = ViewOf(want, rules);
  const auto known = positions_.find(after);
  size_t from = known == positions_.end() ? 0 : known->second + 1;
  for (int round = 0; round < 2;) {
    size_t at = SIZE_MAX;
    for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
      if (view.counts[bucket] != 0) at = std::min(at, view.buckets[bucket].From(from));
    }
    if (at == SIZE_MAX) {
      from = 0;
      ++round;
      continue;
    }
    Settle(&view, at);
    if (view.bucket_of[at] != kNone) return nodes_[at].id;
    from = at + 1;
  }
  return 0;
}

}  // namespace rmpi::sched
