// SPDX-License-Identifier: Apache-2.0
// CoreWorker: what a language binding sees of the runtime. One per process (driver or worker). It owns the
// state machines of runtime/core (ownership, references, submission, execution) behind one lock, this
// process's Port on the node's board, and its Client of the object store. Values are opaque bytes here; the
// binding serialises.
//
// Threads: every call may be made from any thread unless it says otherwise. No call runs foreign code (a
// Python callback, a destructor of user data) while the core lock is held. Callbacks given to OnReady run
// without the lock, on the thread that happened to drive the lanes. Calls that block drive the lanes while
// they wait; a background thread does so while user code runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/base/status.h"
#include "runtime/base/time.h"
#include "runtime/ids/ids.h"
#include "runtime/message/group_messages.h"
#include "runtime/message/lease_messages.h"

namespace rmpi {

namespace core {
struct Entry;
}
class CoreWorker;

// A counted handle on an object (an ObjectRef of user code). Copying, moving and dropping are thread safe;
// dropping the last one of a process may free the object or tell its owner. Equality is identity of the
// object.
class Ref {
 public:
  Ref() = default;
  Ref(const Ref& o);
  Ref(Ref&& o) noexcept : entry_(std::exchange(o.entry_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(entry_, o.entry_);
    return *this;
  }
  ~Ref();

  bool nil() const { return entry_ == nullptr; }
  const ObjectId& id() const;
  // True when a value, an error or a location is known. One atomic load, no lock.
  bool ready() const;
  core::Entry* entry() const { return entry_; }
  // For bindings that keep counts by hand: gives up the count, takes one over.
  core::Entry* Release() { return std::exchange(entry_, nullptr); }
  static Ref Adopt(core::Entry* entry) { return Ref(entry); }

 private:
  friend class CoreWorker;
  explicit Ref(core::Entry* entry) : entry_(entry) {}  // takes over one count
  core::Entry* entry_ = nullptr;
};

// What a stored value is. The binding chooses kValue or kAppError; the runtime makes kSystemError.
enum class ValueKind : uint8_t {
  kValue = 0,
  kAppError = 1,     // the bytes are the binding's form of an exception (e.g. a pickled RayTaskError)
  kSystemError = 2,  // the bytes are an encoded SystemError
};

enum class ErrorType : uint8_t {
  kNone = 0,
  kWorkerCrashed,
  kTaskCancelled,
  kObjectLost,
  kOwnerDied,
  kNodeDied,
  kObjectStoreFull,
  kTaskUnschedulable,
  kRuntimeShutdown,
  kFunctionMissing,
  kOutOfMemory,
  kActorDied,
  kActorUnavailable,
  kActorUnschedulable,
  kEndOfStream,         // of an item: the stream ended before it
  kStreamInconsistent,  // of an item: the task ran again, and gave fewer
  kTaskGroupRemoved,    // its placement group is no more
  kActorGroupRemoved,
  // A lost object that is not made again, and why (O7).
  kLostPut = 32,   // no task made it
  kLostNoRetries,  // max_retries=0
  kLostRetriesSpent,
  kLostLineageEvicted,  // its owner kept too much lineage
  kLostCancelled,       // the task was cancelled
  kLostNoActor,         // its owner has no handle on the actor any more
};

// An error made by the runtime itself. `context` is the id of the task or object in hex.
struct SystemError {
  ErrorType type = ErrorType::kNone;
  std::string message;
  std::string context;
};
SystemError DecodeSystemError(Bytes bytes);

// A value on its way in. `write` is called exactly once, without the core lock, with `size` bytes of memory,
// 64-byte aligned when size exceeds the inline limit (it is then the object store itself: write in place).
struct ValueSource {
  size_t size = 0;
  std::function<void(std::byte* dest)> write;
  std::vector<Ref> contained;  // every ref inside the value (nested refs); held as long as the value lives
  ValueKind kind = ValueKind::kValue;
  bool to_store = false;  // Put: into the object store, small or not
};

// A value on its way out: bytes that stay valid, and read-only, as long as `keep_alive` is held (it holds the
// inline blob or the pin in the object store; it may be dropped by any thread).
struct ValueView {
  Bytes bytes;
  ValueKind kind = ValueKind::kValue;
  std::shared_ptr<const void> keep_alive;
  bool in_store = false;  // bytes lie in the object store (zero copy)
};

// What a thread does while it waits, besides waiting.
struct WaitHooks {
  // Called now and then, and after a signal; no lock is held, and mail is read elsewhere meanwhile. False:
  // stop.
  std::function<bool()> go_on;
  bool stop_at_error = false;  // return, with kOk, as soon as one of the refs is known to be an error
};

constexpr size_t kInlineLimit = 100 * 1024;  // Ray: max_direct_call_object_size

// ---- tasks ------------------------------------------------------------------------------------------------

// Name -> amount, precision 1e-4; sorted by name.
using ResourceList = std::vector<std::pair<std::string, double>>;

// Everything about a remote function that does not change between calls. Made once, used for many
// submissions.
struct TaskTemplate {
  std::string function_id;    // key under which the function's bytes were exported (CoreWorker::Export)
  std::string function_name;  // module.qualname, for messages
  std::string name;           // the task's name; empty: function_name's last part
  uint8_t language = kPythonLanguage;
  uint32_t num_returns = 1;
  int32_t max_retries = 3;  // -1: for ever
  bool retry_exceptions = false;
  uint32_t max_calls = 0;
  StreamKind stream = StreamKind::kNone;
  uint32_t window = 0;     // of a stream: its task waits while so many items are unread; 0: it never does
  ResourceList resources;  // with "CPU" unless 0
  Strategy strategy = Strategy::kDefault;
  uint32_t affinity_node = 0;  // node number, for kNodeAffinity
  bool affinity_soft = false;
  bool affinity_now = false;       // what is free there now decides: another node (soft), or an error
  std::vector<LabelRules> labels;  // of the node: alternatives, the preferred one first; none: any node
  uint32_t group = 0;              // placement group, by its number; 0: none
  int32_t bundle = -1;             // of that group; -1: any
  bool capture = false;            // what it submits is meant for its own group, unless it says otherwise
  bool inherits = false;           // without a group: to that of the task that submits it, if that captures
  bool creates_actor = false;      // `function_id` is a class: its instance is an actor
  bool ordered = true;             // methods: the actor starts the calls of one caller in their order
  std::string concurrency_group;   // methods: the concurrency group that they run in
  std::string retry_list;  // the binding's own form of a list of exception classes; travels with the task
};

// One argument list: opaque bytes made by the binding, plus the refs that the runtime must resolve (top
// level, by position in `refs`) and those merely carried inside the bytes (nested).
struct TaskArgs {
  size_t size = 0;
  std::function<void(std::byte* dest)>
      write;  // called once; arguments above the inline limit must be Put by the binding and passed as refs
  std::vector<Ref> refs;    // resolved before the task runs: the executor gets their values, in this order
  std::vector<Ref> nested;  // held until the task is done
};

struct ActorOptions {
  std::string name, ray_namespace;  // no name: found by its handles only
  Blob about;                       // of a named one: what makes a handle of it; the binding's own form
  bool detached = false;            // lives until it is killed, or the runtime ends
};

// Calls of an actor that run apart from its others, so many at once.
struct ConcurrencyGroup {
  std::string name;
  uint32_t most = 1;
};
constexpr uint32_t kAnyGroup = UINT32_MAX;

struct CurrentGroup {
  uint32_t group = 0;  // 0: none
  bool capture = false;
};

struct PreparedTemplate;  // made by CoreWorker::Prepare
using TemplateHandle = std::shared_ptr<const PreparedTemplate>;

// A task as its executor sees it. Valid from NextTask until FinishTask.
struct ExecTask {
  TaskId id;
  uint32_t attempt = 0;
  std::string function_id;
  std::string function_name;
  std::string name;
  std::string retry_list;
  uint32_t num_returns = 1;
  uint32_t max_calls = 0;
  StreamKind stream = StreamKind::kNone;
  bool retry_exceptions = false;
  int32_t retries_left = 0;
  uint32_t group = 0;  // of an actor's concurrency groups
  Bytes args;          // what TaskArgs::write wrote
  std::vector<ValueView>
      values;  // the resolved TaskArgs::refs (never errors: a failed argument fails the task before)
  std::vector<std::pair<std::string, double>> resources;  // as granted
  // To be in the environment while it runs: they show the devices that it holds, and no others.
  std::vector<std::pair<std::string, std::string>> variables;
  void* internal = nullptr;
};

// What to do with the next item of a stream.
struct ItemPlan {
  bool send = true;   // else nobody wants it: from a former attempt it is there, or nobody reads
  bool wait = false;  // before it is made
  bool stop = false;  // nobody will ever learn what comes of this task
};

enum class StreamIs { kPending, kReady, kEnded, kFailed };  // kReady: there is an item to take

// The devices of one resource that a task holds.
struct TaskDevices {
  std::string resource;
  bool masked = false;  // the ids are those that the node was given in the variable of this resource
  std::vector<std::string> ids;
};

struct NodeInfo {
  uint32_t node = 0;
  std::string hex_id;
  bool alive = false;
  std::string hostname, ip;
  int32_t rank = 0;
  std::vector<std::pair<std::string, double>> total, available;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string death_reason;
};

struct StoreStats {  // of this node, plus this process's own tables
  uint64_t capacity_bytes = 0, used_bytes = 0, objects = 0;
  uint64_t owned_entries = 0, borrowed_entries = 0, pending_tasks = 0;
  uint64_t bytes_read_in_place = 0, bytes_moved = 0;  // since the start: by this process, to this node
};

class CoreWorker {
 public:
  enum class Mode { kDriver, kWorker };
  struct Options {
    std::string session;  // run directory (drivers); workers use the environment's RAY_MPI_SESSION too
    Mode mode = Mode::kDriver;
    uint64_t spawn_token = 0;            // workers: which spawn request of the raylet this process answers
    std::string name;                    // shown in logs
    std::string ray_namespace;           // drivers: the job's namespace
    uint8_t language = kPythonLanguage;  // of this process
    // Drivers: the command line of the job's C++ workers (tasks of kCppLanguage) and the folder to run it in.
    // A worker finds RAY_MPI_SESSION and RAY_MPI_WORKER_TOKEN (Options::spawn_token) in its environment.
    // Empty: the job has none, and such tasks fail. At most kMaxHelloBytes in all.
    std::vector<std::string> native_worker;
    std::string native_worker_cwd;
    int log_fd_out = 1, log_fd_err = 2;  // drivers: where the workers' lines are written
    bool log_to_driver = true;
    // Told, on any thread and without a lock, of an error (kAppError) that a task of this process raised and
    // that nobody looked at before its last ref was dropped.
    std::function<void(Bytes)> on_unread_error;
  };

