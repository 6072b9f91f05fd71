// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/task_table.h"

#include <algorithm>
#include <cmath>

#include "runtime/core/stream_owner.h"

namespace rmpi::core {
namespace {

// Bytes of one task in a message; the largest message has twice that.
constexpr uint64_t kMostPushed = 128 << 20;
constexpr auto kPlainValue = static_cast<uint8_t>(ValueKind::kValue);

}  // namespace

void TaskList::PushBack(Task* t) {
  t->list = this;
  t->prev = tail;
  t->next = nullptr;
  (tail != nullptr ? tail->next : head) = t;
  tail = t;
  ++size;
}

void TaskList::PushFront(Task* t) {
  t->list = this;
  t->next = head;
  t->prev = nullptr;
  (head != nullptr ? head->prev : tail) = t;
  head = t;
  ++size;
}

void TaskList::InsertBefore(Task* t, Task* later) {
  if (later == nullptr) return PushBack(t);
  t->list = this;
  t->next = later;
  t->prev = later->prev;
  (later->prev != nullptr ? later->prev->next : head) = t;
  later->prev = t;
  ++size;
}

void TaskList::Remove(Task* t) {
  (t->prev != nullptr ? t->prev->next : head) = t->next;
  (t->next != nullptr ? t->next->prev : tail) = t->prev;
  t->prev = t->next = nullptr;
  t->list = nullptr;
  --size;
}

TaskTable::~TaskTable() {
  objects_->ForEachTask([](Task* t) { delete t; });
}

uint32_t TemplateNumbers::Take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.empty()) return next_++;
  const uint32_t number = free_.back();
  free_.pop_back();
  return number;
}

void TemplateNumbers::Give(uint32_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(number);
}

std::shared_ptr<Template> TaskTable::NewTemplate(Template t) {
  t.number = template_numbers_->Take();
  t.serial = next_template_serial_++;
  return {new Template(std::move(t)), [numbers = template_numbers_](const Template* over) {
            numbers->Give(over->number);
            delete over;
          }};
}

std::shared_ptr<Template> TaskTable::Prepare(const TaskTemplate& t) {
  auto p = NewTemplate();
  p->num_returns = t.num_returns;
  p->max_retries = t.max_retries;
  p->function_name = t.function_name;
  p->stream = t.stream;
  p->window = t.window;
  p->ordered = t.ordered;
  for (const auto& [name, amount] : t.resources) {
    if (amount > 0) p->shape.resources.emplace_back(name, std::llround(amount * 10000));
  }
  std::sort(p->shape.resources.begin(), p->shape.resources.end());
  p->shape.strategy = t.strategy;
  p->shape.affinity_node = t.strategy == Strategy::kNodeAffinity ? t.affinity_node : 0;
  p->shape.affinity_soft = t.affinity_soft;
  p->shape.affinity_now = t.affinity_now;
  p->shape.labels = t.labels;
  p->shape.language = t.language;
  p->shape.job = objects_->job();
  p->shape.actor = t.creates_actor;
  p->shape.group = t.group;
  p->shape.bundle = t.group == 0 ? -1 : t.bundle;
  WireTemplate w;
  w.function_id = t.function_id;
  w.function_name = t.function_name;
  w.name = t.name;
  w.retry_list = t.retry_list;
  w.language = t.language;
  w.retry_exceptions = t.retry_exceptions;
  w.ordered = t.ordered;
  w.concurrency_group = t.concurrency_group;
  w.group = t.group;
  w.capture = t.capture;
  w.num_returns = t.num_returns;
  w.max_calls = t.max_calls;
  w.stream = t.stream;
  w.window = t.window;
  w.resources = p->shape.resources;
  Writer writer;
  writer(w);
  p->wire = Blob::Copy(writer.bytes());
  return p;
}

std::shared_ptr<Template> TaskTable::Prepare(const Shape& shape, const Blob& wire, int32_t max_retries) {
  WireTemplate w;
  Reader reader(wire.bytes());
  reader(w);
  if (!reader.Done()) return nullptr;
  auto p = NewTemplate();
  p->num_returns = w.num_returns;
  p->max_retries = max_retries;
  p->function_name = w.function_name;
  p->ordered = w.ordered;
  p->shape = shape;
  p->wire = wire;
  return p;
}

std::shared_ptr<Template> TaskTable::InGroup(const Template& of, uint32_t group) {
  auto p = NewTemplate(of);
  p->by_depth.clear();
  p->shape.group = group;
  p->shape.bundle = -1;
  p->shape.strategy = Strategy::kDefault;
  WireTemplate w;
  Reader reader(of.wire.bytes());
  reader(w);
  w.group = group;
  w.capture = true;
  Writer writer;
  writer(w);
  p->wire = Blob::Copy(writer.bytes());
  return p;
}

