// SPDX-License-Identifier: Apache-2.0
#include "launcher/help.h"

#include <span>
#include <sstream>

#include "launcher/option_values.h"

namespace rmpi::launcher {
namespace {

namespace po = boost::program_options;

constexpr unsigned kColumns = 100;

// How an option is given.
enum Form {
  kValue,  // --name VALUE
  kFlag,   // --serve; by environment or file RAY_MPI_SERVE=0|1, serve=1
  kAction  // on the command line only
};

struct Row {
  const char* name;  // "long,short"
  Form form;
  const char* value;
  const char* text;
};

constexpr Row kLaunch[] = {
    {"ranks,n", kValue, "N",
     "start N ranks with mpirun (not inside srun or mpirun: there, each process is one)"},
    {"module,m", kValue, "NAME", "run a Python module, as python -m does; ends the options"},
    {"python", kValue, "PATH", "the interpreter (default: the one that ray-mpi was installed for)"},
    {"dedicated-head", kFlag, "", "rank 0 runs the program and the scheduler, and no tasks"},
    {"transport", kValue, "mpi|direct",
     "how ranks talk once MPI has brought them up (default: mpi\nwith Open MPI 4, direct with any other)"},
    {"transfer", kValue, "auto|ucx|lane", "how large objects travel between hosts"},
    {"bringup-timeout", kValue, "S", "give up when the ranks have not met after S seconds (60)"},
    {"heartbeat-tree", kValue, "N", "with more than N ranks, most report to the head through others (256)"},
    {"serve", kFlag, "",
     "stay up after the program, or without one, for others that join\nwith ray.init(\"auto\")"},
    {"join", kValue, "RUN",
     "be one more node of a run of yours: its run directory on this\nhost, auto for the newest, or the file "
     "of its --listen"},
    {"drain-timeout", kValue, "S",
     "of a node that joined and gets SIGTERM: what runs there may go on\nfor S seconds (10); a second "
     "SIGTERM "
     "ends it at once"},
    {"listen", kValue, "FILE",
     "let nodes of other hosts join: listen on a TCP port, and keep\nits address and the run's secret in "
     "FILE (mode 600)"},
    {"config", kValue, "FILE",
     "an INI file with any of these options, name = value; below\n[rank 2] or [rank 0,4-7] those of some "
     "ranks"},
};
constexpr Row kResources[] = {
    {"num-cpus", kValue, "N", "CPUs for tasks"},
    {"num-gpus", kValue, "N", "GPUs for tasks"},
    {"memory", kValue, "SIZE", "memory for tasks that ask for it: 8G"},
    {"resources", kValue, "JSON", "more of your own, as '{\"ssd\": 1}'"},
    {"labels", kValue, "K=V,..", "labels of the node"},
    {"bind", kValue, "core|none",
     "bind a worker to the cores of its task, near its GPU, if it\nhas whole CPUs, and the object store to "
     "the "
     "NUMA domains of\nthe cores granted (core); or neither"},
    {"object-store-memory", kValue, "SIZE",
     "shared memory for objects (default: 30 % of the memory granted)"},
    {"object-spilling-directory", kValue, "DIR,..",
     "where objects go that do not fit into it; when the first is full,\nto the next (default: the run "
     "directory)"},
    {"keep-spill", kFlag, "", "leave the files there, for ray-mpi spill ls"},
    {"system-config", kValue, "JSON",
     "Ray's settings of spilling: object_spilling_config,\nmin_spilling_size, max_io_workers, .."},
};
constexpr Row kWorkers[] = {
    {"max-workers", kValue, "N", "at most N worker processes at a time on this rank"},
    {"prestart-workers", kValue, "N",
     "workers started before anybody asks (default: one per CPU, at most 8)"},
    {"log-level", kValue, "LEVEL", "trace, debug, info, warning, error, critical or off"},
    {"log-dir", kValue, "DIR", "keep each worker's output in a file there"},
    {"no-log-to-driver", kFlag, "", "do not repeat the workers' output in the program's"},
};
constexpr Row kInformation[] = {
    {"help,h", kAction, "", "this text"},
    {"version", kAction, "", "the version of ray-mpi"},
    {"cmake-prefix", kAction, "", "where CMake finds ray-mpi for C++ programs, for CMAKE_PREFIX_PATH"},
    {"ray-path", kAction, "", "the folder that makes `import ray` mean ray-mpi, for PYTHONPATH"},
};

po::options_description Group(const char* title, std::span<const Row> rows) {
  po::options_description group(title, kColumns, kColumns / 2);
  for (const Row& row : rows) {
    if (row.form == kAction) {
      group.add_options()(row.name, row.text);
      continue;
    }
    auto* value = po::value<std::string>()->value_name(row.value);
    if (row.form == kFlag) value->zero_tokens()->implicit_value("1");
    group.add_options()(row.name, value, row.text);
  }
  return group;
}

OptionTable MakeTable() {
  OptionTable table;
  table.groups.push_back(Group("Launch", kLaunch));
  table.groups.push_back(
      Group("Resources of each rank (default: what Slurm, cgroup and CPU mask grant)", kResources));
  table.groups.push_back(Group("Workers and logs", kWorkers));
  table.groups.push_back(Group("Information", kInformation));
  for (const po::options_description& group : table.groups) table.all.add(group);
  constexpr Row kHidden[] = {{"control-fd", kValue, "FD", "embedded: where to report"},
                             {"native-driver", kFlag, "", "embedded: the program is not Python"}};
  table.all.add(Group("", kHidden));
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
  ray-mpi --serve [options] [program ..]      stay up for other programs, which say ray.init("auto")
  ray-mpi --join RUN [options]                one more node for a run that is up; SIGTERM ends it
  ray-mpi stop                                end your runtimes on this node that serve
  ray-mpi status [-v] [--json]                how a run of yours on this node is: nodes, processes, what waits
  ray-mpi drain NODE [--session DIR] [--timeout S]
                                              empty a node of a run (by rank, host name or beginning of its id)
  ray-mpi spill ls FILE ..                    list the objects in spill files
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
