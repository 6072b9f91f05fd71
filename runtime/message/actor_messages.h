// SPDX-License-Identifier: Apache-2.0
// Actors: where they live, their ends, and those that outlive their driver. Their calls are tasks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/ids/ids.h"
#include "runtime/message/lease_messages.h"

namespace rmpi {

// An actor is named by the object that its creation returns; who created it says where it is.
struct ActorLocate {  // caller -> creator: tell me where it is, now and whenever that changes; or: no more
  ObjectId actor;
  bool stop = false;

  template <class C>
  void Fields(C& c) {
    c(actor, stop);
  }
};

enum class ActorPhase : uint8_t { kPending = 0, kAlive = 1, kRestarting = 2, kDead = 3 };

struct ActorState {  // creator -> callers
  ObjectId actor;
  ActorPhase phase = ActorPhase::kPending;
  uint32_t incarnation = 0;  // the attempt of the creation: 0, then one more for each restart
  Address worker;            // kAlive: calls go there
  uint8_t kind = 0;          // kDead: ValueKind of `error`, which all calls end with
  Blob error;
  std::string cause;  // kRestarting: what died

  template <class C>
  void Fields(C& c) {
    c(actor, phase, incarnation, worker, kind, error, cause);
  }
};

struct ActorKill {  // anybody who has a handle -> creator (ray.kill)
  ObjectId actor;
  bool no_restart = true;
  std::string by = {};  // who, where and when, for the actor's death

  template <class C>
  void Fields(C& c) {
    c(actor, no_restart, by);
  }
};

struct ActorExit {  // the actor's worker -> creator: it ends on purpose and is not to be restarted
  ObjectId actor;
  uint32_t incarnation = 0;

  template <class C>
  void Fields(C& c) {
    c(actor, incarnation);
  }
};

struct AdoptActor {  // creator -> owner of detached actors: make this one, and keep it whatever becomes of me
  uint64_t nonce = 0;
  JobId job;                        // of the creator
  std::string ray_namespace, name;  // no name: found by its handles only
  Blob about;                       // of a named one: what makes a handle of it; the binding's own form
  Shape shape;
  Blob template_bytes;  // a WireTemplate
  int32_t max_restarts = 0;
  uint32_t depth = 0;
  Blob args;
  uint32_t top_level = 0;      // how many of `refs` are arguments
  std::vector<ObjectId> refs;  // then those inside the bytes. The creator holds them until the reply

  template <class C>
  void Fields(C& c) {
    c(nonce, job, ray_namespace, name, about, shape, template_bytes, max_restarts, depth, args, top_level,
      refs);
  }
};

struct AdoptActorReply {
  uint64_t nonce = 0;
  bool taken = false;  // the name, by this one
  ObjectId actor;
  Blob about;
  std::string refused;  // not empty: why there is no actor

  template <class C>
  void Fields(C& c) {
    c(nonce, taken, actor, about, refused);
  }
};

}  // namespace rmpi
