// SPDX-License-Identifier: Apache-2.0
/// \file
/// The C++ API: tasks, actors and objects, with the names that Ray gives them. Compile with C++17 or later
/// and msgpack-cxx, link with libray-mpi.so (CMake: find_package(ray-mpi) has the target).
///
///     #include <ray/api.h>
///     int Plus(int x, int y) { return x + y; }
///     RAY_REMOTE(Plus);
///     int main() {
///       ray::Init();
///       ray::ObjectRef<int> sum = ray::Task(Plus).Remote(1, 2);
///       std::cout << *ray::Get(sum) << "\n";
///     }
///
/// Run it with `ray-mpi ./program`, `srun ray-mpi ./program`, or by itself. Workers are the same program,
/// started again: in them ray::Init does not return, so everything before it runs in every worker, too.
#pragma once

#include <ray/api/actor_creator.h>
#include <ray/api/actor_handle.h>
#include <ray/api/logging.h>
#include <ray/api/object_ref.h>
#include <ray/api/placement_group.h>
#include <ray/api/ray_config.h>
#include <ray/api/ray_exception.h>
#include <ray/api/ray_remote.h>
#include <ray/api/task_caller.h>
#include <ray/api/wait_result.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace ray {
inline namespace v5 {

/// Connects this program to its runtime, see RayConfig::address. A second call does nothing. In a worker
/// process it runs tasks until the worker's end, and does not return. \throws RayException when there is no
/// runtime, or the config asks for what is not there.
inline void Init(const RayConfig& config) {
  namespace abi = internal::abi;
  if (config.local_mode) {
    throw RayException(
        "RayConfig::local_mode is not there in ray-mpi: run the program by itself (a one-node runtime starts "
        "inside), "
        "with head_args {\"--num-cpus\", \"1\"} to run one task at a time");
  }
  if (config.redis_username_ || config.redis_password_) {
    throw RayException(
        "RayConfig::redis_username_ and redis_password_: there is no Redis in ray-mpi, leave them out");
  }
  std::vector<abi::Text> paths(config.code_search_path.begin(), config.code_search_path.end());
  std::vector<abi::Text> head_args(config.head_args.begin(), config.head_args.end());
  abi::Config c;
  c.address = config.address;
  c.ray_namespace = config.ray_namespace;
  c.code_search_path = paths.data();
  c.code_search_path_count = paths.size();
  c.head_args = head_args.data();
  c.head_args_count = head_args.size();
  c.actor_lifetime = internal::LifetimeOf(config.default_actor_lifetime);
  internal::Check(internal::GetApi().init(&c));
}
/// Init(RayConfig()): with all defaults.
inline void Init() { Init(RayConfig()); }

/// \cond internal
namespace internal {

/// The value of --name=value or --name value, or null. One or two dashes.
inline const char* FlagValue(std::string_view name, int argc, char** argv, int* at) {
  std::string_view word = argv[*at];
  if (word.size() < 2 || word[0] != '-') return nullptr;
  word.remove_prefix(word[1] == '-' ? 2 : 1);
  if (word.substr(0, name.size()) != name) return nullptr;
  word.remove_prefix(name.size());
  if (!word.empty() && word[0] == '=') return word.data() + 1;
  if (!word.empty() || *at + 1 >= argc) return nullptr;
  return argv[++*at];
}

inline ActorLifetime LifetimeNamed(std::string_view word) {
  std::string name(word);
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (name == "detached") return ActorLifetime::DETACHED;
  if (name == "non_detached") return ActorLifetime::NON_DETACHED;
  throw RayException("--ray_default_actor_lifetime=" + std::string(word) +
                     ": it is neither detached nor non_detached");
}

inline std::vector<std::string> SplitWords(std::string_view text, char separator) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    if (end != 0) words.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return words;
}

}  // namespace internal
/// \endcond

/// The same; words of the command line win over `config`, which is changed to what was used: --ray_address=A,
/// --ray_code_search_path=P:Q, --ray_head_args="words", --ray_job_namespace=N,
/// --ray_default_actor_lifetime=detached (or non_detached). All other words are the program's. \throws
/// RayException as Init(config) does.
inline void Init(RayConfig& config, int argc, char** argv) {
  for (int i = 1; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
    if (const char* a = internal::FlagValue("ray_address", argc, argv, &i)) {
      config.address = a;
    } else if (const char* p = internal::FlagValue("ray_code_search_path", argc, argv, &i)) {
      config.code_search_path = internal::SplitWords(p, ':');
    } else if (const char* h = internal::FlagValue("ray_head_args", argc, argv, &i)) {
      config.head_args = internal::SplitWords(h, ' ');
    } else if (const char* n = internal::FlagValue("ray_job_namespace", argc, argv, &i)) {
      config.ray_namespace = n;
    } else if (const char* l = internal::FlagValue("ray_default_actor_lifetime", argc, argv, &i)) {
      config.default_actor_lifetime = internal::LifetimeNamed(l);
    } else if (internal::FlagValue("ray_redis_password", argc, argv, &i) != nullptr) {
      throw RayException("--ray_redis_password: there is no Redis in ray-mpi, leave it out");
    }
  }
  Init(config);
}

/// Whether this process is connected: between Init and Shutdown, and always inside of a task.
inline bool IsInitialized() {
  const internal::abi::Api* const api = internal::TryApi();
  return api != nullptr && api->is_initialized() != 0;
}

/// Ends this program's job: tasks that still run are ended, refs become empty shells. Also done at the
/// program's end. Inside of a task it does nothing. Init may be called again after it.
inline void Shutdown() {
  const internal::abi::Api* const api = internal::TryApi();
  if (api != nullptr) api->shutdown();
}

/// The namespace of this job. \throws RayException before Init.
inline std::string GetNamespace() {
  internal::abi::Text text;
  internal::Check(internal::GetApi().get_namespace(&text));
  return text.str();
}

}  // namespace v5
}  // namespace ray