Task* TaskTable::New(TaskKind kind, const std::shared_ptr<Template>& tmpl, Blob args,
                     std::vector<Entry*> refs, uint32_t top_level, uint32_t depth, uint32_t parent) {
  Record* record = objects_->NewRecord(kind, tmpl->num_returns);
  auto* t = new Task;
  t->record = record;
  record->task = t;
  t->tmpl = tmpl;
  t->args = std::move(args);
  t->top_level = top_level;
  t->retries_left = tmpl->max_retries;
  t->depth = depth;
  t->parent = parent;
  if (!refs.empty()) t->refs = std::make_unique<std::vector<Entry*>>(std::move(refs));
  ++pending_;
  if (tmpl->stream != StreamKind::kNone) streams_->Open(t);
  return t;
}

// ---- arguments --------------------------------------------------------------------------------------------

bool TaskTable::Resolve(Task* t) {
  t->state = TaskState::kWaitArgs;
  for (uint32_t i = 0; i < t->top_level; ++i) {
    Entry* e = (*t->refs)[i];
    if (!e->pending()) continue;
    ++t->unresolved;
    e->more().dependents.push_back(t);
    objects_->Resolve(e);
  }
  return t->unresolved == 0;
}

Task* TaskTable::TakeReady() {
  while (!ready_.empty()) {
    Task* t = ready_.front();
    ready_.pop_front();
    if (--t->unresolved == 0) return t;
  }
  return nullptr;
}

bool TaskTable::CheckArgs(Task* t) {
  uint64_t pushed = t->args.size();
  for (uint32_t i = 0; i < t->top_level; ++i) {
    Entry* e = (*t->refs)[i];
    if (e->kind != kPlainValue) {
      e->looked_at = true;
      Fail(t, e->kind, e->value);
      return false;
    }
    if (e->state.load(std::memory_order_relaxed) != EntryState::kStored) pushed += e->value.size();
  }
  if (pushed <= kMostPushed) return true;
  FailWith(t, ErrorType::kTaskUnschedulable,
           "the arguments of one call of " + t->tmpl->function_name + " have " + std::to_string(pushed) +
               " bytes that travel in its message, more than " + std::to_string(kMostPushed) +
               ": pass large data as a few large objects (ray.put), not as many small ones");
  return false;
}

bool TaskTable::LacksArgs(const Task* t) const {
  for (uint32_t i = 0; i < t->top_level; ++i) {
    const Entry* e = (*t->refs)[i];
    if (e->pending() || e->kind != kPlainValue) return true;
  }
  return false;
}

Push TaskTable::MakePush(Task* t, TemplatesSent* templates_sent) const {
  Push p;
  p.task = t->id();
  p.attempt = t->attempt;
  p.retries_left = t->retries_left;
  p.depth = t->depth;
  p.again = t->again;
  p.template_number = t->tmpl->number;
  if (templates_sent->size() <= p.template_number) templates_sent->resize(p.template_number + 1);
  if (uint64_t& known = (*templates_sent)[p.template_number]; known != t->tmpl->serial) {
    known = t->tmpl->serial;
    p.template_bytes = t->tmpl->wire;
  }
  p.args = t->args;
  p.resolved.resize(t->top_level);
  for (uint32_t i = 0; i < t->top_level; ++i) {
    const Entry* e = (*t->refs)[i];
    p.resolved[i].id = e->id;
    p.resolved[i].value = objects_->ToWire(*e);
  }
  if (t->tmpl->stream != StreamKind::kNone) streams_->FillPush(*t, &p);
  return p;
}

// ---- ends -------------------------------------------------------------------------------------------------

Task* TaskTable::Find(const TaskId& id) const {
  Record* record = objects_->FindRecord(id.sequence);
  const bool done = record == nullptr || record->task == nullptr || record->task->state == TaskState::kDone;
  return done ? nullptr : record->task;
}

bool TaskTable::ChargeRetry(Task* t) {
  if (t->retries_left == 0) return false;
  if (t->retries_left > 0) --t->retries_left;
  ++t->attempt;
  return true;
}

bool TaskTable::RetryForFree(Task* t) {
  if (t->retries_left == 0) return false;
  ++t->attempt;
  return true;
}

bool TaskTable::RetryAfterDrain(Task* t) {
  if (t->tmpl->max_retries == 0) return false;
  ++t->attempt;
  return true;
}

void TaskTable::FreeValue(const ObjectId& id, const WireValue& v) {
  if (v.state != ValueState::kStored) return;
  FreeObject f;
  f.id = id;
  f.attempt = v.attempt;
  for (const Place& p : v.places) outbox_->Send(RayletOf(p.node), MsgType::kFree, f);
}

void TaskTable::DropResult(const Address& from, const Result& m) {
  uint32_t index = 0;
  for (const WireValue& v : m.values) FreeValue({m.task, index++, 0}, v);
  if (m.needs_ack) outbox_->Send(from, MsgType::kResultAck, TaskRef{m.task, m.attempt, false, false});
}

void TaskTable::FreeUnannounced(const Task* t, uint32_t node) {
  for (uint32_t i = 0; i < t->record->returns; ++i) {
    FreeObject f;
    f.id = objects_->ReturnOf(t->record, i)->id;
    f.attempt = t->attempt;
    outbox_->Send(RayletOf(node), MsgType::kFree, f);
  }
  if (t->tmpl->stream != StreamKind::kNone) streams_->FreeUnannounced(*t, node);
}

