// SPDX-License-Identifier: Apache-2.0
#include "slurm/scrub.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <vector>

#include "slurm/hostlist.h"

namespace rmpi {
namespace {

// The connection to a launcher, and all that says "you are this rank of that step".
constexpr std::array<std::string_view, 19> kRankPrefixes = {"PMIX_",
                                                            "PMI_",
                                                            "OMPI_",
                                                            "OPAL_",
                                                            "PRTE_",
                                                            "ORTE_",
                                                            "PALS_",
                                                            "SRUN_",
                                                            "SLURMD_",
                                                            "SLURM_STEP",
                                                            "SLURM_SRUN_COMM",
                                                            "SLURM_CPU_BIND",
                                                            "SLURM_PMIX",
                                                            "SLURM_MPI_TYPE",
                                                            "SLURM_TOPOLOGY_ADDR",
                                                            "SLURM_GTIDS",
                                                            "SLURM_UMASK",
                                                            "SLURM_DISTRIBUTION",
                                                            "SLURM_PRIO_PROCESS"};
// SLURM_NTASKS_PER_NODE says how many ranks of ours a node has; an srun in a task would warn that its own
// number differs.
constexpr std::array<std::string_view, 6> kRankNames = {
    "SLURM_PROCID",         "SLURM_LOCALID", "SLURM_NODEID", "SLURM_TASK_PID", "SLURM_LAUNCH_NODE_IPADDR",
    "SLURM_NTASKS_PER_NODE"};

// The user's own among those: where Open MPI lies, what its compiler wrappers use, whether root may run it.
constexpr std::array<std::string_view, 18> kUsersOwn = {"OMPI_ALLOW_RUN_AS_ROOT",
                                                        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
                                                        "PRTE_ALLOW_RUN_AS_ROOT",
                                                        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM",
                                                        "OPAL_PREFIX",
                                                        "OPAL_LIBDIR",
                                                        "OPAL_BINDIR",
                                                        "OPAL_PKGDATADIR",
                                                        "OMPI_CC",
                                                        "OMPI_CXX",
                                                        "OMPI_FC",
                                                        "OMPI_CFLAGS",
                                                        "OMPI_CXXFLAGS",
                                                        "OMPI_FCFLAGS",
                                                        "OMPI_CPPFLAGS",
                                                        "OMPI_LDFLAGS",
                                                        "OMPI_LIBS",
                                                        "PMIX_PREFIX"};

// What mpirun sets for its ranks, and MPI_Init in its own process. Any other OMPI_MCA_* is the user's, from
// the shell or from mpirun --mca.
constexpr std::string_view kMca = "OMPI_MCA_";
constexpr std::array<std::string_view, 19> kMcaOfMpi = {"ess",
                                                        "ess_base_",
                                                        "initial_wdir",
                                                        "mpi_oversubscribe",
                                                        "orte_app_num",
                                                        "orte_bound_at_launch",
                                                        "orte_ess_",
                                                        "orte_externally_bound",
                                                        "orte_hnp_uri",
                                                        "orte_jobfam_session_dir",
                                                        "orte_launch",
                                                        "orte_local_daemon_uri",
                                                        "orte_node_regex",
                                                        "orte_num_nodes",
                                                        "orte_precondition_transports",
                                                        "orte_tmpdir_base",
                                                        "orte_top_session_dir",
                                                        "pmix",
                                                        "shmem_RUNTIME_QUERY_hint"};

bool Matches(std::string_view name, std::string_view pattern) {
  return pattern.ends_with('_') ? name.starts_with(pattern) : name == pattern;
}

std::set<std::string, std::less<>> NamesSetByUs(const Environment& env) {
  std::istringstream words(Get(env, kSetByUs));
  std::set<std::string, std::less<>> names;
  for (std::string name; words >> name;) names.insert(name);
  return names;
}

std::string OriginalName(std::string_view name) { return std::string(kOriginalPrefix) + std::string(name); }

bool IsOfRank(const Environment& env, std::string_view name) {
  if (name.starts_with("PRTE_MCA_") ||
      std::find(kUsersOwn.begin(), kUsersOwn.end(), name) != kUsersOwn.end()) {
    return false;
  }
  if (name.starts_with(kMca)) {
    const bool in_rank = env.contains("OMPI_COMM_WORLD_SIZE") || env.contains("OMPI_MCA_orte_ess_num_procs");
    if (!in_rank) return false;
    return std::any_of(kMcaOfMpi.begin(), kMcaOfMpi.end(),
                       [&](std::string_view own) { return Matches(name.substr(kMca.size()), own); });
  }
  return std::any_of(kRankPrefixes.begin(), kRankPrefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); }) ||
         std::find(kRankNames.begin(), kRankNames.end(), name) != kRankNames.end();
}

