// SPDX-License-Identifier: Apache-2.0
#include "launcher/help.h"

#include <sstream>

#include "launcher/option_values.h"

namespace rmpi::launcher {
namespace {

namespace po = boost::program_options;

constexpr unsigned kColumns = 100;

po::typed_value<std::string>* Text(const char* name) { return po::value<std::string>()->value_name(name); }
// A flag: --serve, but RAY_MPI_SERVE=0|1 and serve=1 in a file.
po::typed_value<std::string>* Flag() {
  return po::value<std::string>()->zero_tokens()->implicit_value("1")->value_name("");
}

OptionTable MakeTable() {
  OptionTable table;
  const auto group = [&table](const char* title) -> po::options_description& {
    return table.groups.emplace_back(title, kColumns, kColumns / 2);
  };
  group("Launch").add_options()(
      "ranks,n", Text("N"),
      "start N ranks with mpirun (not inside srun or mpirun: there, each process is one)")(
      "module,m", Text("NAME"), "run a Python module, as python -m does; ends the options")(
      "python", Text("PATH"), "the interpreter (default: the one that ray-mpi was installed for)")(
      "dedicated-head", Flag(), "rank 0 runs the program and the scheduler, and no tasks")(
      "transport", Text("mpi|direct"), "how ranks talk (default: mpi under srun or mpirun)")(
      "transfer", Text("auto|ucx|lane"), "how large objects travel between hosts")(
      "bringup-timeout", Text("S"), "give up when the ranks have not met after S seconds (60)")(
      "serve", Flag(), "keep the runtime up after the program (not there yet)")(
      "config", Text("FILE"), "an INI file with any of these options, name = value");
  group("Resources of each rank (default: what Slurm, cgroup and CPU mask grant)")
      .add_options()("num-cpus", Text("N"), "CPUs for tasks")("num-gpus", Text("N"), "GPUs for tasks")(
          "memory", Text("SIZE"), "memory for tasks that ask for it: 8G")(
          "resources", Text("JSON"), "more of your own, as '{\"ssd\": 1}'")("labels", Text("K=V,.."),
                                                                            "labels of the node")(
          "object-store-memory", Text("SIZE"),
          "shared memory for objects (default: 30 % of the memory granted)");
  group("Workers and logs")
      .add_options()("max-workers", Text("N"), "at most N worker processes at a time on this rank")(
          "prestart-workers", Text("N"),
          "workers started before anybody asks (default: one per CPU, at most 8)")(
          "log-level", Text("LEVEL"), "trace, debug, info, warning, error, critical or off")(
          "log-dir", Text("DIR"), "keep each worker's output in a file there")(
          "no-log-to-driver", Flag(), "do not repeat the workers' output in the program's");
  group("Information")
      .add_options()("help,h", "this text")("version", "the version of ray-mpi")(
          "ray-path", "the folder that makes `import ray` mean ray-mpi, for PYTHONPATH")(
          "cmake-prefix", "where find_package(ray-mpi) looks, for C++ programs");
  for (const po::options_description& g : table.groups) table.all.add(g);
  table.all.add_options()("control-fd", Text("FD"), "embedded: where to report");
  return table;
}

}  // namespace

const OptionTable& Table() {
  static const OptionTable table = MakeTable();
  return table;
}

std::vector<std::string> OptionNames() {
  std::vector<std::string> names;
  for (const po::options_description& group : Table().groups) {
    for (const auto& option : group.options()) names.push_back(option->long_name());
  }
  return names;
}

std::string HelpText() {
  std::ostringstream text;
  text << R"(ray-mpi: run a Ray program on this machine, or on all nodes of a Slurm or MPI job.

Usage:
  ray-mpi [options] app.py [arguments]        one node, or one rank of the srun or mpirun around it
  ray-mpi [options] -m module [arguments]     the same for a Python module
  ray-mpi [options] program [arguments]       the same for a C++ program (or any other)
  ray-mpi -n N [options] app.py [arguments]   N ranks, started with mpirun
  ray-mpi doctor                              check this machine, and print the srun line that fits it

Examples:
  ray-mpi app.py                              app.py says `import ray`, unchanged
  ray-mpi -n 3 --num-cpus 4 app.py            three ranks on this machine, four CPUs each
  srun --mpi=pmix -N 16 --ntasks-per-node=1 -c 64 ray-mpi app.py
  PYTHONPATH=$(ray-mpi --ray-path) python app.py   no launcher: one node inside the program
)";
  for (const po::options_description& group : Table().groups) text << "\n" << group;
  text << R"(
Each option can also be set by environment, RAY_MPI_NUM_CPUS=4 for --num-cpus 4, or in the file of --config.
The command line wins over the environment, the environment over the file.

The exit status is the program's own; 128 + N when signal N ended it; 1 when the runtime failed under it;
2 when the command line, the program's path or the launch is wrong.

RAY_MPI_DIR: where each node keeps its private run directory while it runs
             (default: $SLURM_TMPDIR, $XDG_RUNTIME_DIR, $TMPDIR or /tmp).
)";
  return text.str();
}

}  // namespace rmpi::launcher
