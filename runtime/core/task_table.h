// SPDX-License-Identifier: Apache-2.0
// The tasks that this process submitted, whoever runs them (Submitter: plain tasks and the creation of
// actors, ActorCalls: methods): what they are made of, the arguments they wait for, how they end (PROTOCOL
// T1, T5, R3).
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/lineage.h"
#include "runtime/core/task.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::core {

// What becomes of the actors whose creation is a task of ours.
class ActorListener {
 public:
  virtual ~ActorListener() = default;
  // `where`: what the actor's worker says of itself.
  virtual void OnActorAlive(Task* creation, const Blob& where) = 0;
  virtual void OnActorRestarting(Task* creation, const std::string& cause) = 0;
  // Its process has died, and it may not be restarted: what to tell its callers.
  virtual std::string WhyDead(Task* creation, const std::string& cause) = 0;
  // The task has ended: the actor is dead, or never was.
  virtual void OnActorDead(Task* creation, uint8_t kind, const Blob& error) = 0;
};

// What the answer of an actor's creation begins with: the pid of its worker follows, then its host.
inline constexpr std::string_view kWhereItRuns = "\tpid: ";

class StreamOwner;

// The numbers of the living templates. Those of the dead are given out again, so that a program that gives
// each call options of its own makes neither itself nor its workers larger. Any thread: a binding drops its
// templates where it likes.
class TemplateNumbers {
 public:
  uint32_t Take();
  void Give(uint32_t number);

 private:
  std::mutex mutex_;
  std::vector<uint32_t> free_;
  uint32_t next_ = 0;
};

class TaskTable {
 public:
  TaskTable(Outbox* outbox, ObjectTable* objects, ActorListener* actors, StreamOwner* streams)
      : outbox_(outbox), objects_(objects), actors_(actors), streams_(streams), lineage_(objects, streams) {}
  ~TaskTable();  // drops the tasks that are not done; nobody is told
  TaskTable(const TaskTable&) = delete;
  TaskTable& operator=(const TaskTable&) = delete;

  std::shared_ptr<Template> Prepare(const TaskTemplate& t);
  // The same of what another process has prepared. Null: `wire` is not a template.
  std::shared_ptr<Template> Prepare(const Shape& shape, const Blob& wire, int32_t max_retries);
  // The same, to run in any bundle of that group, as what it submits.
  std::shared_ptr<Template> InGroup(const Template& of, uint32_t group);
  // refs: one hold each, taken over. Nothing happens before it is started, so that the caller can take
  // handles on the returns first. An actor's creation has one return that nobody holds: it stands for the
  // actor (R6).
  Task* New(TaskKind kind, const std::shared_ptr<Template>& tmpl, Blob args, std::vector<Entry*> refs,
            uint32_t top_level, uint32_t depth, uint32_t parent);
  // Asks for the arguments that are not known yet. True: all are.
  bool Resolve(Task* t);
  // An argument became known. Only noted, and acted on at the end of every event, so that a long chain of
  // dependent tasks needs no deep stack.
  void OnDependencyReady(Task* t) { ready_.push_back(t); }
  Task* TakeReady();  // the next that lacks no argument any more, or null
  // Whether all arguments are values that a message can carry. If not, it fails the task.
  bool CheckArgs(Task* t);
  // Whether an argument was lost since it became known.
  bool LacksArgs(const Task* t) const;
  // Unclaimed, it came back because an argument was not where it was said to be. True: it waits for that to
  // be settled (OnDependencyReady).
  bool AwaitMissing(Task* t, const Returned& m);
  Push MakePush(Task* t, TemplatesSent* templates_sent) const;

  // The task if it is not done.
  Task* Find(const TaskId& id) const;
  void Complete(Task* t, const Address& from, Result& result);
  void Fail(Task* t, uint8_t kind, Blob error);
  void FailWith(Task* t, ErrorType type, const std::string& message);
  void DropResult(const Address& from, const Result& m);  // it came too late, or from a former attempt
  // A claimed task whose worker is gone may have stored results that it could not announce any more.
  void FreeUnannounced(const Task* t, uint32_t node);
  // Charges a retry. False: none is left.
  static bool ChargeRetry(Task* t);
  // One that costs nothing, of a task that has any.
  static bool RetryForFree(Task* t);
  // Its node left the run: whatever may be retried at all is, also when no retry is left (as in Ray).
  static bool RetryAfterDrain(Task* t);

  // Tells the producer of a value, or of an item of a stream, that the refs in it are registered, once they
  // are.
  void Acknowledge(const Address& to, const TaskRef& task, uint32_t item = kNoItems);
  // ---- recovery (O7)
  // Nobody has the value of `e`, an object of ours: the task that made it runs again, or it is an error.
  void Recover(Entry* e, const std::string& why);
  // The next task that is to run again, its arguments held, or null.
  Task* TakeAgain();
  Lineage& lineage() { return lineage_; }
  const Lineage& lineage() const { return lineage_; }

  // A value that nobody wants: its copies in stores go.
  void FreeValue(const ObjectId& id, const WireValue& v);
  // Registrations that held back a RESULT_ACK may have been acknowledged.
  void FlushAcks();
  void OnEof(const Address& who);
  void OnNodeDead(uint32_t node);
  // The job is over (PROTOCOL C5): from here on deaths are not failures, and nothing is retried.
  void Drain() { draining_ = true; }
  bool draining() const { return draining_; }
  size_t pending_count() const { return pending_; }

 private:
  struct WaitingAck {
    Address to;
    TaskRef task;
    uint64_t upto;
    uint32_t item;
  };

  std::shared_ptr<Template> NewTemplate(Template t = {});
  void Finish(Task* t);
  void Lost(Entry* e, ErrorType type, const std::string& why);

  Outbox* outbox_;
  ObjectTable* objects_;
  ActorListener* actors_;
  StreamOwner* streams_;
  // Shared with the templates, which may outlive the table.
  std::shared_ptr<TemplateNumbers> template_numbers_ = std::make_shared<TemplateNumbers>();
  uint64_t next_template_serial_ = 1;
  std::deque<WaitingAck> waiting_acks_;
  std::deque<Task*> ready_;
  Lineage lineage_;
  std::deque<Task*> again_;  // to run again, not yet on their way
  bool draining_ = false;
  size_t pending_ = 0;
};

}  // namespace rmpi::core