// A step on part of the job's nodes has overwritten the job's own layout with its own; mpirun refuses a
// layout that does not fit the node list, and srun would take the step's task count for the job's.
void RestoreJobLayout(Environment* env) {
  const std::string& nodes = Get(*env, "SLURM_JOB_NUM_NODES");
  if (nodes.empty()) return;
  (*env)["SLURM_NNODES"] = nodes;
  std::vector<int> tasks;
  const bool readable = ExpandCounts(Get(*env, "SLURM_TASKS_PER_NODE"), &tasks).ok();
  if (readable && static_cast<int64_t>(tasks.size()) == GetInt(*env, "SLURM_JOB_NUM_NODES")) return;
  (*env)["SLURM_TASKS_PER_NODE"] = Get(*env, "SLURM_JOB_CPUS_PER_NODE");
  env->erase("SLURM_NTASKS");
  env->erase("SLURM_NPROCS");
}

}  // namespace

void SetOverUser(Environment* env, const std::string& name, const std::string& value) {
  std::string& names = (*env)[std::string(kSetByUs)];
  if (!NamesSetByUs(*env).contains(name)) {
    names += (names.empty() ? "" : " ") + name;
    if (auto it = env->find(name); it != env->end()) (*env)[OriginalName(name)] = it->second;
  }
  (*env)[name] = value;
}

Environment ScrubEnvironment(const Environment& env) {
  const auto set_by_us = NamesSetByUs(env);
  Environment clean;
  for (const auto& [name, value] : env) {
    if (name == kSetByUs || set_by_us.contains(name)) continue;
    if (name.starts_with(kOriginalPrefix) && set_by_us.contains(name.substr(kOriginalPrefix.size()))) {
      clean[name.substr(kOriginalPrefix.size())] = value;  // the user's own, given back
    } else {
      clean[IsOfRank(env, name) ? OriginalName(name) : name] = value;
    }
  }
  if (!Get(env, "SLURM_JOB_ID").empty()) {
    RestoreJobLayout(&clean);
    clean["SLURM_OVERLAP"] = "1";  // srun in a task shares the resources that our own step holds
    clean.emplace("OMPI_MCA_plm_slurm_args", "--overlap");  // and so does the srun inside of mpirun
  }
  return clean;
}

void SetMpirunOfTasks(Environment* env, int64_t slots) {
  // Open MPI takes this number for the places of each node.
  if (const std::string& cpus = Get(*env, "SLURM_JOB_CPUS_PER_NODE"); !cpus.empty()) {
    env->emplace(OriginalName("SLURM_TASKS_PER_NODE"), Get(*env, "SLURM_TASKS_PER_NODE"));
    (*env)["SLURM_TASKS_PER_NODE"] = cpus;
  }
  const std::string count = std::to_string(std::max<int64_t>(slots, 1));
  // Open MPI 4 reads the OMPI names, Open MPI 5 the PRTE ones; each leaves the other's alone.
  const std::pair<const char*, std::string> settings[] = {
      {"OMPI_MCA_state_novm_select", "1"},
      {"OMPI_MCA_orte_set_default_slots", count},
      {"OMPI_MCA_hwloc_base_binding_policy", "none"},
      {"PRTE_MCA_prte_set_default_slots", count},
      {"PRTE_MCA_hwloc_default_binding_policy", "none"},
  };
  for (const auto& [name, value] : settings) env->emplace(name, value);
}

void SetMpiFolderOfTasks(Environment* env, const std::string& folder) {
  env->emplace("OMPI_MCA_orte_tmpdir_base", folder);
  env->emplace("PRTE_MCA_prte_tmpdir_base", folder);
}

}  // namespace rmpi