void TaskTable::Complete(Task* t, const Address& from, Result& m) {
  Record* record = t->record;
  const bool one_error_for_all = m.values.size() == 1 && m.values[0].kind != kPlainValue;
  if (!one_error_for_all && m.values.size() != record->returns) {
    DropResult(from, m);
    FailWith(t, ErrorType::kWorkerCrashed,
             "worker " + ToString(from) + " answered task " + t->tmpl->function_name + " with " +
                 std::to_string(m.values.size()) + " values instead of " + std::to_string(record->returns));
    return;
  }
  for (uint32_t i = 0; i < record->returns; ++i) {
    const WireValue& v = m.values[one_error_for_all ? 0 : i];
    Entry* e = objects_->ReturnOf(record, i);
    if (!e->live || !e->pending()) {  // it ran again for the sake of another return: this one is as it was
      FreeValue({m.task, i, 0}, v);
      continue;
    }
    objects_->SetMade(e, v);
  }
  if (m.needs_ack) Acknowledge(from, {m.task, m.attempt, false, false});
  if (t->tmpl->stream != StreamKind::kNone) streams_->OnResult(t, m);
  Finish(t);
}

void TaskTable::Acknowledge(const Address& to, const TaskRef& task, uint32_t item) {
  waiting_acks_.push_back({to, task, objects_->last_nonce(), item});
  FlushAcks();
}

void TaskTable::FlushAcks() {
  while (!waiting_acks_.empty()) {
    const WaitingAck& w = waiting_acks_.front();
    if (objects_->Unacknowledged(w.to, w.upto)) return;
    if (w.item == kNoItems) {
      outbox_->Send(w.to, MsgType::kResultAck, w.task);
    } else {
      outbox_->Send(w.to, MsgType::kItemAck, ItemRef{w.task.task, w.task.attempt, w.item});
    }
    waiting_acks_.pop_front();
  }
}

void TaskTable::OnEof(const Address& who) {
  std::erase_if(waiting_acks_, [&](const WaitingAck& w) { return w.to == who; });
}

void TaskTable::OnNodeDead(uint32_t node) {
  std::erase_if(waiting_acks_, [&](const WaitingAck& w) { return w.to.node == node; });
}

void TaskTable::FailWith(Task* t, ErrorType type, const std::string& message) {
  Fail(t, static_cast<uint8_t>(ValueKind::kSystemError),
       EncodeSystemError(static_cast<uint8_t>(type), message, Hex(t->id())));
}

void TaskTable::Fail(Task* t, uint8_t kind, Blob error) {
  if (t->list != nullptr) t->list->Remove(t);
  Record* record = t->record;
  t->state = TaskState::kPushed;  // no longer waits: its own returns becoming ready must not touch it
  for (uint32_t i = 0; i < record->returns; ++i) {
    Entry* e = objects_->ReturnOf(record, i);
    if (e->live && e->pending()) objects_->SetInline(e, kind, error);
  }
  if (t->creates_actor()) actors_->OnActorDead(t, kind, error);
  if (t->tmpl->stream != StreamKind::kNone) streams_->OnFailed(t, kind, error);
  Finish(t);
}

void TaskTable::Finish(Task* t) {
  Record* record = t->record;
  const uint64_t sequence = record->first.id.task.sequence;
  if (t->unresolved != 0) {  // it failed while it waited: it is still listed with its unresolved arguments
    for (uint32_t i = 0; i < t->top_level; ++i) {
      Entry* e = (*t->refs)[i];
      if (e->details) std::erase(e->details->dependents, t);
    }
    std::erase(ready_, t);
    t->unresolved = 0;
  }
  if (!again_.empty()) std::erase(again_, t);
  --pending_;
  ++record->count;  // the record stays until the end of this
  const bool kept = !t->creates_actor() && lineage_.Keep(t, !draining_);
  if (!kept && t->refs) {
    for (Entry* e : *t->refs) objects_->DropHold(e);
  }
  if (t->handle != nullptr) objects_->DropHold(t->handle);
  t->handle = nullptr;
  t->calls = nullptr;
  std::vector<ObjectId> late;
  if (t->tmpl->stream != StreamKind::kNone) late = streams_->OnDone(t, kept);
  if (!t->creates_actor()) {
    for (uint32_t i = 0; i < record->returns; ++i) {
      if (Entry* e = objects_->ReturnOf(record, i); e->live) objects_->DropHold(e);
    }
  }
  --record->count;
  if (kept) {
    lineage_.Trim();
  } else {
    record->task = nullptr;
    delete t;
  }
  objects_->MaybeDropRecord(sequence);
  for (const ObjectId& id : late) {
    Entry* e = objects_->Find(id);
    if (e != nullptr && e->pending() && e->wanted()) Recover(e, "it was lost while its task ran");
  }
}

}  // namespace rmpi::core
