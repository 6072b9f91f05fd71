// SPDX-License-Identifier: Apache-2.0
// What a raylet decides by itself (PROTOCOL T2, T7): which demand gets a lease on which of its workers, when
// another worker is forked, what is passed on to the head.
//
// Invariants: the pool never grants what it does not have; a debt comes only from UNBLOCKED; a lease holds
// its resources from grant to return, less the CPU while its task is blocked. A process that has run with
// devices (sched/pool.h) runs with exactly these to its end, one that has run without never gets any:
// libraries read which devices they may use only once. Devices whose process is to end are free when it has
// ended. A lease of a placement group's bundle has its resources of that bundle, and gives them back there.
// No step looks at all demand: what is served alike is one class (local_demand.cc), however many owners wait.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/message/messages.h"
#include "sched/bundles.h"
#include "sched/cpu_slots.h"
#include "sched/labels.h"
#include "sched/ledgers.h"
#include "sched/pool.h"
#include "sched/resources.h"

namespace rmpi::sched {

struct LocalOptions {
  uint32_t node = 0;
  Amounts total;
  Labels labels;
  uint32_t max_workers = 200;
  std::vector<CpuPlace> cpus;    // that workers are bound to; none: they are not bound
  std::vector<int> device_numa;  // by number: near which NUMA domain; those beyond its end: not known
};

class LocalScheduler {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    virtual void SendGrant(const Address& owner, const Grant& grant) = 0;
    // Just before the grant of a lease with devices: the worker must know them before its first task.
    virtual void AssignDevices(const Address& worker, uint64_t lease, const Devices& devices) = 0;
    // Just before the grant of a lease whose worker is to run on these CPUs only.
    virtual void AssignCpus(const Address& worker, uint64_t lease, const CpuSet& cpus) = 0;
    virtual void SendReclaim(const Address& owner, const Reclaim& m) = 0;
    virtual void SendReserved(const Reserved& m) = 0;
    // To the head: this much of the demand, counted from its epoch's beginning, is not served here.
    virtual void SendDemand(const Demand& demand) = 0;
    virtual void SendReject(const Demand& demand) = 0;
    // A process for tasks of this language. Answered by OnWorkerReady, OnWorkerStartFailed or OnCannotStart.
    virtual void StartWorker(JobId job, uint8_t language) = 0;
    virtual void SendUnschedulable(const Address& owner, const Unschedulable& m) = 0;
    virtual void StopWorker(const Address& worker) = 0;  // idle for long, one too many
  };

  LocalScheduler(const LocalOptions& options, Host* host)
      : options_(options), host_(host), pool_(options.total), bundles_(&pool_), cpu_slots_(options.cpus) {}

  // The other nodes of the run come and go: alone we serve all that fits.
  void AddOther(uint32_t node, const Amounts& total);
  void RemoveOther(uint32_t node, TimeNs now);
  // Who we are, once the head has said so.
  void SetNode(uint32_t node, Labels labels);