  // Connects to the raylet of the session. kUnavailable: no such runtime (says where it looked).
  static Status Connect(const Options& options, std::unique_ptr<CoreWorker>* out);
  // Drivers: ends the job: waits (bounded, about 1 s) for the last output of its workers. All Refs of this
  // CoreWorker become inert (dropping them is still safe).
  ~CoreWorker();
  static CoreWorker* Current();  // the process's one, or nullptr

  const Address& address() const;
  JobId job_id() const;
  uint64_t run_id() const;
  uint32_t node() const;
  std::string session() const;

  // ---- objects
  // Stores a value: inline (owner's memory) up to kInlineLimit, else in the node's object store. Blocks while
  // the store is full (kStoreFull after the grace period, message says what is used).
  Status Put(const ValueSource& source, Ref* out);
  // Waits until at least num_ready of refs are ready (and, if fetch, local) or the deadline passes; returns
  // how many. kInterrupted when a signal arrived: look at it and call again (with hooks: go_on has looked,
  // and said stop).
  Status Wait(std::span<const Ref* const> refs, size_t num_ready, TimeNs deadline, bool fetch, size_t* ready,
              const WaitHooks* hooks = nullptr);
  // The value of a ref which Wait(fetch) reported ready. kUnavailable: it was lost since; call Wait again.
  Status Read(const Ref& ref, ValueView* out);
  // Calls fn once, soon after the object is ready AND local, or the runtime is gone (may be immediately, in
  // this thread). What it is then, Read or Wait say.
  void OnReady(const Ref& ref, std::function<void()> fn);
  // Whether a ref is of this CoreWorker and not of one that has ended: all others are refused by nobody but
  // you.
  bool Knows(const Ref& ref) const;
  // The ref that names an object by id, e.g. from a pickle. `outer`: the object whose value contained it (nil
  // if none): its protector until the owner has acknowledged us. kNotFound: of another run.
  Status Borrow(const ObjectId& id, const Ref& outer, Ref* out);
  // A ref that left by a way the runtime does not see (user's own pickle): held until the job ends.
  void PinForJob(const Ref& ref);
  // Where a ref was made, for errors and people; remembered as long as this process knows the object.
  void NoteOrigin(const Ref& ref, std::string text);
  std::string OriginOf(const ObjectId& id);  // empty: not recorded

