// SPDX-License-Identifier: Apache-2.0
// Every message of the control plane. The order of a struct's Fields is its wire layout (docs/wire.md).
// Who sends what to whom, and why, is told in docs/design.md; here each group names its direction.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/ids/ids.h"

namespace rmpi {

constexpr uint16_t kWireVersion = 1;

enum class MsgType : uint16_t {
  kNone = 0,
  // leases: owner -> raylet (-> GCS -> raylet) -> owner
  kLeaseRequest = 1,
  kGrant = 2,
  kLeaseReturn = 3,
  kReclaim = 4,
  kUnschedulable = 5,
  // tasks: owner <-> executor
  kPush = 16,
  kResult = 17,
  kResultAck = 18,
  kCancel = 19,
  kRevoke = 20,
  kReturned = 21,
  // actors: caller <-> creator, and worker -> creator
  kActorLocate = 24,
  kActorState = 25,
  kActorKill = 26,
  kActorExit = 27,
  // detached ones: creator <-> their owner in the head
  kAdoptActor = 28,
  kAdoptActorReply = 29,
  // references: borrower <-> owner
  kRegister = 32,
  kRegisterReply = 33,
  kUnregister = 34,
  kLocate = 35,
  kLocation = 36,
  kCancelRequest = 37,
  // streams: executor <-> owner, and owner -> raylet
  kItem = 40,
  kItemAck = 41,
  kStreamRead = 42,
  kFreeItems = 43,
  // store: client <-> its raylet
  kExtentRequest = 48,
  kExtentReply = 49,
  kExtentReturn = 50,
  kSealed = 51,
  kFree = 52,
  kPull = 53,
  kPullReply = 54,
  kLocationAdd = 57,
  kLocationDelete = 58,
  kExtentReclaim = 59,
  kLocationCheck = 60,
  kLocationChecked = 61,
  // transfers: raylet <-> raylet
  kPin = 64,
  kPinned = 65,
  kUnpin = 66,
  // worker <-> its raylet
  kBlocked = 80,
  kUnblocked = 81,
  kRetire = 82,
  kKillTask = 83,
  kExit = 84,
  kLogLines = 85,
  kJobOver = 86,
  kJobOverReply = 87,
  kStats = 88,
  kStatsReply = 89,
  kCorruptPeer = 90,
  kLogAck = 91,
  // death
  kEof = 96,
  // raylet <-> GCS
  kJoin = 112,
  kJoined = 113,
  kNodeAdded = 114,
  kNodeDead = 115,
  kHeartbeat = 116,
  kHeartbeatAck = 117,
  kDemand = 118,
  kAssign = 119,
  kAssignReject = 120,
  kHandedOff = 121,
  kShutdown = 122,
  kJobStart = 123,
  kJobStartReply = 124,
  kJobEnd = 125,
  kJobEndAck = 126,
  // key/value and cluster state: anyone <-> GCS
  kKvRequest = 144,
  kKvReply = 145,
  kNodesRequest = 146,
  kNodesReply = 147,
  kActorName = 148,
  kActorNameReply = 149,
};

// Stands before every message, on lanes and inside frames.
struct MessageHeader {
  uint16_t type = 0;
  uint16_t version = kWireVersion;
  uint32_t body_bytes = 0;
  Address src;
  Address dst;
};
static_assert(sizeof(MessageHeader) == 32);

// ---- shapes and leases ------------------------------------------------------------------------------------

// What a lease asks for. Two tasks of one shape may use each other's leases. Amounts are fixed point,
// 1/10000.
struct Shape {
  std::vector<std::pair<std::string, int64_t>> resources;  // sorted by name
  uint8_t strategy = 0;                                    // Strategy of core_worker.h
  bool affinity_soft = false;
  uint8_t language = kPythonLanguage;
  bool actor = false;  // the worker is an actor's, to the end of both
  // kNodeAffinity; or, for kDefault, the node that holds most argument bytes (a wish)
  uint32_t affinity_node = 0;
  uint32_t depth = 0;  // nesting depth of the task: deeper ones go first
  JobId job;

