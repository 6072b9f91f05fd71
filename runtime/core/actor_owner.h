// SPDX-License-Identifier: Apache-2.0
// The actors that this process created (PROTOCOL A1): their state, and who is told of it. The creation is a
// task of the Submitter's that keeps its lease; its attempt is the actor's incarnation, its retries are the
// restarts. The object that it returns has no value: holding a ref to it is holding the actor (R6), and when
// nobody does, the actor ends.
//
// Invariants: a new incarnation starts only after the EOF, or the death of the node, of the one before; no
// state is told after kDead.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/core/submitter.h"

namespace rmpi::core {

// What an actor's death says about it.
struct ActorFacts {
  std::string name, ray_namespace;
};

class ActorOwner : public ActorListener {
 public:
  ActorOwner(Outbox* outbox, ObjectTable* objects, TaskTable* tasks, Submitter* submitter)
      : outbox_(outbox), objects_(objects), tasks_(tasks), submitter_(submitter) {}

  // A creation task of the table's, on which its maker has taken a handle, goes on its way.
  void Create(Task* creation, ActorFacts facts, TimeNs now);
  // The same in two steps, for one whose name is asked for in between: as soon as the head knows the name,
  // others may locate it and kill it. By the time of the second step the task may be gone.
  void Announce(Task* creation, ActorFacts facts);
  void Begin(const ObjectId& actor, TimeNs now);
  // Instead of Begin: it does not get its name.
  void Abandon(const ObjectId& actor, const std::string& why);
  // Nobody has a handle on it, or a call to it, any more.
  void OnOutOfScope(const ObjectId& actor);

  void OnLocate(const Address& from, const ActorLocate& m);
  void OnKill(const ActorKill& m);
  void OnExit(const Address& from, const ActorExit& m);
  void OnEof(const Address& who);
  void OnNodeDead(uint32_t node);

  void OnActorAlive(Task* creation, const Blob& where) override;
  void OnActorRestarting(Task* creation, const std::string& cause) override;
  std::string WhyDead(Task* creation, const std::string& cause) override;
  void OnActorDead(Task* creation, uint8_t kind, const Blob& error) override;

  size_t count() const { return actors_.size(); }
  size_t alive_count() const;

 private:
  struct Owned {
    ActorFacts facts;
    ActorPhase phase = ActorPhase::kPending;
    Address worker;
    bool unwanted = false;  // out of scope while its constructor runs
    std::string cause;      // of the last death
    std::string where;      // its worker runs, or ran: lines for its death
    std::string killed;     // its worker is being killed by ray.kill: what to say if that is its end
    std::vector<Address> subscribers;
  };

  Task* Find(const ObjectId& actor) const;
  void End(Task* creation, const std::string& why);
  ActorState StateOf(Task* creation, const Owned& owned) const;
  void Tell(Task* creation);
  void Unsubscribe(const Address& who, const Task* creation);
  std::string Describe(const Task* creation) const;

  Outbox* outbox_;
  ObjectTable* objects_;
  TaskTable* tasks_;
  Submitter* submitter_;
  std::unordered_map<const Task*, Owned> actors_;
  std::unordered_map<Address, std::unordered_set<const Task*>> subscriptions_;  // Owned::subscribers, by them
};

}  // namespace rmpi::core
