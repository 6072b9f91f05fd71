// SPDX-License-Identifier: Apache-2.0
/// \file
/// What the headers and libray-mpi.so say to each other: plain structs and a table of functions. A program
/// gets the table once, naming the kVersion that it was compiled with; a library of another version refuses
/// and says so. Nothing here is for user code.
///
/// No exception crosses the table. A call that can fail returns a Code; the details of the calling thread's
/// last failure are in last_error(). Text is not zero terminated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#define RAY_MPI_VERSION "0.1.0"  ///< of these headers

namespace ray {
inline namespace v5 {
namespace internal {
namespace abi {

/// Grows with every change to this file, value_tags.h, or what a function of the table means; and with it the
/// inline namespace of all headers, so that code of two versions in one process never shares a function.
constexpr uint32_t kVersion = 5;

enum Code : int32_t {
  kOk = 0,
  kError = 1,             ///< RayException
  kTaskError = 2,         ///< RayTaskException: user code threw
  kWorkerDied = 3,        ///< RayWorkerException
  kTimeout = 4,           ///< RayTimeoutException
  kFunctionNotFound = 5,  ///< RayFunctionNotFound
  kObjectLost = 6,        ///< UnreconstructableException
  kCancelled = 7,         ///< RayTaskCancelledException
  kStoreFull = 8,         ///< RayObjectStoreFullException
  kUnschedulable = 9,     ///< RayTaskUnschedulableException
  kActorDied = 10,        ///< RayActorException
};

struct Text {
  const char* data = nullptr;
  uint64_t size = 0;

  Text() = default;
  Text(std::string_view s) : data(s.data()), size(s.size()) {}
  Text(const std::string& s) : data(s.data()), size(s.size()) {}
  std::string_view view() const { return {data, static_cast<size_t>(size)}; }
  std::string str() const { return std::string(data == nullptr ? "" : data, static_cast<size_t>(size)); }
};

/// Details of a failure. Valid until the thread's next call.
struct ErrorInfo {
  Text message;  ///< everything, for people
  // Of kTaskError:
  Text function, type, remote_message, host, language;
  int64_t pid = 0;
};

/// One count on an object: the library's. Never null in a call unless it says so.
using Handle = void*;

/// A run of bytes; a value is one or several of them in a row.
struct Piece {
  const void* data = nullptr;
  uint64_t size = 0;
  void (*write)(void* context, void* dest) = nullptr;  ///< not null: writes the bytes to their place, once
  void* context = nullptr;
};

/// A value on its way in. All of it belongs to the caller and is used during the call only.
struct ValueIn {
  const Piece* pieces = nullptr;
  uint64_t piece_count = 0;
  const Handle* refs = nullptr;  ///< inside the value
  uint64_t ref_count = 0;
};

/// What keeps a value's bytes in place: two words of the library's. Both null: nothing to release.
struct Owner {
  void* words[2] = {nullptr, nullptr};
};

/// A value on its way out.
struct ValueOut {
  const void* data = nullptr;
  uint64_t size = 0;
  Owner owner;
};

struct Resource {
  Text name;
  double amount = 0;
};

struct Bundle {
  const Resource* resources = nullptr;
  uint64_t count = 0;
};

/// A placement group. As a result it is valid until the thread's next call that has one.
struct Group {
  Text id;    ///< 36 hexadecimal digits
  Text name;  ///< empty: it has none
  const Bundle* bundles = nullptr;
  uint64_t bundle_count = 0;
  int32_t strategy = 0;  ///< PlacementStrategy
  int32_t state = 0;     ///< PlacementGroupState
};

/// Where a task or an actor runs.
struct InGroup {
  Text group;            ///< its id; empty: in none
  int32_t bundle = -1;   ///< -1: any
  uint32_t capture = 0;  ///< what it submits goes there, too, unless it says otherwise
};

struct TaskOptions {
  Text name;
  const Resource* resources = nullptr;
  uint64_t resource_count = 0;
  int32_t max_retries = 3;
  uint32_t retry_exceptions = 0;
  InGroup placement;
};

/// How long an actor lives.
enum Lifetime : uint32_t {
  kDefaultLifetime = 0,  ///< as the job's Config says
  kNonDetached = 1,
  kDetached = 2,
};

struct ActorOptions {
  Text name;           ///< empty: it has none
  Text ray_namespace;  ///< of the name; empty: the job's
  const Resource* resources = nullptr;
  uint64_t resource_count = 0;
  int32_t max_restarts = 0;
  uint32_t max_concurrency = 1;
  Lifetime lifetime = kDefaultLifetime;
  InGroup placement;
};

/// An actor as its handles know it.
struct Actor {
  Handle handle = nullptr;
  uint32_t ordered = 1;  ///< the calls of one caller start in their order
  Text class_name;       ///< as Python names it, see Function::class_name
};

struct TaskArgs {
  ValueIn list;                  ///< its refs are the nested ones
  const Handle* refs = nullptr;  ///< top level: resolved before the task runs
  uint64_t ref_count = 0;
};

/// A worker's actor.
struct Instance {
  void* object = nullptr;          ///< a T
  Text type;                       ///< T
  void (*raise)(void*) = nullptr;  ///< throws the T*
  void (*destroy)(void*) = nullptr;
};

/// A running task, for the thunk of its function.
struct Call {
  void (*address)() = nullptr;         ///< the function or factory
  const void* method = nullptr;        ///< the bytes of the pointer to a member
  const Instance* instance = nullptr;  ///< this worker's actor, if it has one
  void* task = nullptr;                ///< the library's
  const void* args = nullptr;          ///< the argument list
  uint64_t args_size = 0;
  const ValueOut* values = nullptr;  ///< of the top-level refs; theirs until the thunk returns
  uint64_t value_count = 0;
};

struct TaskFailure {
  Text type;     ///< class of the exception
  Text message;  ///< its what()
};

struct Api;
using Thunk = void (*)(const Api*, const Call*);

struct Function {
  Text name;  ///< as written in RAY_REMOTE
  Text type;  ///< for messages
  Text file;  ///< where RAY_REMOTE stands
  int64_t line = 0;
  void (*address)() = nullptr;   ///< of functions and factories
  const void* method = nullptr;  ///< of methods: the bytes of the pointer to a member
  uint64_t method_size = 0;
  Text class_name;  ///< of factories and methods: of the actor
  Thunk thunk = nullptr;
};

struct Config {
  Text address;
  Text ray_namespace;
  const Text* code_search_path = nullptr;
  uint64_t code_search_path_count = 0;
  const Text* head_args = nullptr;
  uint64_t head_args_count = 0;
  Lifetime actor_lifetime = kDefaultLifetime;  ///< of actors that say nothing; the default is kNonDetached
};

struct Api {
  uint32_t version = 0;
  const ErrorInfo* (*last_error)() = nullptr;

  // The session. init does not return in a worker process.
  Code (*init)(const Config*) = nullptr;
  uint32_t (*is_initialized)() = nullptr;
  void (*shutdown)() = nullptr;
  Code (*get_namespace)(Text*) = nullptr;

  // Handles.
  Handle (*ref_copy)(Handle) = nullptr;
  void (*ref_drop)(Handle) = nullptr;
  void (*ref_id)(Handle, unsigned char* id) = nullptr;
  /// `outer`: the object whose value contained the id, or null.
  Code (*ref_from_id)(const unsigned char* id, Handle outer, Handle* out) = nullptr;
  /// A ref that leaves by a way that the runtime does not see: held until the job ends.
  Code (*ref_pin)(Handle) = nullptr;

  // Objects. timeout_ms < 0: for ever.
  Code (*put)(const ValueIn*, Handle* out) = nullptr;
  /// All values or an error; on an error nothing is to be released.
  Code (*get)(const Handle*, uint64_t count, int64_t timeout_ms, ValueOut* out) = nullptr;
  /// Sets marks[i] to 1 for at most num_ready refs that are ready.
  Code (*wait)(const Handle*, uint64_t count, uint64_t num_ready, int64_t timeout_ms,
               unsigned char* marks) = nullptr;
  void (*owner_copy)(const Owner*, Owner* out) = nullptr;
  void (*owner_drop)(Owner*) = nullptr;

  // Functions and tasks. A function is named by what find_* return; null: there is none.
  uint32_t (*register_function)(const Function*) = nullptr;
  const void* (*find_function)(void (*address)()) = nullptr;
  const void* (*find_python_function)(Text module, Text name) = nullptr;
  /// options null: the defaults.
  /// For messages: the function's name, and where its RAY_REMOTE stands.
  Text (*describe_function)(const void* function) = nullptr;
  /// For messages: a function without RAY_REMOTE. Valid until the thread's next call.
  Text (*describe_address)(void (*address)()) = nullptr;
  Code (*submit)(const void* function, const TaskOptions*, const TaskArgs*, Handle* out) = nullptr;

  // Actors. Factories and methods are named as functions are.
  const void* (*find_method)(const void* method, uint64_t size, Text type) = nullptr;
  const void* (*find_python_class)(Text module, Text name) = nullptr;
  const void* (*find_python_method)(Text name) = nullptr;
  /// The Actor's text is valid until the thread's next call.
  Code (*create_actor)(const void* factory, const ActorOptions*, const TaskArgs*, Actor* out) = nullptr;
  Code (*call_actor)(Handle actor, uint32_t ordered, const void* method, const TaskOptions*, const TaskArgs*,
                     Handle* out) = nullptr;
  Code (*kill_actor)(Handle actor, uint32_t no_restart) = nullptr;
  /// A null handle: there is none of this name.
  Code (*find_actor)(Text ray_namespace, Text name, Actor* out) = nullptr;
  Code (*check_in_actor)() = nullptr;  ///< fails in a process that is no actor's
  uint32_t (*actor_was_restarted)() = nullptr;
  // Placement groups. Of create_group's argument name, bundles and strategy are read.
  Code (*create_group)(const Group*, Group* out) = nullptr;
  Code (*remove_group)(Text id) = nullptr;
  /// By id, by name, or, with both empty, all.
  Code (*find_groups)(Text id, Text name, const Group** out, uint64_t* count) = nullptr;
  /// An object that is there when the group is created; an error when it was removed.
  Code (*group_ready)(Text id, Handle* out) = nullptr;

  uint64_t inline_limit = 0;  ///< an argument list longer than this must put its longest values

  // For thunks. Of finish and fail: exactly one, once.
  void (*set_instance)(const Call*, const Instance*) = nullptr;
  void (*finish)(const Call*, const ValueIn*) = nullptr;
  void (*fail)(const Call*, Code, const TaskFailure*) = nullptr;

  void (*log)(int32_t level, Text file, int64_t line, Text text) = nullptr;
};

}  // namespace abi
}  // namespace internal
}  // namespace v5
}  // namespace ray

extern "C" {
/// The table, or null when the library is of another version; ray_mpi_cpp_refusal() then says why.
const void* ray_mpi_cpp_interface(uint32_t version, const char* headers_version);
const char* ray_mpi_cpp_refusal();
}
