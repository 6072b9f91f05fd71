// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/ready_queue.h"

#include <algorithm>

namespace rmpi::core {

void ReadyQueue::SetGroups(uint32_t most_unnamed, const std::vector<ConcurrencyGroup>& named) {
  groups_.resize(1 + named.size());
  groups_[0].most = most_unnamed;
  for (size_t i = 0; i < named.size(); ++i) {
    groups_[i + 1].name = named[i].name;
    groups_[i + 1].most = named[i].most;
  }
}

std::optional<uint32_t> ReadyQueue::Find(const std::string& name) const {
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].name == name) return static_cast<uint32_t>(i);
  }
  return std::nullopt;
}

void ReadyQueue::Push(std::unique_ptr<ExecItem> item) {
  item->arrival = next_arrival_++;
  ++size_;
  groups_[item->group].ready.push_back(std::move(item));
}

ExecItem* ReadyQueue::Front(uint32_t group) const {
  if (group != kAnyGroup) return groups_[group].can_start() ? groups_[group].ready.front().get() : nullptr;
  ExecItem* first = nullptr;
  for (const Group& g : groups_) {
    if (g.can_start() && (first == nullptr || g.ready.front()->arrival < first->arrival))
      first = g.ready.front().get();
  }
  return first;
}

std::unique_ptr<ExecItem> ReadyQueue::Pop(const ExecItem* front) {
  auto& ready = groups_[front->group].ready;
  std::unique_ptr<ExecItem> item = std::move(ready.front());
  ready.pop_front();
  --size_;
  return item;
}

ExecItem* ReadyQueue::FindIf(const std::function<bool(const ExecItem&)>& matches) const {
  for (const Group& g : groups_) {
    const auto it = std::find_if(g.ready.begin(), g.ready.end(), [&](const auto& i) { return matches(*i); });
    if (it != g.ready.end()) return it->get();
  }
  return nullptr;
}

ReadyQueue::Items ReadyQueue::RemoveIf(const std::function<bool(const ExecItem&)>& matches) {
  Items removed;
  for (Group& g : groups_) {
    std::deque<std::unique_ptr<ExecItem>> kept;
    for (auto& item : g.ready) {
      if (matches(*item)) {
        removed.push_back(std::move(item));
      } else {
        kept.push_back(std::move(item));
      }
    }
    g.ready = std::move(kept);
  }
  size_ -= removed.size();
  const auto earlier = [](const auto& a, const auto& b) { return a->arrival < b->arrival; };
  if (groups_.size() > 1) std::sort(removed.begin(), removed.end(), earlier);
  return removed;
}

}  // namespace rmpi::core
