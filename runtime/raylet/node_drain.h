// SPDX-License-Identifier: Apache-2.0
// NodeDrain: how a node leaves a run in order, or is emptied and stays. Tasks end, or their time is over;
// then actors are ended between two calls; then what is left is ended; primaries move to other nodes all
// along. Pure logic but for the Host it acts through. Its raylet's scheduler starts nothing new from the
// beginning.
//
// An object has moved when its owner frees it here: until then it has not heard of its new place. Objects of
// owners on this node end with these.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/message/messages.h"

namespace rmpi {

class NodeDrain {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    // Tasks that run here; on a node that leaves, programs that came in through it, too.
    virtual bool WorkLeft() const = 0;
    // Ends actors that no call runs in. True: some are left.
    virtual bool EndIdleActors() = 0;
    // Ends all that still runs. Returns how many processes ran something.
    virtual uint32_t EndWorkers() = 0;
    virtual uint32_t Workers() const = 0;  // that are left
    // Of owners elsewhere, sealed.
    virtual std::vector<ObjectAt> Primaries() const = 0;
    virtual std::vector<uint32_t> OtherNodes() const = 0;
    virtual void SendPull(uint32_t node, const Pull& m) = 0;
    virtual void SendDrained(const Drained& m) = 0;  // whenever there is news, and at the end
  };

  explicit NodeDrain(Host* host) : host_(host) {}

  void Start(uint32_t node, TimeNs timeout, TimeNs now);
  bool active() const { return phase_ != Phase::kOff; }
  void OnPullReply(const PullReply& m, TimeNs now);
  void OnNodeDead(uint32_t node, TimeNs now);
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return next_look_; }

 private:
  enum class Phase { kOff, kWork, kEnd, kMove, kOver };
  enum class Stage { kNew, kAsked, kArrived, kStuck };
  struct Move {
    Stage stage = Stage::kNew;
    uint64_t size = 0;
    uint32_t to = 0;
    size_t refused = 0;    // by so many nodes, times kRounds
    size_t unclaimed = 0;  // so often its owner did not want it there: it may not have heard of it at all yet
    TimeNs since = 0;      // by clock_
  };
  using Key = std::pair<ObjectId, uint32_t>;  // object, attempt

  bool MoveObjects();
  bool MayAsk(Move* m) const;
  void Ask(const ObjectAt& object, Move* m);
  void Report(bool over);

  Host* host_;
  Phase phase_ = Phase::kOff;
  uint32_t node_ = 0;
  // All patience is counted in time in which we ran: the whole job may be suspended.
  TimeNs clock_ = 0;
  TimeNs deadline_ = kNever;  // of the phase
  TimeNs progress_at_ = 0;    // when something moved last
  TimeNs next_look_ = kNever, looked_at_ = 0;
  TimeNs reported_at_ = 0;
  std::map<Key, Move> moves_;
  size_t cursor_ = 0;  // so that all other nodes get some
  Drained report_, reported_;
};

}  // namespace rmpi
