// SPDX-License-Identifier: Apache-2.0
// DetachedActors: the owner of the actors that outlive the program which made them. It is a process's Core
// without a process: it lives in the head, at an address of its own, and keeps these actors (PROTOCOL A1) as
// any creator keeps its own. A creator hands the creation over (kAdoptActor) and has an ordinary handle from
// then on. Fed by the head's raylet, in its control thread.
//
// Invariants: an actor is held here from its adoption to its death. Nothing that it needs for a restart
// belongs to its creator: the values of its arguments are copied here. (Refs inside of its arguments stay
// their owners'.) The reply to a creator comes after the registrations of all refs that it holds for us are
// acknowledged (R2), and after the values that are there already have been copied: it may end then.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/core.h"
#include "runtime/gcs/actor_names.h"

namespace rmpi {

class DetachedActors : private core::Core::Host {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    // The job in which the detached actors of a job's processes run: it outlives that one. None: the job is
    // over.
    virtual std::optional<JobId> StartDetachedJob(JobId of) = 0;
    virtual void EndDetachedJob(JobId job) = 0;
    // The bytes of a sealed object that lies on the head's node.
    virtual std::optional<Blob> ReadStored(const ObjectId& id, uint32_t attempt) = 0;
  };

  static constexpr uint64_t kMostCopied = 64 << 20;  // of one argument

  DetachedActors(Outbox* outbox, ActorNames* names, Host* host);

  // What was sent to DetachedOwner(), and the news of the dead that every process of the head's node gets.
  void OnMessage(const MessageHeader& header, Bytes body, TimeNs now);
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return core_.NextDeadline(); }
  // The run is over: nothing is restarted any more.
  void Drain() { core_.tasks().Drain(); }

  size_t count() const { return alive_.size(); }
  core::Core& core() { return core_; }

 private:
  struct Copy {  // an argument on its way into our memory
    core::Entry* from;
    core::Entry* to;
    ObjectId actor;
    std::string class_name;
  };
  struct Waiting {  // a creator that waits for its answer
    Address to;
    AdoptActorReply reply;
    uint64_t upto = 0;  // nonce of the last registration that it is about
  };

  void OnAdopt(const Address& from, AdoptActor m, TimeNs now);
  core::Entry* CopyOf(const ObjectId& id, const std::string& class_name);
  void Settle(TimeNs now);
  bool Advance(const Copy& copy);
  bool Copying(const ObjectId& actor) const;
  void Fill(const Copy& copy, Blob bytes);
  void Refuse(const Copy& copy, ErrorType type, const std::string& why);
  void OnDead(const ObjectId& actor);
  void Answer();

  // ---- core::Core::Host. No task runs here.
  bool Claim(core::ExecItem&) override { return false; }
  void Answered(uint32_t) override {}
  void Interrupt(const core::ExecItem&) override {}
  void CancelChildren(uint32_t, bool) override {}
  bool PinArgs(core::ExecItem&) override { return false; }
  void OnPullReply(const PullReply& m) override;
  void OnExtentReply(const ExtentReply&) override {}
  void OnExtentReclaim() override {}
  void OnExit() override {}
  void OnLogLines(const Address&, LogLines) override {}
  void OnReply(MsgType, Bytes) override {}

  Outbox* outbox_;
  ActorNames* names_;
  Host* host_;
  core::Core core_;
  std::vector<Copy> copies_;
  std::vector<Waiting> waiting_;
  std::map<ObjectId, std::string> full_;  // the head's store has no room for this argument: why
  std::map<ObjectId, JobId> alive_;       // actors, with the job of their creators
  struct Job {
    JobId job;
    size_t actors = 0;
  };
  std::map<JobId, Job> jobs_;  // by the job of the creators
};

}  // namespace rmpi