  template <class C>
  void Fields(C& c) {
    c(resources, strategy, affinity_soft, language, actor, affinity_node, depth, job);
  }
  auto operator<=>(const Shape&) const = default;
};

// owner -> its raylet. Counted from the beginning of an epoch, so that neither side has to guess which grants
// are on their way: `wanted` leases in all, those that have come included.
struct LeaseRequest {
  uint32_t shape_key = 0;  // the owner's own number for the shape
  uint32_t epoch = 0;      // a new one begins when some of what was asked for may be lost
  uint64_t wanted = 0;
  Shape shape;

  template <class C>
  void Fields(C& c) {
    c(shape_key, epoch, wanted, shape);
  }
};

struct Grant {  // granting raylet -> owner
  uint32_t shape_key = 0;
  uint32_t epoch = 0;  // of the request
  uint64_t lease = 0;  // unique per granting raylet
  Address worker;

  template <class C>
  void Fields(C& c) {
    c(shape_key, epoch, lease, worker);
  }
};

enum class WorkerAfter : uint8_t {
  kIdle = 0,     // may serve others
  kRetires = 1,  // has said that it takes no more
  kLeaves = 2,   // is to be told so: its actor has ended
};

struct LeaseReturn {  // owner -> granting raylet
  uint64_t lease = 0;
  WorkerAfter worker = WorkerAfter::kIdle;

  template <class C>
  void Fields(C& c) {
    c(lease, worker);
  }
};

struct Reclaim {  // raylet -> owner: others wait, give back what is idle
  uint32_t unused = 0;

  template <class C>
  void Fields(C& c) {
    c(unused);
  }
};

struct Unschedulable {  // raylet or GCS -> owner: tasks of this shape can never start
  uint32_t shape_key = 0;
  std::string reason;

  template <class C>
  void Fields(C& c) {
    c(shape_key, reason);
  }
};

// ---- values -----------------------------------------------------------------------------------------------

struct Place {  // where bytes lie in a node's store
  uint32_t node = 0;
  uint32_t segment = 0;
  uint64_t offset = 0;

  template <class C>
  void Fields(C& c) {
    c(node, segment, offset);
  }
  bool operator==(const Place&) const = default;
};

enum class ValueState : uint8_t { kInline = 0, kStored = 1, kGone = 2 };

// A value as it travels: its bytes, or where they are.
struct WireValue {
  ValueState state = ValueState::kInline;
  uint8_t kind = 0;  // ValueKind of core_worker.h
  uint32_t attempt = 0;
  uint64_t size = 0;
  Blob bytes;                 // kInline
  std::vector<Place> places;  // kStored: the first is the primary
  std::vector<ObjectId> contained;

  template <class C>
  void Fields(C& c) {
    c(state, kind);
    if (state == ValueState::kInline) {
      c(bytes, contained);
    } else if (state == ValueState::kStored) {
      c(attempt, size, places, contained);
    }
  }
};

// ---- tasks ------------------------------------------------------------------------------------------------

struct WireTemplate {  // the part of a task that its remote function and options fix
  std::string function_id, function_name, name, retry_list;
  uint8_t language = kPythonLanguage;
  bool retry_exceptions = false;
  bool ordered = true;  // of an actor's method
  uint32_t num_returns = 1;
  uint32_t max_calls = 0;
  StreamKind stream = StreamKind::kNone;
  uint32_t window = 0;  // of a stream: so many items may be unread; 0: any number
  std::vector<std::pair<std::string, int64_t>> resources;
  std::string group;  // of an actor's method: its concurrency group

  template <class C>
  void Fields(C& c) {
    c(function_id, function_name, name, retry_list, language, retry_exceptions, ordered, num_returns,
      max_calls, stream, window, resources, group);
  }
};

struct ResolvedArg {
  ObjectId id;
  WireValue value;

