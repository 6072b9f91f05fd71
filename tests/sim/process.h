// SPDX-License-Identifier: Apache-2.0
// SimProcess: a driver or worker. The real Core, driven as runtime/worker drives it; its main thread runs the
// program of program.cc step by step. A process may be suspended: then its mail and its timers wait.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "runtime/core/core.h"
#include "sched/pool.h"
#include "tests/sim/world.h"

namespace rmpi::sim {

// What a task's argument bytes say.
struct SimArgs {
  uint64_t seed = 0;
  uint32_t budget = 0;  // tasks that it and its children may submit
  uint32_t depth_left = 0;
  bool leaf = false;  // holds a resource that blocking does not give back: it must not wait
  bool fast = true;
  uint32_t call = 0;  // of an actor: the caller's count of its calls there
  std::vector<ObjectId> nested;
  std::vector<uint64_t> tags;  // of a detached actor's arguments, which come under other ids

  template <class C>
  void Fields(C& c) {
    c(seed, budget, depth_left, leaf, fast, call, nested, tags);
  }
};

// What a value's bytes say.
struct SimValue {
  uint64_t tag = 0;  // of the object's id
  std::vector<ObjectId> contained;

  template <class C>
  void Fields(C& c) {
    c(tag, contained);
  }
};

class SimProcess : public Outbox, public core::Core::Host {
 public:
  SimProcess(World* world, const Address& self, JobId job, bool driver, uint8_t language);

  const Address& self() const { return self_; }
  bool driver() const { return driver_; }
  bool first_driver() { return driver_ && core_.objects().job() == JobId{1}; }
  bool alive() const { return alive_; }
  core::Core& core() { return core_; }
  const std::map<uint32_t, TaskRef>& claims() const { return claims_; }
  bool Quiet() const;
  std::string Describe();

  void StartDriver(uint32_t budget);
  void Arrive(const Packet& packet);
  void Suspend(TimeNs until);
  void Die();  // between two instructions: what is not in a lane is lost
  void DropKept();
  bool running() const { return frame_ != nullptr; }
  const ObjectId& actor() const { return const_cast<SimProcess*>(this)->core_.executor().actor(); }

  void AddDeviceUse(std::map<uint32_t, int64_t>* use) const;

  void Post(const Address& to, MsgType type, Bytes body) override;

 private:
  enum class Main { kIdle, kStep, kWait, kAdopt, kOver };
  // A stream as its consumer sees it.
  struct StreamUse {
    core::Entry* completion = nullptr;  // one handle
    uint32_t read = 0;
    uint32_t items = 0;  // that its task gives
  };
  struct Frame {
    core::ExecItem* item = nullptr;  // null: the driver's program
    Rng rng{0};
    SimArgs args;
    int steps = 0;
    std::vector<core::Entry*> refs;      // one handle each
    std::vector<core::Entry*> actors;    // handles
    std::vector<core::Entry*> hopeless;  // returns of tasks that no node can run
    std::vector<StreamUse> streams;
    bool ending = false;  // the driver's last phase
    bool drained = false;
  };
  struct Waiting {
    std::vector<core::Entry*> refs;
    size_t num_ready = 0;
    bool fetch = true;
    bool read = true;         // a get: look at the values
    bool for_reader = false;  // of the items of the own stream
    bool blocked = false;
    TimeNs deadline = kNever;
    TimeNs spin_until = 0;
  };

  // ---- driving (process.cc)
  void Guarded(TimeNs when, std::function<void()> fn);  // runs unless dead, not while suspended
  void Handle(const Packet& packet);
  void Settled();  // the end of every event
  void HandleEofs();
  void Flush(bool all);
  void ArmTimer();
  void PollMain();
  bool LookForTask();
  void LeaveWait();
  bool Ready(core::Entry* e, bool fetch);
  void RequestFetch(core::Entry* e);
  bool WaitOver();
  void Wake(uint64_t token, TimeNs when);
  void Exit();

  // ---- the program (program.cc)
  void Step();
  void StartTask(core::ExecItem* item);
  void CheckOwnDevices();
  core::Task* NewTask(TaskKind kind, const std::shared_ptr<core::Template>& tmpl, SimArgs args,
                      uint64_t percent, size_t most);
  void SubmitTask();
  std::shared_ptr<core::Template> PickTemplate(bool* leaf, bool* fast, bool* hopeless);
  void PutValue();

  // ---- actors (actors.cc)
  void ActorStep();
  void CreateActor();
  void CallActor();
  void KillActor();
  void DropActor();
  void CheckCall();
  void MakeManyActors(uint32_t count);
  void Park();

