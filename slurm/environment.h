// SPDX-License-Identifier: Apache-2.0
// The process environment as a map, and what Slurm's and Open MPI's variables in it say about our place in
// the job. All of it is a hint: what we may really use is found by runtime/node from masks and control
// groups.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rmpi {

using Environment = std::map<std::string, std::string, std::less<>>;

Environment CurrentEnvironment();
Environment ParseEnvironment(const char* const* envp);

// The value, or "" if the variable is not set.
const std::string& Get(const Environment& env, std::string_view name);
// The value as a number; nothing if it is not set or not a number.
std::optional<int64_t> GetInt(const Environment& env, std::string_view name);
// Whether a variable with this prefix is set.
bool HasPrefix(const Environment& env, std::string_view prefix);

struct JobEnvironment {
  // The Slurm job; empty or nothing outside of one.
  std::string job_id;
  std::string step_id;  // empty in a batch script
  std::string array_job_id, array_task_id;
  std::optional<int> het_group;  // which component of a heterogeneous job
  int het_size = 0;
  std::string partition;
  std::string topology;               // the switches above this node, with dots between them
  std::vector<std::string> nodes;     // of the job, in Slurm's order
  std::string node_name;              // this node, as Slurm calls it
  std::vector<int> cpus_per_node;     // of the job, per node
  int restart_count = 0;              // how often this job has been requeued
  std::optional<int64_t> end_time_s;  // Unix time of the time limit, where Slurm tells (from 23.02 on)

  // This process's place among the ranks that srun or mpirun started.
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks of this host
  int node_id = 0;                     // which of the step's nodes this is

  // What Slurm granted on this node.
  std::optional<int> cpus_on_node;
  std::optional<uint64_t> memory_per_node_bytes;  // from --mem or --mem-per-cpu; --mem=0 gives nothing

  bool in_job() const { return !job_id.empty(); }
  bool in_step() const { return !step_id.empty(); }
};

// Values that cannot be read count as not set.
JobEnvironment ParseJobEnvironment(const Environment& env);

}  // namespace rmpi