  template <class C>
  void Fields(C& c) {
    c(id, value);
  }
};

struct Push {  // owner -> executor
  TaskId task;
  uint32_t attempt = 0;
  int32_t retries_left = 0;
  uint32_t depth = 0;
  bool again = false;            // it was done, and runs for a lost result: a call takes no turn then
  uint64_t lease = 0;            // under which it runs: the granting raylet's number
  uint32_t template_number = 0;  // the owner's number; its bytes come with its first use on this lease
  Blob template_bytes;           // a WireTemplate, or empty: sent before
  Blob args;
  std::vector<ResolvedArg> resolved;
  // Of a stream: the owner lacks no item before the first; the consumer has read the second; kNoItems:
  // nobody will.
  uint32_t items_known = 0, items_read = 0;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, retries_left, depth, again, lease, template_number, template_bytes, args, resolved,
      items_known, items_read);
  }
};

struct Result {  // executor -> owner
  TaskId task;
  uint32_t attempt = 0;
  uint32_t run_us = 0;
  bool retryable_error = false;  // an application error that retry_exceptions covers
  bool needs_ack = false;        // the producer holds refs contained in the values until kResultAck
  uint32_t items = 0;            // that the stream had, this attempt's END
  std::vector<WireValue> values;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, run_us, retryable_error, needs_ack, items, values);
  }
};

// ---- streams ----------------------------------------------------------------------------------------------

constexpr uint32_t kNoItems = UINT32_MAX;

// Item i of a stream is an object of its owner: index i + 1 of the task, whose return is index 0.
inline ObjectId ItemId(const TaskId& task, uint32_t item) { return {task, item + 1, 0}; }

struct Item {  // executor -> owner
  TaskId task;
  uint32_t attempt = 0;
  uint32_t item = 0;
  WireValue value;  // if it contains refs, the producer holds them until kItemAck

  template <class C>
  void Fields(C& c) {
    c(task, attempt, item, value);
  }
};

// kItemAck, owner -> executor: the refs in that item are registered, or it was dropped.
// kStreamRead, owner -> executor: the consumer has read so many items; kNoItems: nobody reads any more.
// kFreeItems, owner -> raylet: what is left of that attempt from that item on, which nobody announced.
struct ItemRef {
  TaskId task;
  uint32_t attempt = 0;
  uint32_t item = 0;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, item);
  }
};

struct TaskRef {  // kResultAck, kCancel, and inside kReturned
  TaskId task;
  uint32_t attempt = 0;
  bool force = false;
  bool recursive = false;

  template <class C>
  void Fields(C& c) {
    c(task, attempt, force, recursive);
  }
};

struct Revoke {  // owner -> executor: give back all unclaimed tasks of mine
  uint32_t unused = 0;

  template <class C>
  void Fields(C& c) {
    c(unused);
  }
};

struct Returned {  // executor -> owner: not claimed, yours again
  std::vector<TaskRef> tasks;
  bool blocked = false;   // the running task waits: send nothing more until it is done
  bool retiring = false;  // this worker takes no more tasks
  // Not asked for: this argument of the tasks was on none of these nodes.
  ObjectId missing;
  std::vector<uint32_t> missing_on;

  template <class C>
  void Fields(C& c) {
    c(tasks, blocked, retiring, missing, missing_on);
  }
};

