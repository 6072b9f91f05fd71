// SPDX-License-Identifier: Apache-2.0
// World: virtual time, the links between the inhabitants, and PROTOCOL's invariants. Each hop is a FIFO of
// its own: a process's lane to a neighbour or to its raylet, a raylet's lane to a process, a link between two
// nodes.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/message/messages.h"
#include "runtime/worker/core_worker.h"
#include "tests/sim/rng.h"

namespace rmpi::core {
class Core;
}

namespace rmpi::sim {

class SimProcess;
class SimRaylet;
struct Version;

// What a seed makes of a run.
struct Features {
  uint32_t nodes = 1;
  uint32_t tasks = 100;
  std::vector<uint32_t> cpus;
  std::vector<uint32_t> gpus;  // of a quarter of the seeds
  bool kills = false;          // of workers
  bool node_kills = false;     // or their links are cut
  bool job_suspends = false;
  bool late_nodes = false;      // half of them join while the program runs
  uint32_t drains = 0;          // nodes that leave in order, or, being ranks of the launch, stay empty
  bool heartbeat_tree = false;  // node 2 passes on what the others say
  uint32_t of_launch = 1;       // the others join later, or at the beginning
  uint32_t more_node_kills = 0;
  uint64_t stored = 30;        // percent of the results and items that go to the store
  uint64_t stream_steps = 20;  // percent of what programs do
  uint64_t lineage_cap = 0;    // bytes per process; 0: the default
  bool cancels = false;
  bool suspends = false;
  bool lossy_backlog = false;  // a process that dies loses what was not yet in its lanes
  bool start_failures = false;
  bool actors = false;
  bool streams = false;
  bool groups = false;
  bool shared_disk = false;  // what a node has spilled outlives it
  bool jitter = false;       // half of all messages are late by milliseconds: FIFOs overtake one another
  bool slow_links = false;   // a quarter of all links is slow from beginning to end
  uint32_t guests = 0;  // drivers that come and end while the first one runs; then there are detached actors
  bool nodes_go() const { return node_kills || drains != 0; }
  int latency = 0;  // 0: microseconds; 1: up to milliseconds; 2: now and then seconds
  // Instead of the seed's programs: the driver makes so many actors at once, calls each once, and drops it.
  uint32_t many_actors = 0;
};

// Makes a seed's run smaller, to find out what a failure needs.
struct Limits {
  uint32_t tasks = UINT32_MAX;
  uint32_t nodes = UINT32_MAX;
  std::set<std::string> without;  // names of Switches()
};

// The features that can be left out, by name.
std::vector<std::pair<const char*, bool*>> Switches(Features* f);

struct Packet {
  MessageHeader header;
  Blob body;
};

class World {
 public:
  World(uint64_t seed, bool verbose, const Limits& limits = {});
  // Many actors on so many nodes of two CPUs, and no trouble.
  World(uint32_t nodes, uint32_t many_actors);
  ~World();
  // Runs the seed's programs to their end. Empty, or what went wrong, with a trace.
  std::string Run();

  TimeNs now() const { return now_; }
  Rng& rng() { return rng_; }
  const Features& features() const { return features_; }
  bool finishing() const { return finishing_; }
  bool failed() const { return !failure_.empty(); }
  void At(TimeNs when, std::function<void()> fn);
  void After(TimeNs delay, std::function<void()> fn) { At(now_ + delay, std::move(fn)); }

  // One hop. The receiver is a process or a raylet.
  void Hop(const Address& from, const Address& to, const MessageHeader& header, Blob body);
  size_t InFlight(const Address& from, const Address& to) const;

  SimProcess* Live(const Address& a) const;    // null: dead
  SimProcess* Any(const Address& a) const;     // also a dead one whose death is still being worked up
  SimRaylet* RayletAt(uint32_t node) const;    // null: dead
  core::Core* CoreAt(const Address& a) const;  // of a live process, or of the owner of detached actors
  SimProcess* AddProcess(const Address& a, JobId job, bool driver, uint8_t language = kPythonLanguage);
  void RemoveProcess(const Address& a);
  void KillNode(uint32_t node);
  void FenceNode(uint32_t node);  // it ends its own work, soon
  void LeaveNode(uint32_t node);  // it has nothing left, and goes
  bool Left(uint32_t node) const { return left_.contains(node); }
  // It, or a link of it, has been hurt: it may be silent. (Very late messages look like that, too.)
  bool Hurt(uint32_t node) const {
    return features_.node_kills && (features_.latency == 2 || hurt_.contains(node));
  }
  void ForEachProcess(const std::function<void(SimProcess*)>& fn);