  // ---- tasks
  TemplateHandle Prepare(const TaskTemplate& t);
  // Whether more may be submitted now: few enough tasks are pending, and what could not be sent is small.
  // Submit and Call work without it, so that who cannot wait need not; user code is held up here (PROTOCOL
  // C4). One atomic load.
  bool HasRoom() const;
  // Blocks until there is room. kInterrupted, kUnavailable as Wait.
  Status WaitForRoom(const WaitHooks* hooks = nullptr);
  // Submits one call. Returns num_returns refs. Never blocks.
  Status Submit(const TemplateHandle& t, const TaskArgs& args, std::vector<Ref>* returns);
  Status Cancel(const Ref& ref, bool force, bool recursive);

  // ---- streams, at who called (PROTOCOL T9). `stream`: the one ref that Submit or Call returned; it is
  // ready when the task has ended. Takes the next item. kNotFound: the stream has ended; `stream` says
  // whether well. kTimeout, kInterrupted, kUnavailable as Wait.
  Status NextItem(const Ref& stream, TimeNs deadline, Ref* item, const WaitHooks* hooks = nullptr);
  // The item `ahead` of the next, which is not taken. It may not have come; an error when it will not.
  Status PeekItem(const Ref& stream, uint32_t ahead, Ref* item);
  // kFailed: nothing is left to take, and the task has failed (its ref has the error).
  StreamIs LookAtStream(const Ref& stream) const;
  // Lets go of what is not taken. Every stream is to be closed.
  void CloseStream(const Ref& stream);