  // ---- placement groups (groups.cc)
  void GroupStep();
  void CreateGroup();
  void OnGroupReply(const GroupReply& m);
  void RemoveGroup(size_t i);
  void RemoveAllGroups();
  void AskOfGroup(TaskTemplate* t);
  void SubmitToGroup();
  void CreateActorInGroup();

  // ---- streams (streams.cc)
  void YieldItem();
  bool HasItemsLeft() const;
  std::vector<ObjectId> ItemRefs(std::vector<core::Entry*>* entries);
  void StreamStep();
  void OpenStream();
  bool ReadStream(bool may_wait);
  void CloseStream(size_t i);
  bool DrainStream();

  void StartWait();
  bool ReadValues();
  bool ReadOne(core::Entry* e);
  void Learn(Bytes bytes, uint64_t tag, const ObjectId& id, core::Entry* outer);
  void DropSome();
  void Forget(const std::vector<core::Entry*>& read);  // at once: only what was read in them is kept
  void CancelOne();
  void FinishTask();
  void Answer();
  void EndDriver();
  core::Entry* AnyRef();
  void Keep(core::Entry* e);  // one more handle in the frame
  void Release(core::Entry* e);
  std::vector<ObjectId> SomeIds(size_t most, std::vector<core::Entry*>* entries, bool actors);

  // ---- detached actors (detached.cc)
  void CreateDetached();
  void OnAdopted(const AdoptActorReply& m);
  void FindDetached();

  // ---- core::Core::Host
  bool Claim(core::ExecItem& item) override;
  void Answered(uint32_t claim) override { answered_.push_back(claim); }
  void Interrupt(const core::ExecItem& item) override { interrupted_ |= !item.of_actor(); }
  void CancelChildren(uint32_t serial, bool force) override { core_.CancelChildren(serial, force); }
  bool PinArgs(core::ExecItem& item) override;
  void OnPullReply(const PullReply& m) override;
  void OnExtentReply(const ExtentReply&) override {}
  void OnExit() override { exit_requested_ = true; }
  void OnExtentReclaim() override {}
  void OnLogLines(const Address&, LogLines) override {}
  void OnReply(MsgType type, Bytes body) override;

  World* world_;
  Address self_;
  bool driver_;
  uint8_t language_;  // of the tasks that it can run
  bool alive_ = true;
  core::Core core_;
  TimeNs suspended_until_ = 0;
  std::deque<Packet> inbox_;  // came while suspended
  std::deque<Packet> to_self_;
  std::deque<Packet> eofs_;
  std::deque<Packet> backlog_;          // not yet in a lane
  std::map<uint32_t, TaskRef> claims_;  // in "shared memory"
  uint32_t next_claim_ = 0;
  std::vector<uint32_t> answered_;  // of claims_, not yet dropped
  TimeNs timer_at_ = kNever;

  Main main_ = Main::kIdle;
  uint64_t token_ = 0;  // names the main thread's current rest: older wake-ups are void
  std::unique_ptr<Frame> frame_;
  Waiting waiting_;
  std::vector<core::Entry*> adopting_;  // held until the owner of detached actors has answered
  std::vector<std::pair<ObjectId, Blob>> arg_values_;
  std::vector<core::Entry*> kept_;
  std::vector<std::shared_ptr<core::Template>> templates_;
  bool interrupted_ = false;
  bool exit_requested_ = false;
  bool retire_ = false;
  uint32_t calls_ = 0;
  std::vector<GroupRecord> groups_;  // that it knows
  uint64_t group_nonce_ = 0;
  bool groups_over_ = false;             // none is used any more
  std::map<ObjectId, uint32_t> called_;  // actors, and how often
  // As an actor: the last call of each caller in each concurrency group, how many of each may run at once,
  // and what runs beside frame_.
  std::map<std::pair<Address, uint32_t>, uint32_t> started_in_turn_;
  std::unordered_set<TaskId> raised_;  // tasks that failed here and may be tried again
  uint32_t most_at_once_[3] = {1, 1, 1};
  std::vector<std::unique_ptr<Frame>> parked_;
  std::vector<std::shared_ptr<core::Template>> methods_;
  std::optional<sched::Devices> devices_;  // of its tasks, since the first one
};

uint64_t TagOf(const ObjectId& id);
Blob EncodeValue(uint64_t tag, const std::vector<ObjectId>& contained);

}  // namespace rmpi::sim
