// SPDX-License-Identifier: Apache-2.0
#include "slurm/launch.h"

#include <algorithm>

namespace rmpi {
namespace {

// A word as a shell would need it.
std::string Quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string Joined(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& word : command) line += (line.empty() ? "" : " ") + Quoted(word);
  return line;
}

bool SpeaksPmi(const Environment& env) {
  return !Get(env, "PMIX_NAMESPACE").empty() || HasPrefix(env, "PMI_") || HasPrefix(env, "PALS_");
}

// The daemons of a plain mpirun are a Slurm step, too, but one with --mpi=none.
bool InPmiStepOfSeveralTasks(const Environment& env) {
  const std::string& type = Get(env, "SLURM_MPI_TYPE");
  return GetInt(env, "SLURM_STEP_NUM_TASKS").value_or(0) > 1 && !type.empty() && type != "none";
}

std::string NestedAdvice(const Environment& env, const std::vector<std::string>& command) {
  return "srun started mpirun once in each of its " + Get(env, "SLURM_STEP_NUM_TASKS") +
         " tasks; such launches hang. Start the ranks by srun alone:\n    " + SrunLine(env, command);
}

std::string WrongPmiAdvice(const Environment& env, const std::vector<std::string>& command) {
  const std::string& type = Get(env, "SLURM_MPI_TYPE");
  return "srun started " + Get(env, "SLURM_STEP_NUM_TASKS") +
         " tasks without a PMI plugin (--mpi=" + (type.empty() ? "none" : type) +
         "), so they cannot find each other. Use the plugin of Slurm that MPI was built for "
         "(`srun --mpi=list` shows them):\n    " +
         SrunLine(env, command);
}

// Whether we are where salloc often leaves its shell: on the login node. Slurm tells the name of a node to
// what runs on it; where it does not, the host's own name has to do.
bool OutsideOfJob(const JobEnvironment& job, const std::string& host) {
  if (job.nodes.empty() || !job.node_name.empty()) return false;
  const auto short_name = [](const std::string& name) { return name.substr(0, name.find('.')); };
  return std::none_of(job.nodes.begin(), job.nodes.end(), [&](const std::string& node) {
    return node == "localhost" || short_name(node) == short_name(host);
  });
}

}  // namespace

std::string SrunLine(const Environment& env, const std::vector<std::string>& command) {
  std::string line = "srun --mpi=pmix";
  // Only where the step that we are in differs from one rank per node does the line need to say so.
  const int64_t nodes = GetInt(env, "SLURM_JOB_NUM_NODES").value_or(0);
  const int64_t tasks = GetInt(env, "SLURM_NTASKS").value_or(nodes);
  if (nodes > 0 && tasks != nodes) line += " --nodes=" + std::to_string(nodes) + " --ntasks-per-node=1";
  return line + " " + Joined(command);
}

std::string WhyNoMpirun(const Environment& env, const std::string& host,
                        const std::vector<std::string>& command) {
  if (OutsideOfJob(ParseJobEnvironment(env), host)) {
    return "this host, " + host + ", is none of the job's nodes (" + Get(env, "SLURM_JOB_NODELIST") +
           "); mpirun would start the program out of reach of its input, its Ctrl-C and its exit status. "
           "Start the ranks "
           "by srun:\n    " +
           SrunLine(env, command);
  }
  if (GetInt(env, "SLURM_STEP_NUM_TASKS").value_or(0) <= 1) return "";
  return "this is one of the " + Get(env, "SLURM_STEP_NUM_TASKS") +
         " tasks of an srun; an mpirun inside it would hang. Start the ranks by srun alone:\n    " +
         SrunLine(env, command);
}

LaunchInfo DetectLaunch(const Environment& env, const std::vector<std::string>& command) {
  const JobEnvironment job = ParseJobEnvironment(env);
  LaunchInfo info{Launch::kNone, job.rank, job.size, job.local_rank, job.local_size, ""};
  const bool in_step = !Get(env, "SLURM_STEP_NUM_TASKS").empty();

  if (!Get(env, "OMPI_COMM_WORLD_SIZE").empty()) {
    info.kind = InPmiStepOfSeveralTasks(env) ? Launch::kNested : Launch::kMpirun;
    if (info.kind == Launch::kNested) info.advice = NestedAdvice(env, command);
  } else if (in_step && SpeaksPmi(env)) {
    info.kind = Launch::kSrun;
  } else if (in_step && job.size > 1) {
    info.kind = Launch::kWrongPmi;
    info.advice = WrongPmiAdvice(env, command);
  } else if (SpeaksPmi(env)) {
    info.kind = Launch::kMpirun;
  } else if (job.nodes.size() > 1) {
    info.advice = "this job has " + std::to_string(job.nodes.size()) +
                  " nodes and only this one is used. To use all:\n    " + SrunLine(env, command);
  }
  return info;
}

}  // namespace rmpi
