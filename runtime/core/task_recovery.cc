// SPDX-License-Identifier: Apache-2.0
// TaskTable: what becomes of objects of ours that are lost (PROTOCOL O7).
#include "runtime/core/stream_owner.h"
#include "runtime/core/task_table.h"

namespace rmpi::core {
namespace {

std::string WhyNotAgain(ErrorType type, uint64_t lineage_cap) {
  switch (type) {
    case ErrorType::kLostPut:
      return "It was made by put(), and what put() stored is not made again: return it from a task instead, "
             "or put it again.";
    case ErrorType::kLostNoRetries:
      return "The task that made it may not run again: its max_retries (of a method: max_task_retries) is 0.";
    case ErrorType::kLostRetriesSpent:
      return "The task that made it has no retries left: each run for a lost result is one of its "
             "max_retries "
             "(of a method: max_task_retries).";
    case ErrorType::kLostLineageEvicted:
      return "What is needed to run its task again was dropped: its owner keeps at most " +
             std::to_string(lineage_cap) + " bytes of that; set RAY_max_lineage_bytes to keep more.";
    case ErrorType::kLostCancelled:
      return "The task that made it was cancelled, and does not run again.";
    case ErrorType::kLostNoActor:
      return "It was made by a method, and its owner has no handle on that actor any more.";
    default:
      return "Nothing is known of the task that made it.";
  }
}

}  // namespace

void TaskTable::Lost(Entry* e, ErrorType type, const std::string& why) {
  objects_->SetError(e, type, why + ". " + WhyNotAgain(type, lineage_.cap()));
}

void TaskTable::Recover(Entry* e, const std::string& why) {
  Record* record = objects_->FindRecord(e->id.task.sequence);
  const bool item = e->id.index >= record->returns;
  Task* t = record->task;
  if (t != nullptr && t->state != TaskState::kDone) {  // it is being made, or its task runs for another
    if (item) streams_->Await(e, *t);
    return;
  }
  if (draining_) return objects_->SetError(e, ErrorType::kRuntimeShutdown, "the job has ended");
  if (e->id.task.kind() == TaskKind::kPut) return Lost(e, ErrorType::kLostPut, why);
  if (t == nullptr) return Lost(e, record->final_loss, why);
  if (e->id.task.kind() == TaskKind::kActorCall) {
    Entry* actor = objects_->Find(lineage_.ActorOf(t));
    if (actor == nullptr || !actor->wanted()) return Lost(e, ErrorType::kLostNoActor, why);
    t->handle = actor;
    objects_->AddHold(actor);
  }
  lineage_.TakeOut(t);
  ChargeRetry(t);
  for (uint32_t i = 0; i < record->returns; ++i) {
    if (Entry* r = objects_->ReturnOf(record, i); r->live) objects_->AddHold(r);
  }
  t->state = TaskState::kWaitArgs;
  t->again = true;
  if (t->tmpl->stream != StreamKind::kNone) streams_->Reopen(*t);
  if (item) streams_->Await(e, *t);
  ++pending_;
  again_.push_back(t);
}

Task* TaskTable::TakeAgain() {
  if (again_.empty()) return nullptr;
  Task* t = again_.front();
  again_.pop_front();
  return t;
}

bool TaskTable::AwaitMissing(Task* t, const Returned& m) {
  for (uint32_t i = 0; i < t->top_level; ++i) {
    Entry* e = (*t->refs)[i];
    if (e->id != m.missing) continue;
    bool asked = false;
    for (uint32_t node : m.missing_on) asked |= objects_->MissedOn(e, node);
    if (!asked && !e->pending()) continue;
    ++t->unresolved;
    e->more().dependents.push_back(t);
    objects_->Resolve(e);
  }
  if (t->unresolved != 0) t->state = TaskState::kWaitArgs;
  return t->unresolved != 0;
}

}  // namespace rmpi::core
