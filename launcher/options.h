// SPDX-License-Identifier: Apache-2.0
// The options of `ray-mpi`: command line, then environment (RAY_MPI_<NAME>), then one INI file (--config,
// RAY_MPI_CONFIG). What stands first wins. Everything after the program belongs to the program.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/status.h"
#include "slurm/environment.h"

namespace rmpi::launcher {

enum class Mode {
  kPrint,      // print `text` and leave: --help, --version, --ray-path, ...
  kRun,        // one rank: keeper, raylet, zygote and (rank 0) the program
  kMpirun,     // -n N: start mpirun, whose ranks are kRun
  kDoctor,     // look at this machine and say what fits and what does not
  kSpillList,  // what is in files of spilled objects: `arguments`
  kStatus,     // how a run is: `arguments`
  kDrain,      // empty a node of a run: `arguments`
  kStop,       // end the runtimes of this user on this node that serve
  kEmbedded,   // the parent process is the driver (a plain `python app.py`)
};

enum class ProgramKind { kNone, kScript, kModule, kExecutable };

struct Options {
  Mode mode = Mode::kRun;
  std::string text;  // kPrint

  // The program. `program` is a path or a module's name; `arguments` come after it.
  ProgramKind kind = ProgramKind::kNone;
  std::string program;
  std::vector<std::string> arguments;

  // Launch.
  uint32_t ranks = 0;     // -n
  std::string python;     // empty: found (paths.h)
  std::string transport;  // mpi | direct; empty: what the launch needs
  std::string transfer;   // how objects travel between hosts; empty: the best there is
  double bringup_timeout_s = 60;
  uint32_t heartbeat_tree = 256;  // ranks
  bool dedicated_head = false;
  bool serve = false;  // go on after the program, or without one
  std::string join;    // no run of its own: a node of that one (run directory, file of --listen, auto)
  double drain_timeout_s = 10;  // of a node that joined, when it is asked to end
  std::string listen;           // the file by which nodes of other hosts may join
  int control_fd = -1;          // kEmbedded
  bool native_driver = false;   // kEmbedded: the parent is a C++ program

  // Resources of this node; unset: what the machine grants.
  std::optional<double> num_cpus, num_gpus;
  std::optional<uint64_t> memory_bytes, object_store_bytes;
  std::vector<std::pair<std::string, double>> resources;
  std::map<std::string, std::string> labels;

  // Objects that do not fit into memory. Folders, the one to use first first; none: one of the run's own.
  std::vector<std::string> spill_folders;
  bool keep_spill = false;
  // Ray's internal settings that mean something here; see ReadSystemConfig.
  std::optional<uint64_t> least_spill_bytes, most_fused_objects, spill_workers;
  std::optional<double> spill_threshold;

  std::string bind = "core";  // workers, to the CPUs of their lease; or none

  // Workers and logs.
  uint32_t max_workers = 0;  // 0: no limit of its own
  std::optional<uint32_t> prestart_workers;
  int log_level = 2;  // spdlog's numbers
  std::string log_dir;
  bool log_to_driver = true;

  // The option words as given (without -n), for the ranks that mpirun starts.
  std::vector<std::string> option_words;
};

// REQUIRES: args does not contain argv[0].
Status ParseOptions(const std::vector<std::string>& args, const Environment& environment, Options* out);

// "16", "512M", "1.5GiB" -> bytes. K, M, G, T are powers of 1024.
Status ParseBytes(const std::string& text, uint64_t* bytes);

// The candidate that is closest to `word`, or "" when none is near.
std::string Nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace rmpi::launcher
