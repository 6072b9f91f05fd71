// SPDX-License-Identifier: Apache-2.0
#include "slurm/environment.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "slurm/hostlist.h"

namespace rmpi {
namespace {

// The first of the variables that is set and is a number.
std::optional<int> FirstInt(const Environment& env, std::initializer_list<std::string_view> names) {
  for (std::string_view name : names) {
    if (auto value = GetInt(env, name); value && *value >= 0 && *value <= INT32_MAX) {
      return static_cast<int>(*value);
    }
  }
  return std::nullopt;
}

const std::string& FirstOf(const Environment& env, std::initializer_list<std::string_view> names) {
  for (std::string_view name : names) {
    if (!Get(env, name).empty()) return Get(env, name);
  }
  return Get(env, *names.begin());
}

template <typename T, typename Expand>
std::vector<T> Expanded(Expand expand, const std::string& text) {
  std::vector<T> list;
  if (!expand(text, &list).ok()) list.clear();
  return list;
}

void ParseJob(const Environment& env, JobEnvironment* job) {
  job->job_id = FirstOf(env, {"SLURM_JOB_ID", "SLURM_JOBID"});
  job->step_id = FirstOf(env, {"SLURM_STEP_ID", "SLURM_STEPID"});
  job->array_job_id = Get(env, "SLURM_ARRAY_JOB_ID");
  job->array_task_id = Get(env, "SLURM_ARRAY_TASK_ID");
  job->het_size = FirstInt(env, {"SLURM_HET_SIZE"}).value_or(0);
  if (job->het_size > 0) job->het_group = FirstInt(env, {"SLURM_HET_GROUP_ID", "SLURM_PACK_GROUP_ID"});
  job->partition = Get(env, "SLURM_JOB_PARTITION");
  // "core.leaf3.n7", with the pattern "switch.switch.node". Without a tree it is the node alone.
  const std::string& path = Get(env, "SLURM_TOPOLOGY_ADDR");
  if (Get(env, "SLURM_TOPOLOGY_ADDR_PATTERN").ends_with(".node"))
    job->topology = path.substr(0, path.rfind('.'));
  job->nodes = Expanded<std::string>(ExpandHostlist, FirstOf(env, {"SLURM_JOB_NODELIST", "SLURM_NODELIST"}));
  job->node_name = Get(env, "SLURMD_NODENAME");
  job->cpus_per_node = Expanded<int>(ExpandCounts, Get(env, "SLURM_JOB_CPUS_PER_NODE"));
  job->restart_count = FirstInt(env, {"SLURM_RESTART_COUNT"}).value_or(0);
  job->end_time_s = GetInt(env, "SLURM_JOB_END_TIME");
}

// mpirun's variables first: below an mpirun, Slurm's describe the step of its daemons, not ours.
void ParsePlace(const Environment& env, JobEnvironment* job) {
  if (auto size = FirstInt(env, {"OMPI_COMM_WORLD_SIZE", "PALS_SIZE"})) {
    job->size = *size;
    job->rank = FirstInt(env, {"OMPI_COMM_WORLD_RANK", "PALS_RANKID", "PMIX_RANK"}).value_or(0);
    job->local_rank = FirstInt(env, {"OMPI_COMM_WORLD_LOCAL_RANK", "PALS_LOCAL_RANKID"}).value_or(0);
    job->local_size = FirstInt(env, {"OMPI_COMM_WORLD_LOCAL_SIZE", "PALS_LOCAL_SIZE"}).value_or(1);
    return;
  }
  if (auto size = FirstInt(env, {"SLURM_STEP_NUM_TASKS"})) {
    job->size = *size;
    job->rank = FirstInt(env, {"SLURM_PROCID"}).value_or(0);
    job->local_rank = FirstInt(env, {"SLURM_LOCALID"}).value_or(0);
    job->node_id = FirstInt(env, {"SLURM_NODEID"}).value_or(0);
    auto tasks =
        Expanded<int>(ExpandCounts, FirstOf(env, {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}));
    if (static_cast<size_t>(job->node_id) < tasks.size()) {
      job->local_size = tasks[static_cast<size_t>(job->node_id)];
    }
    return;
  }
  // Another mpirun (MPICH's hydra). It does not tell the local size.
  if (auto size = FirstInt(env, {"PMI_SIZE"})) {
    job->size = *size;
    job->rank = FirstInt(env, {"PMI_RANK"}).value_or(0);
    job->local_rank = FirstInt(env, {"MPI_LOCALRANKID"}).value_or(0);
    job->local_size = FirstInt(env, {"MPI_LOCALNRANKS"}).value_or(1);
  }
}

// Inside a step that is SLURM_CPUS_ON_NODE; below mpirun that variable speaks of a daemon, so the job's own
// list is looked up under the node's name.
std::optional<int> CpusOnNode(const Environment& env, const JobEnvironment& job) {
  auto here = std::find(job.nodes.begin(), job.nodes.end(), job.node_name);
  auto index = static_cast<size_t>(here - job.nodes.begin());
  const bool listed = here != job.nodes.end() && index < job.cpus_per_node.size();
  if (listed && !Get(env, "OMPI_COMM_WORLD_SIZE").empty()) return job.cpus_per_node[index];
  if (auto cpus = FirstInt(env, {"SLURM_CPUS_ON_NODE"})) return cpus;
  if (listed) return job.cpus_per_node[index];
  return std::nullopt;
}

std::optional<uint64_t> MemoryPerNode(const Environment& env, const JobEnvironment& job) {
  constexpr uint64_t kMiB = 1 << 20;  // Slurm counts memory in these
  if (auto mib = FirstInt(env, {"SLURM_MEM_PER_NODE"}); mib && *mib > 0) {
    return static_cast<uint64_t>(*mib) * kMiB;
  }
  if (auto mib = FirstInt(env, {"SLURM_MEM_PER_CPU"}); mib && *mib > 0 && job.cpus_on_node) {
    return static_cast<uint64_t>(*mib) * kMiB * static_cast<uint64_t>(*job.cpus_on_node);
  }
  return std::nullopt;
}

}  // namespace

Environment ParseEnvironment(const char* const* envp) {
  Environment env;
  for (; *envp != nullptr; ++envp) {
    std::string_view line(*envp);
    size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    env.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return env;
}

Environment CurrentEnvironment() { return ParseEnvironment(environ); }

const std::string& Get(const Environment& env, std::string_view name) {
  static const std::string kEmpty;
  auto it = env.find(name);
  return it == env.end() ? kEmpty : it->second;
}

std::optional<int64_t> GetInt(const Environment& env, std::string_view name) {
  const std::string& text = Get(env, name);
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool HasPrefix(const Environment& env, std::string_view prefix) {
  auto it = env.lower_bound(prefix);
  return it != env.end() && it->first.starts_with(prefix);
}

JobEnvironment ParseJobEnvironment(const Environment& env) {
  JobEnvironment job;
  ParseJob(env, &job);
  ParsePlace(env, &job);
  job.cpus_on_node = CpusOnNode(env, job);
  job.memory_per_node_bytes = MemoryPerNode(env, job);
  return job;
}

}  // namespace rmpi