  // ---- actors. A Ref that CreateActor or FindActor gave, or a borrowed copy of it, is a handle: it keeps
  // the actor. t.creates_actor; t.max_retries: how often it is restarted. Returns at once, but waits for the
  // head if it is named or detached; then, if the name is taken, kExists, and `handle` and `about` are of the
  // actor that has it.
  Status CreateActor(const TemplateHandle& t, const TaskArgs& args, const ActorOptions& options, Ref* handle,
                     Blob* about);
  // Calls a method: t.function_id is its name. kFull: max_pending calls of this process wait there (-1: no
  // limit).
  Status Call(const Ref& actor, const TemplateHandle& t, const TaskArgs& args, int64_t max_pending,
              std::vector<Ref>* returns);
  // Ends its process at once; with no_restart for good.
  Status KillActor(const Ref& actor, bool no_restart);
  Status FindActor(const std::string& ray_namespace, const std::string& name, Ref* handle,
                   Blob* about);  // kNotFound
  // (namespace, name) of all, or of one namespace.
  Status ListActors(const std::string* ray_namespace,
                    std::vector<std::pair<std::string, std::string>>* names);
  // In an actor: it takes no more calls after this one, and is not restarted.
  void ExitActor();
  // How many calls run at once (1 at first), and how many of each named group, numbered from 1: as many
  // threads may be in NextTask, or take the next task before they have finished the last. While the actor is
  // made.
  void SetConcurrency(uint32_t most, const std::vector<ConcurrencyGroup>& named = {});
  // Called when a running call of this worker's actor is to be cancelled, on any thread, without a lock.
  void OnCallCancelled(std::function<void(const TaskId&)> fn);
  // This worker's actor, nil: it has none; and which life of it this is, from 0.
  ObjectId actor() const;
  uint32_t actor_incarnation() const;

