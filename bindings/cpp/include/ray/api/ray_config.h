// SPDX-License-Identifier: Apache-2.0
/// \file
/// RayConfig: what ray::Init can be told.
#pragma once

#include <ray/api/abi.h>

#include <optional>
#include <string>
#include <vector>

namespace ray {
inline namespace v5 {

/// How long actors live, see RayConfig::default_actor_lifetime.
enum class ActorLifetime {
  DETACHED,      ///< until they are killed or end by themselves, at most as long as the runtime
  NON_DETACHED,  ///< as long as there is a handle on them, and their creator lives
};

/// \cond internal
namespace internal {
constexpr abi::Lifetime LifetimeOf(ActorLifetime lifetime) {
  return lifetime == ActorLifetime::DETACHED ? abi::kDetached : abi::kNonDetached;
}
}  // namespace internal
/// \endcond

/// Settings of ray::Init. What cannot be honoured makes Init throw a RayException that names it.
class RayConfig {
 public:
  /// Which runtime: "" (the launch around the program, else the environment's RAY_ADDRESS, else a new
  /// one-node runtime inside the program), "local" (always a new one), "auto" (one that runs on this node
  /// already, or an exception), or a run directory.
  std::string address = "";

  /// Not there: must be false. A program started without ray-mpi runs on one node by itself.
  bool local_mode = false;

  /// Folders (their .so files, not those of folders inside) or .so files with the remote functions. Empty:
  /// workers are this program, started again.
  std::vector<std::string> code_search_path;

  /// Options of the `ray-mpi` command, e.g. {"--num-cpus", "4"}, for the runtime that the program starts
  /// itself. Under a launch the launch's own options hold; a line on stderr then says that these are ignored.
  std::vector<std::string> head_args = {};

  /// Of the job's actors, also of those that its tasks and actors make, and in Python, that say nothing else.
  ActorLifetime default_actor_lifetime = ActorLifetime::NON_DETACHED;

  /// Redis is no part of ray-mpi: must not be set.
  std::optional<std::string> redis_username_;
  /// Redis is no part of ray-mpi: must not be set.
  std::optional<std::string> redis_password_;

  /// The namespace of this job's named things; "": a random one.
  std::string ray_namespace = "";
};

}  // namespace v5
}  // namespace ray