// ---- actors -----------------------------------------------------------------------------------------------

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

  template <class C>
  void Fields(C& c) {
    c(actor, no_restart);
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

// ---- references -------------------------------------------------------------------------------------------

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

struct RefMessage {  // kRegister, kRegisterReply, kUnregister, kLocate, kCancelRequest
  ObjectId id;
  uint64_t nonce = 0;                     // kRegister: echoed in the reply
  bool gone = false;                      // kRegisterReply: the owner no longer has it
  bool force = false, recursive = false;  // kCancelRequest
  bool lineage = false;                   // kUnregister: its value is not needed, but may be again

  template <class C>
  void Fields(C& c) {
    c(id, nonce, gone, force, recursive, lineage);
  }
};

struct Location {  // owner -> asker
  ObjectId id;
  WireValue value;

  template <class C>
  void Fields(C& c) {
    c(id, value);
  }
};

// ---- store ------------------------------------------------------------------------------------------------

struct ExtentRequest {
  uint64_t nonce = 0;
  uint64_t bytes = 0;

  template <class C>
  void Fields(C& c) {
    c(nonce, bytes);
  }
};

struct ExtentReply {
  uint64_t nonce = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;  // 0: the store is full; text says what holds it
  std::string text;

  template <class C>
  void Fields(C& c) {
    c(nonce, offset, bytes, text);
  }
};

struct ExtentReturn {
  uint64_t offset = 0;
  uint64_t bytes = 0;

  template <class C>
  void Fields(C& c) {
    c(offset, bytes);
  }
};

struct ObjectAt {  // kSealed (client -> raylet), kLocationAdd (raylet -> owner)
  ObjectId id;
  uint32_t attempt = 0;
  uint64_t size = 0;
  Place place;

  template <class C>
  void Fields(C& c) {
    c(id, attempt, size, place);
  }
};

struct FreeObject {  // owner -> raylet
  ObjectId id;
  uint32_t attempt = 0;

  template <class C>
  void Fields(C& c) {
    c(id, attempt);
  }
};

struct LocationDelete {  // raylet -> owner: copies that the sender's node has evicted
  std::vector<std::pair<ObjectId, uint32_t>> versions;

  template <class C>
  void Fields(C& c) {
    c(versions);
  }
};

// Owner -> raylet: does your node hold this version? raylet -> owner: the answer, behind all LOCATION_ADDs
// before it.
struct LocationCheck {
  ObjectId id;
  uint32_t attempt = 0;
  bool held = false;  // kLocationChecked
  bool keep = false;  // kLocationCheck: the copy there is the primary now, not to be evicted

  template <class C>
  void Fields(C& c) {
    c(id, attempt, held, keep);
  }
};

struct ExtentReclaim {  // raylet -> its clients: others wait for room, give back what you do not use
  uint32_t unused = 0;

  template <class C>
  void Fields(C& c) {
    c(unused);
  }
};

enum class PullPriority : uint8_t { kGet = 0, kWait = 1, kArgs = 2, kPrefetch = 3 };

struct Pull {  // client -> its raylet: bring this here. One reply each; `cancel` withdraws
  ObjectId id;
  uint32_t attempt = 0;
  uint64_t size = 0;
  PullPriority priority = PullPriority::kGet;
  bool cancel = false;
  std::vector<Place> places;

  template <class C>
  void Fields(C& c) {
    c(id, attempt, size, priority, cancel, places);
  }
};

struct PullReply {
  ObjectId id;
  uint32_t attempt = 0;
  bool failed = false;  // none of the places has it any more: ask the owner again
  bool full = false;    // the store has no room for it
  Place place;
  std::string text;
  std::vector<uint32_t>
      gone;  // failed: nodes that no longer hold it. None of them: a passing fault, try again

  template <class C>
  void Fields(C& c) {
    c(id, attempt, failed, full, place, text, gone);
  }
};

struct PinRequest {  // raylet -> source raylet: hold this still while I fetch it (kPin); kUnpin: done
  uint64_t request = 0;
  ObjectId id;
  uint32_t attempt = 0;

  template <class C>
  void Fields(C& c) {
    c(request, id, attempt);
  }
};

struct Pinned {
  uint64_t request = 0;
  bool gone = false;
  uint64_t offset = 0;
  uint64_t size = 0;

  template <class C>
  void Fields(C& c) {
    c(request, gone, offset, size);
  }
};

// ---- workers ----------------------------------------------------------------------------------------------

struct Blocked {       // kBlocked, kUnblocked
  uint64_t lease = 0;  // of the task that waits: by the time it is read the worker may have another one
  uint32_t depth = 0;

  template <class C>
  void Fields(C& c) {
    c(lease, depth);
  }
};

struct KillTask {  // owner -> raylet of the worker. Killed iff that claim is current; or, with a lease, iff
                   // that is
  Address worker;
  TaskId task;
  uint32_t attempt = 0;
  uint64_t lease = 0;

  template <class C>
  void Fields(C& c) {
    c(worker, task, attempt, lease);
  }
};

struct Exit {  // raylet -> worker: leave; worker -> raylet (kRetire): no more leases, I leave when nobody
               // needs me
  uint32_t reason = 0;

  template <class C>
  void Fields(C& c) {
    c(reason);
  }
};

struct LogLines {  // raylet -> driver's node -> driver
  bool is_stderr = false;
  int32_t pid = 0;
  std::string name;  // "(name" part of the prefix
  std::string host;  // ip or host; empty: the driver's own node
  std::string text;  // whole lines, each with its newline

  template <class C>
  void Fields(C& c) {
    c(is_stderr, pid, name, host, text);
  }
};

struct LogAck {  // driver -> raylet: so many bytes of its LogLines are printed
  uint64_t bytes = 0;

  template <class C>
  void Fields(C& c) {
    c(bytes);
  }
};

struct CorruptPeer {  // client -> its raylet: what this process of our node wrote to me cannot be read
  Address who;

  template <class C>
  void Fields(C& c) {
    c(who);
  }
};

struct StatsReply {
  uint64_t nonce = 0, capacity = 0, used = 0, objects = 0, moved = 0;

  template <class C>
  void Fields(C& c) {
    c(nonce, capacity, used, objects, moved);
  }
};

struct Nonce {  // kStats, kJobOver, kJobOverReply, kNodesRequest
  uint64_t nonce = 0;

  template <class C>
  void Fields(C& c) {
    c(nonce);
  }
};

struct Eof {  // the last message about an address: nothing of it comes after
  Address who;
  bool claims_known = true;
  std::vector<TaskRef> claimed;  // started and unanswered
  int32_t wait_status = 0;
  std::string cause;           // for people: what died, where, how
  bool out_of_memory = false;  // it was ended since its node had too little: a retry costs nothing

  template <class C>
  void Fields(C& c) {
    c(who, claims_known, claimed, wait_status, cause, out_of_memory);
  }
  // Whether user code of it may have started there, and is unanswered.
  bool Claimed(const TaskId& task, uint32_t attempt) const {
    return !claims_known || std::any_of(claimed.begin(), claimed.end(), [&](const TaskRef& c) {
      return c.task == task && c.attempt == attempt;
    });
  }
};

// ---- raylets and the GCS ----------------------------------------------------------------------------------

struct NodeRecord {
  uint32_t node = 0;
  int32_t rank = 0;
  int32_t pid = 0;
  bool alive = true;
  std::string hostname, ip, data_address, death_reason;
  std::vector<std::pair<std::string, int64_t>> total;
  std::vector<std::pair<std::string, int64_t>> available;
  std::vector<std::pair<std::string, std::string>> labels;

  template <class C>
  void Fields(C& c) {
    c(node, rank, pid, alive, hostname, ip, data_address, death_reason, total, available, labels);
  }
};

struct Join {  // kJoin: raylet -> GCS; kNodeAdded, kNodeDead: GCS -> raylets
  NodeRecord record;

  template <class C>
  void Fields(C& c) {
    c(record);
  }
};

struct Joined {  // GCS -> raylet: your node id, and everybody who is here
  uint32_t node = 0;
  uint64_t run_id = 0;
  std::vector<NodeRecord> nodes;

  template <class C>
  void Fields(C& c) {
    c(node, run_id, nodes);
  }
};

struct Heartbeat {  // raylet -> GCS, also the load report: only what changed since the last one
  uint64_t sequence = 0;
  bool changed = false;
  std::vector<std::pair<std::string, int64_t>> available;

  template <class C>
  void Fields(C& c) {
    c(sequence, changed, available);
  }
};

struct Demand {
  Address owner;
  uint32_t shape_key = 0;
  uint32_t epoch = 0;  // of the owner's request
  // raylet -> GCS: what the raylet does not serve itself, since the epoch's beginning. With an assignment or
  // a rejection: that many.
  uint64_t count = 0;
  Shape shape;

  template <class C>
  void Fields(C& c) {
    c(owner, shape_key, epoch, count, shape);
  }
};

struct HandedOff {  // GCS -> origin raylet: placed elsewhere
  Address owner;
  uint32_t shape_key = 0;
  uint32_t epoch = 0;
  uint64_t count = 0;

  template <class C>
  void Fields(C& c) {
    c(owner, shape_key, epoch, count);
  }
};

struct Shutdown {  // GCS -> raylets: the run is over
  int32_t status = 0;
  std::string reason;

  template <class C>
  void Fields(C& c) {
    c(status, reason);
  }
};

struct JobMessage {  // kJobStart (raylet -> GCS), kJobStartReply, kJobEnd, kJobEndAck
  JobId job;
  Address driver;
  uint64_t nonce = 0;
  std::string ray_namespace;
  uint8_t language = kPythonLanguage;      // of the driver
  std::vector<std::string> native_worker;  // command line of this job's C++ workers; empty: it has none
  std::string native_worker_cwd;           // where that is to be run
  bool detached = false;                   // of detached actors: does not end with its driver

  template <class C>
  void Fields(C& c) {
    c(job, driver, nonce, ray_namespace, language, native_worker, native_worker_cwd, detached);
  }
};

enum class KvOp : uint8_t { kPut = 0, kGet = 1, kDelete = 2, kKeys = 3, kWaitGet = 4 };

struct KvRequest {
  uint64_t nonce = 0;  // 0: no reply wanted
  KvOp op = KvOp::kGet;
  bool overwrite = true;
  std::string ns, key;
  Blob value;

  template <class C>
  void Fields(C& c) {
    c(nonce, op, overwrite, ns, key, value);
  }
};

struct KvReply {
  uint64_t nonce = 0;
  bool found = false;  // kPut: added anew; kDelete: there was one
  Blob value;
  std::vector<std::string> keys;

  template <class C>
  void Fields(C& c) {
    c(nonce, found, value, keys);
  }
};

enum class ActorNameOp : uint8_t { kRegister = 0, kFind = 1, kRemove = 2, kList = 3 };

struct ActorName {     // anybody -> GCS; kRemove: its creator, when it is dead
  uint64_t nonce = 0;  // 0: no reply wanted
  ActorNameOp op = ActorNameOp::kFind;
  bool everywhere = false;  // kList: in all namespaces
  std::string ray_namespace, name;
  ObjectId actor;  // kRegister, kRemove
  Blob about;      // kRegister: what makes a handle of it; the binding's own form

  template <class C>
  void Fields(C& c) {
    c(nonce, op, everywhere, ray_namespace, name, actor, about);
  }
};

struct ActorNameReply {
  uint64_t nonce = 0;
  bool found = false;  // kRegister: the name is taken, by this one
  ObjectId actor;
  Blob about;
  std::vector<std::pair<std::string, std::string>> names;  // kList: (namespace, name)

  template <class C>
  void Fields(C& c) {
    c(nonce, found, actor, about, names);
  }
};

struct NodesReply {
  uint64_t nonce = 0;
  std::vector<NodeRecord> nodes;

  template <class C>
  void Fields(C& c) {
    c(nonce, nodes);
  }
};

}  // namespace rmpi