  // ---- what the invariants need to know
  void OnSubmit(const TaskId& task, int32_t max_retries);
  void OnFreeRetry(const TaskId& task);
  void OnDrained(const SimProcess& worker);
  void OnClaim(const Address& worker, const TaskId& task, uint32_t attempt);
  // A task begins with (all of) what its raylet told its process.
  void CheckDevices(uint32_t node);
  // A call, or the constructor, of an actor begins in that process.
  void OnActorRuns(const SimProcess& host);
  void OnCancelHandled(const TaskId& task) {
    cancelled_.insert(task);
  }  // by an executor that does not run it
  void OnGone(const Address& borrower, const ObjectId& id);
  void OnDeath() { ++deaths_; }
  void EndStrayGroups();
  void OnGroupRemoved() { ++groups_removed_; }
  uint64_t deaths() const { return deaths_; }
  void OnError(const Address& reader, const ObjectId& id, uint8_t kind, Bytes value);
  void OnJobStarted(const JobMessage& m);
  void DriverDone(SimProcess* driver);
  // What the head's names are for: any driver finds any detached actor.
  void AddDetached(const ObjectId& actor) { detached_.push_back(actor); }
  const std::vector<ObjectId>& detached() const { return detached_; }
  void OnFinished(const TaskId& task) { tasks_[task].finished = true; }
  bool Finished(const TaskId& task) const { return tasks_.at(task).finished; }
  void Trace(const Packet& packet);
  void Fail(const std::string& what);
  uint64_t steps() const { return steps_; }
  uint64_t started() const { return started_; }
  uint64_t rebuilt() const { return rebuilt_; }
  // Null: that dead node's files do not have it, or it is torn.
  const Blob* OnLeftDisk(uint32_t node, const Version& version) const;
  void OnReadBack() { ++read_back_; }
  uint64_t read_back() const { return read_back_; }
  void OnItemAgain() { ++items_again_; }
  uint64_t items_again() const { return items_again_; }

 private:
  struct Event {
    TimeNs at;
    uint64_t order;
    std::function<void()> fn;
    bool operator<(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  struct Link {
    std::deque<Packet> packets;
    TimeNs last = 0;
  };
  struct LinkKey {
    Address from, to;
    bool operator==(const LinkKey&) const = default;
  };
  struct LinkHash {
    size_t operator()(const LinkKey& k) const {
      return std::hash<Address>()(k.from) * 3 + std::hash<Address>()(k.to);
    }
  };
  struct TaskFacts {
    int32_t max_retries = 0;
    uint32_t pushed = 0;            // the last attempt
    uint32_t free = 0;              // retries, at most: its owner may have had the result before
    std::vector<uint32_t> claimed;  // attempts
    bool finished = false;          // one of them has run to its end
  };

  void ChooseFeatures();
  bool ReadableOnLeftDisk(const std::string& object) const;
  std::string WhyNotLegitimate(ErrorType type, const std::string& message, const TaskId& task) const;
  void StartRaylet(uint32_t node);
  void Join(uint32_t node);
  void Build();
  void StartJob(const Address& driver);
  void ScheduleGuests();
  void KillDetached();
  void RemoveGroups();
  void CheckGroups();
  TimeNs Delay(const Address& from, const Address& to);
  TimeNs Slowness(const Address& from, const Address& to) const;
  TimeNs CutUntil(const Address& from, const Address& to) const;
  void SuspendAll(TimeNs how_long);
  void Deliver(const LinkKey& key);
  void RunUntil(const std::function<bool()>& done, TimeNs limit, const char* what);
  bool Quiet() const;
  void ScheduleTrouble();
  void LeaveDisk(uint32_t node);
  void CheckReferences();
  void CheckCharges(uint8_t error_type, const std::string& message, const std::string& task);
  void CheckEmpty();
  void CheckEmpty(const Address& who, core::Core& c);
  std::string Describe() const;
  std::string TraceText() const;

  const uint64_t seed_;
  const Limits limits_;
  const bool verbose_;
  Rng rng_;
  Features features_;
  TimeNs now_ = kSecond;
  uint64_t next_order_ = 0;
  std::priority_queue<Event> events_;
  std::unordered_map<LinkKey, Link, LinkHash> links_;
  size_t in_flight_ = 0;
  std::map<uint32_t, std::unique_ptr<SimRaylet>> raylets_;
  std::map<Address, std::unique_ptr<SimProcess>> processes_;
  std::unordered_map<TaskId, TaskFacts> tasks_;
  std::unordered_map<std::string, TaskId> by_hex_;
  std::unordered_set<TaskId> cancelled_;
  std::map<uint32_t, TimeNs> cut_;  // nodes whose links carry nothing until then
  std::set<uint32_t> hurt_;         // those that were killed or cut off
  std::set<uint32_t> left_;         // nodes that have been drained
  uint64_t deaths_ = 0;
  uint64_t groups_removed_ = 0;
  uint64_t steps_ = 0;
  uint64_t started_ = 0;
  std::vector<ObjectId> detached_;
  uint64_t rebuilt_ = 0;      // of them, after an earlier attempt had run to its end
  uint64_t items_again_ = 0;  // given by generators that had been done
  uint64_t read_back_ = 0;    // objects, from files of dead nodes
  struct OnDisk {
    Blob bytes;
    bool held = false;  // and not freed, when its node died
  };
  std::map<uint32_t, std::map<Version, OnDisk>> left_disks_;
  bool driver_done_ = false;
  bool finishing_ = false;
  bool settled_ = false;  // what the driver has left behind is over, too
  std::string failure_;
  std::deque<std::pair<TimeNs, MessageHeader>> trace_;
};

}  // namespace rmpi::sim
