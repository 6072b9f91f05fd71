// SPDX-License-Identifier: Apache-2.0
// The streams of the tasks that run here.
#include <algorithm>

#include "runtime/core/executor.h"

namespace rmpi::core {

ExecItem* Executor::FindStream(const TaskId& task, uint32_t attempt) {
  const auto matches = [&](const ExecItem& i) { return i.task == task && i.attempt == attempt && i.stream; };
  const auto find = [&](auto& items) -> ExecItem* {
    const auto it = std::find_if(items.begin(), items.end(), [&](const auto& i) { return matches(*i); });
    return it == items.end() ? nullptr : it->get();
  };
  if (ExecItem* item = find(running_)) return item;
  if (ExecItem* item = find(waiting_)) return item;
  return ready_.FindIf(matches);
}

void Executor::Yield(ExecItem* item, WireValue value, std::vector<Entry*> contained) {
  Item m;
  m.task = item->task;
  m.attempt = item->attempt;
  m.item = item->stream->next++;
  m.value = std::move(value);
  outbox_->Send(item->owner, MsgType::kItem, m);
  if (!contained.empty()) held_[{m.task, m.attempt, m.item}] = std::move(contained);
}

void Executor::OnItemAck(const ItemRef& m) { DropHeld({m.task, m.attempt, m.item}); }

void Executor::OnStreamRead(const Address& from, const ItemRef& m) {
  ExecItem* item = FindStream(m.task, m.attempt);
  if (item == nullptr || item->owner != from) return;
  item->stream->read = m.item;
  GoOn(item->stream.get());
}

void Executor::GoOn(StreamRun* stream) {
  if (!stream->may_go_on()) return;
  for (auto& fn : stream->waiting) objects_->AddDue(std::move(fn));
  stream->waiting.clear();
}

void Executor::OrphanStreams(const std::function<bool(const Address&)>& gone) {
  for (auto& item : running_) {
    if (!item->stream || !gone(item->owner)) continue;
    item->stream->orphaned = true;
    GoOn(item->stream.get());
  }
}

}  // namespace rmpi::core