  // ---- placement groups. Fills in number and job of `group`, of which bundles, strategy, name, namespace,
  // detached and soft_node are read. Returns before there is room for it. kExists: the name is taken.
  Status CreateGroup(GroupRecord* group);
  Status RemoveGroup(uint32_t group);
  Status FindGroup(const std::string& ray_namespace, const std::string& name, GroupRecord* out);  // kNotFound
  // One, or with 0 all, those that were removed of late included.
  Status ListGroups(uint32_t group, std::vector<GroupRecord>* out);
  std::string GroupId(uint32_t group) const;  // its public id, in hex
  // An object that has this value when the group is created, and is an error when it is removed before.
  Status GroupReady(uint32_t group, const Blob& value, Ref* out);
  // The one that this thread's task, or this worker's actor, runs in.
  CurrentGroup current_group() const;

  // ---- execution (workers, main thread)
  // Blocks until there is a task, of that group. kUnavailable: the runtime is gone or this worker was told to
  // go: leave. kInterrupted: a signal.
  Status NextTask(ExecTask* out, uint32_t group = kAnyGroup);
  // The same without waiting; kTimeout: there is none, or it cannot begin yet.
  Status TryNextTask(ExecTask* out);
  // Whether NextTask has one already.
  bool HasTask(uint32_t group) const;
  // For an event loop of the main thread, which waits for other things, too: until there is a task, a Ring(),
  // or the deadline (0: it only looks). Ok; else as NextTask.
  Status WaitForTask(TimeNs deadline);
  // Ends the main thread's WaitForTask, this one or the next. Any thread.
  void Ring();
  // The task that NextTask gave goes on without its thread: in an event loop.
  void LeaveTask();
  // results.size() == num_returns, or one ValueSource of an error kind that stands for all of them.
  // retryable: the error may be retried under retry_exceptions (the binding has checked the classes).
  Status FinishTask(ExecTask& task, std::span<const ValueSource> results, bool retryable_error);
  // The items of a task with a stream, in their order, before it is finished (then with one result); one
  // thread at a time. `item`: null if the plan says that it need not be sent. kStoreFull. `next`: the plan
  // for the next one.
  ItemPlan PlanItem(const ExecTask& task) const;
  Status Yield(const ExecTask& task, const ValueSource* item, ItemPlan* next);
  // As the plan says: until the reader is near enough, or not there. kInterrupted, kUnavailable as Wait.
  Status WaitForReader(const ExecTask& task, ItemPlan* next, const WaitHooks* hooks = nullptr);
  // For event loops: calls fn once, as soon as he is (may be immediately, in this thread).
  void OnReaderNear(const ExecTask& task, std::function<void()> fn);
  uint32_t ItemsYielded(const ExecTask& task) const;
  Status RefToItem(const ExecTask& task, uint32_t item, Ref* out);
  // The task running on the main thread, or the driver's own task id.
  TaskId current_task() const;
  // True while the task running on the main thread has been asked to stop (T8). The core sends SIGINT to the
  // main thread once, after this became true; the binding's handler acts only if it is (a late signal must
  // not hit the next task). One atomic load: may be called from a signal handler.
  bool CancelRequested() const;
  std::string current_task_name() const;
  std::string current_function_name() const;
  ResourceList current_resources() const;
  std::vector<TaskDevices> current_devices() const;
  // Called by a binding that is about to run user code which may call exit: "told to go" after max_calls.
  void RetireAfterThisTask();

  // ---- functions, key/value (at the head)
  Status Export(const std::string& key,
                Bytes value);  // asynchronous; seen before any task submitted after it
  Status Import(const std::string& key, TimeNs deadline, Blob* value);  // blocks until it is there
  Status KvPut(const std::string& ns, const std::string& key, Bytes value, bool overwrite, bool* added);
  Status KvGet(const std::string& ns, const std::string& key, std::optional<Blob>* value);
  Status KvDel(const std::string& ns, const std::string& key, bool* deleted);
  Status KvKeys(const std::string& ns, const std::string& prefix, std::vector<std::string>* keys);

  // ---- cluster
  Status Nodes(std::vector<NodeInfo>* out);  // asks the head
  StoreStats Stats();

 private:
  CoreWorker();
  Status CreateDetached(const TemplateHandle& t, Blob bytes, const TaskArgs& args,
                        const ActorOptions& options, Ref* handle, Blob* about);
  struct Impl;  // runtime/worker/impl.h
  std::unique_ptr<Impl> impl_;
  friend class Ref;
};

}  // namespace rmpi