  void OnLeaseRequest(const Address& owner, const LeaseRequest& m, TimeNs now);
  void OnAssign(const Demand& m, TimeNs now);  // the head chose us for somebody's demand
  // That somebody is gone: only the head's view of us has to be put right.
  void OnAssignForNobody() { promised_ = true; }
  void OnHandedOff(const HandedOff& m, TimeNs now);  // the head placed some of ours elsewhere
  void OnLeaseReturn(uint64_t lease, WorkerAfter after, TimeNs now);
  // Starts workers before anybody asks. job 0: they serve whichever job comes first.
  void Prestart(JobId job, uint8_t language, uint32_t count);
  void OnWorkerReady(const Address& worker, JobId job, uint8_t language, TimeNs now);
  void OnWorkerStartFailed(uint8_t language, TimeNs now);  // it is tried again, ever more slowly
  // There will never be such a worker here: who waits for one is told why. `starting`: it was one on its way.
  void OnCannotStart(JobId job, uint8_t language, const std::string& why, bool starting, TimeNs now);
  void OnWorkerGone(const Address& worker, TimeNs now);
  void OnRetire(const Address& worker, TimeNs now);
  // `lease`: under which the waiting task runs. A message about a former lease changes nothing.
  void OnBlocked(const Address& worker, uint64_t lease, uint32_t depth, TimeNs now);
  void OnUnblocked(const Address& worker, uint64_t lease, TimeNs now);
  // The job has ended: its demand goes, and none comes any more.
  void OnJobEnd(JobId job);
  // The owner is dead: its demand goes, its leases end. Returns the workers that ran for it.
  std::vector<Address> OnOwnerGone(const Address& owner, TimeNs now);
  void OnOwnerNodeGone(uint32_t node, std::vector<Address>* workers, TimeNs now);
  // The head wants room for bundles of a placement group (PROTOCOL A3): all or none. With `earmark` it waits
  // for what becomes free, and takes it before any task.
  void OnReserve(const Reserve& m, TimeNs now);
  // Returns the workers that run in what is released: they are to be ended.
  std::vector<Address> OnRelease(const Release& m, TimeNs now);
  // The node leaves: nothing new starts here. What waits goes to the head, leases of tasks are recalled.
  void Drain(TimeNs now);
  size_t task_leases() const { return leases_.size() - actor_leases_; }
  size_t actor_leases() const { return actor_leases_; }
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return deadline_; }

  const Amounts& total() const { return options_.total; }
  const Amounts& available() const { return pool_.available(); }
  const Pool& pool() const { return pool_; }
  const Bundles& bundles() const { return bundles_; }
  // What that lease was taken from: the node's, or a bundle's.
  const Pool& PoolOfLease(uint64_t lease) { return PoolOf(leases_.at(lease).from); }
  const CpuSlots& cpu_slots() const { return cpu_slots_; }
  // What the head should know: free, less what it has promised here and what still waits for a process. Due
  // when it changed, and after every promise, since the head has already subtracted that from its own view.
  bool ReportDue() const {
    return promised_ || bundles_.report_due() || kept_ != reported_kept_ || Promisable() != reported_;
  }
  void TakeReport(Heartbeat* out);
  void ReportAll();  // the next one says all, since one before it may have been lost
  size_t worker_count() const { return workers_.size(); }
  size_t lease_count() const { return leases_.size(); }
  size_t demand_count() const { return demand_count_; }
  JobId JobOf(const Address& worker) const;
  // For people: what a worker has (nullopt: nobody that we know), and how many leases of each kind are
  // waited for here.
  struct WorkerView {
    uint8_t language = 0;
    bool blocked = false;
    bool leased = false;  // the rest is of its lease
    bool actor = false;
    Amounts resources;
    CpuSet cpus;
    Devices devices;
  };
  std::optional<WorkerView> ViewOf(const Address& worker) const;
  std::map<Shape, uint64_t> Waiting() const;
  // Whether that is the lease under which the worker runs now.
  bool Runs(const Address& worker, uint64_t lease) const;

 private:
  struct LocalDemand;
  using Line = std::list<LocalDemand>;
  // One owner's demand for one shape since its epoch began. Kept as long as the owner lives: the next request
  // is counted from the same beginning.
  struct Ledger {
    uint32_t epoch = 0;
    uint64_t wanted = 0;
    uint64_t here = 0;                 // granted by us
    uint64_t handed = 0;               // placed by the head
    uint64_t reported = 0;             // what the head was told last
    std::optional<Line::iterator> at;  // if some of it is waited for

    uint64_t left() const { return wanted - std::min(wanted, here + handed); }
  };
  // What is the same for all demand of a class.
  struct ClassKey {
    Shape shape;
    bool assigned = false;  // by the head: never passed on, and rejected when it waits for long
    bool stays = false;     // or not even then: there is nowhere else to go
    bool earmark = false;   // or later: what becomes free is for it
    auto operator<=>(const ClassKey&) const = default;
  };
  // Demand that is served alike, of whichever owner. Of its own owners each is granted one in turn; what the
  // head assigned is served as it came.
  struct DemandClass {
    const ClassKey* key = nullptr;
    Line line;
    uint64_t count = 0;  // of all
    uint64_t turn = 0;
    std::vector<std::pair<Address, uint32_t>> untold;  // whose changes the head has not been told

    const Shape& shape() const { return key->shape; }
    bool assigned() const { return key->assigned; }
  };
  struct LocalDemand {
    DemandClass* of = nullptr;
    Address owner;
    uint32_t shape_key = 0;
    uint32_t epoch = 0;
    uint64_t count = 0;
    Ledger* ledger = nullptr;  // null: assigned by the head
    TimeNs since = 0;
    uint32_t run_us = 0;  // of such tasks, as their owner says
    TimeNs patience = 0;  // of what the head assigned
    bool untold = false;

    const Shape& shape() const { return of->shape(); }
    bool assigned() const { return ledger == nullptr; }
  };
  struct Worker {
    Address address;
    JobId job;
    uint8_t language = 0;
    uint64_t lease = 0;
    bool retiring = false;
    bool used = false;  // has had a lease: from then on bound to `devices`
    Devices devices;
    CpuSet cpus;  // that it was bound to last
    bool blocked = false;
    uint32_t blocked_depth = 0;
    TimeNs idle_since = 0;
  };
  struct LeaseRecord {
    Address owner;
    Address worker;
    Amounts resources;
    Devices devices;
    CpuSet cpus;
    bool actor = false;
    BundleKey from;
  };
  struct Leaving {  // devices of a process that is about to end
    Address worker;
    Amounts units;
    Devices devices;
    TimeNs deadline = 0;
    BundleKey from;
  };

  void Dispatch(TimeNs now);
  void Serve(DemandClass* c, std::map<uint8_t, uint32_t>* starts_wanted, bool* starved, TimeNs now);
  void GrantTo(DemandClass* c, std::map<uint8_t, uint32_t>* starts_wanted, std::optional<BundleKey>* room,
               bool* serves, TimeNs now);
  void RejectLate(DemandClass* c, bool coming, TimeNs now);
  void AskForIdle(TimeNs now);

  // ---- who waits (local_demand.cc)
  Line::iterator Insert(LocalDemand d, const ClassKey& key);
  void SetCount(LocalDemand* d, uint64_t count);
  void Untold(LocalDemand* d);
  void TellHead(DemandClass* c);
  void Turn(DemandClass* c);
  void File(DemandClass* c);
  void Prune();
  Line::iterator Erase(Line::iterator at);
  void Withdraw(LocalDemand* d);
  // Of each class that `which` is true of, all demand that `whose` is.
  void WithdrawAll(const std::function<bool(const ClassKey&)>& which,
                   const std::function<bool(const LocalDemand&)>& whose);
  bool GrantOne(LocalDemand* d, const BundleKey& from);
  void BindWorker(const Shape& shape, LeaseRecord* lease, uint64_t number);
  bool Local(const Shape& shape) const;
  bool Serves(const DemandClass& c, const Amounts& available) const;
  Worker* IdleWorker(const Shape& shape, const Devices& devices);
  uint32_t Starting() const;
  void EndStart(uint8_t language);
  void StopIdle(size_t index);
  void StopIdleOn(const Devices& devices);
  void EndLease(uint64_t lease, bool gone, TimeNs now);
  void FreeLeaving(const std::function<bool(const Leaving&)>& which);
  void Report(LocalDemand* d);
  bool MayStart(const Shape& shape, TimeNs now);
  Amounts CpuOf(const Amounts& a) const;
  Amounts Promisable() const;
  void Reject(LocalDemand* d);
  void StartWorkersFor(const DemandClass& c, std::map<uint8_t, uint32_t>* wanted, TimeNs now);

  // ---- placement groups (local_bundles.cc)
  std::optional<BundleKey> RoomFor(const Shape& shape, bool earmarked);
  Pool& PoolOf(const BundleKey& from) { return from.first == 0 ? pool_ : bundles_.pool(from); }
  void Use(const BundleKey& from);
  void GiveTo(const BundleKey& from, const Amounts& what, const Devices& devices);
  void Changed(const BundleKey& from) {
    if (from.first != 0) bundles_.Changed(from);
  }
  bool FitsAll(const Reserve& m) const;
  void RecallAll(TimeNs now);
  // ---- earmarks (local_earmark.cc)
  bool SparesEarmark(const Amounts& want) const;
  void ServeEarmark();
  void EarmarkGroup(const Reserve& m, Amounts sum, TimeNs now);
  void EndGroupEarmark();
  bool MayEarmark(const Demand& m) const;
  bool Others(const LeaseRecord& lease, const Demand* than) const;
  void Recall(const Demand* except);
  void Arm(TimeNs when) {
    if (when < deadline_) deadline_ = when;
  }

  LocalOptions options_;
  std::map<uint32_t, bool> others_;  // whether they have GPUs
  size_t plain_others_ = 0;          // that have none
  Host* host_;
  Pool pool_;
  Bundles bundles_;
  // An earmark: of a group's bundles, or of a task that starved (ClassKey::earmark). Never of both.
  std::optional<Reserve> earmark_;
  Amounts earmarked_;             // what it wants in all; none: there is no earmark
  Amounts kept_, reported_kept_;  // of the node's own pool, by actors
  CpuSlots cpu_slots_;
  std::map<ClassKey, DemandClass> classes_;
  // Those that somebody waits in and that we may serve: deeper ones first, then by turn.
  std::set<std::tuple<uint32_t, uint64_t, DemandClass*>> order_;
  std::vector<DemandClass*> round_;  // of one step
  uint64_t turns_ = 0;
  size_t demand_count_ = 0;
  LedgersByOwner<Ledger> ledgers_;
  std::unordered_map<Address, Worker> workers_;
  std::vector<Address> idle_;  // most recently used last
  std::unordered_map<uint64_t, LeaseRecord> leases_;
  uint32_t actor_leases_ = 0;
  std::vector<Leaving> leaving_;
  std::map<uint32_t, uint32_t> blocked_depths_;  // depth -> how many
  uint64_t next_lease_ = 1;
  std::map<uint8_t, uint32_t> starting_;  // by language
  TimeNs last_paced_start_ = 0;
  TimeNs pace_ = 0;
  TimeNs next_reclaim_ = 0;
  TimeNs next_start_ = 0;       // after failed starts: not before
  uint32_t failed_starts_ = 0;  // in a row
  TimeNs deadline_ = kNever;
  bool dispatching_ = false;
  bool draining_ = false;
  TimeNs next_recall_ = 0;
  std::set<JobId> ended_jobs_;
  bool promised_ = true;  // by the head, since the last report
  Amounts reported_;
};

}  // namespace rmpi::sched
