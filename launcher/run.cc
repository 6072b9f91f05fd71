// SPDX-License-Identifier: Apache-2.0
#include "launcher/run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "launcher/mpirun.h"
#include "launcher/process.h"
#include "launcher/resources.h"
#include "launcher/spill_folders.h"
#include "runtime/base/host_name.h"
#include "runtime/node/command.h"
#include "runtime/node/cpu_list.h"
#include "slurm/features.h"
#include "slurm/launch.h"
#include "slurm/scrub.h"

namespace rmpi::launcher {
namespace {

constexpr int kUsageStatus = 2;

// `python -c` and not -m: an interpreter that starts for -m looks for modules in the working directory first,
// and a user's random.py there is none of the zygote's business.
constexpr char kZygoteCode[] =
    "import sys; del sys.path[0]; import runpy; "
    "runpy.run_module('ray_mpi._zygote', run_name='__main__', alter_sys=True)";

void PrependPath(Environment* environment, const std::string& name, const std::string& folder) {
  if (folder.empty()) return;
  std::string& value = (*environment)[name];
  value = value.empty() ? folder : folder + ":" + value;
}

// The environment of Python workers and of the program, which may be a shell or an interpreter (`ray-mpi
// python app.py`): `import ray` is us.
void AddPythonPath(const Paths& paths, Environment* environment) {
  if (paths.package.empty()) return;
  PrependPath(environment, "PYTHONPATH", paths.package_root);
  PrependPath(environment, "PYTHONPATH", paths.RayPath());
}

// An interpreter prints its own words about a missing file, with a status of its own; all of that is ours to
// say.
Status CheckReadable(const std::string& program) {
  struct stat info {};
  if (::stat(program.c_str(), &info) != 0) return Status::Io(program, errno);
  if (S_ISDIR(info.st_mode)) return Status::Invalid(program + " is a directory, not a program");
  const UniqueFd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC));
  return file.valid() ? Status::Ok() : Status::Io(program, errno);
}

Status DriverCommand(const Options& options, const Paths& paths, const Environment& environment,
                     std::vector<std::string>* argv) {
  if (options.kind == ProgramKind::kNone) return Status::Ok();  // it only serves
  if (options.kind == ProgramKind::kExecutable) {
    const std::string path = FindProgram(options.program, environment);
    if (path.empty() && options.program.find('/') == std::string::npos) {
      return Status::NotFound(
          fmt::format("there is no program '{0}' on PATH (for one in this folder: ./{0})", options.program));
    }
    if (Status s = CheckReadable(path.empty() ? options.program : path); path.empty()) {
      return s.ok() ? Status::Invalid(options.program + " is not executable (chmod +x, or is it a .py file?)")
                    : s;
    }
    *argv = {path};
  } else {
    if (paths.python.empty()) {
      return Status::NotFound(options.python.empty() ? "there is no python3 on PATH: name one with --python"
                                                     : "--python: there is no " + options.python);
    }
    if (options.kind == ProgramKind::kScript) {
      if (Status s = CheckReadable(options.program); !s.ok()) return s;
    }
    *argv = {paths.python};
    if (options.kind == ProgramKind::kModule) argv->push_back("-m");
    argv->push_back(options.program);
  }
  argv->insert(argv->end(), options.arguments.begin(), options.arguments.end());
  return Status::Ok();
}

std::string JobStep(const Environment& environment) {
  const std::string& job = Get(environment, "SLURM_JOB_ID");
  const std::string& step = Get(environment, "SLURM_STEP_ID");
  return job.empty() ? "local.0" : fmt::format("{}.{}", job, step.empty() ? "batch" : step);
}

// In a batch job nobody looks at a terminal, and workers' lines are worth more afterwards than on the way.
std::string LogDir(const Options& options, const Environment& environment) {
  if (!options.log_dir.empty()) return options.log_dir;
  if (Get(environment, "SLURM_JOB_ID").empty() || ::isatty(STDOUT_FILENO) != 0) return "";
  return "ray-mpi-logs/" + JobStep(environment);
}

// The directory is there and can be written to, else what was asked for is refused, and what was not is left
// out.
Status PrepareLogDir(const Options& options, std::string* folder, std::vector<std::string>* notices) {
  if (folder->empty()) return Status::Ok();
  std::error_code error;
  std::filesystem::create_directories(*folder, error);
  if (!error && ::access(folder->c_str(), W_OK | X_OK) != 0) error.assign(errno, std::generic_category());
  if (!error) return Status::Ok();
  const std::string what = fmt::format("'{}' cannot be written to: {}", *folder, error.message());
  if (!options.log_dir.empty()) return Status::Invalid("--log-dir: " + what);
  notices->push_back(what + ": workers' output is not kept (--log-dir chooses another place)");
  folder->clear();
  return Status::Ok();
}

uint32_t DefaultPrestart(const RayletConfig& raylet) {
  constexpr double kMost = 8;
  for (const auto& [name, amount] : raylet.resources) {
    if (name == "CPU") return static_cast<uint32_t>(std::clamp(std::floor(amount), 0.0, kMost));
  }
  return 0;
}

// How many ranks an mpirun in a task may start: as many as there are CPUs, offered or real.
int64_t SlotsOf(const RayletConfig& raylet, const NodeResources& node) {
  double cpus = static_cast<double>(node.cpu_ids.size());
  for (const auto& [name, amount] : raylet.resources) {
    if (name == "CPU") cpus = std::max(cpus, amount);
  }
  return static_cast<int64_t>(cpus);
}

// Waits for its end, since what a keeper has started ends with the keeper. SIGTERM does not end it: scancel
// is of the step that it signals, node by node, and must not die of its own signal before the last node has
// it.
void RunToItsEnd(const std::vector<std::string>& argv, const Environment& environment) {
  constexpr TimeNs kPatience = 5 * kSecond;
  pid_t pid = 0;
  SpawnOptions options;
  options.quiet_stdio = true;
  const auto deaf = [&] {
    ::signal(SIGTERM, SIG_IGN);
    return Exec(argv, environment);
  };
  if (!Fork(options, deaf, &pid).ok()) return;
  const TimeNs give_up_at = MonotonicNow() + kPatience;
  while (::waitpid(pid, nullptr, WNOHANG) == 0 && MonotonicNow() < give_up_at) ::usleep(2000);
}

// Slurm knows all ranks, wherever they are. Keepers take the signal and end with status 1; a rank that is not
// there yet to take it gets SIGTERM. (Cancelled without a signal, the step would be killed with us in it.)
void EndStep(const std::string& scancel, const std::string& step, const Environment& environment) {
  constexpr useconds_t kForKeepersUs = 500'000;
  RunToItsEnd({scancel, fmt::format("--signal={}", kEndOfLaunch), step}, environment);
  ::usleep(kForKeepersUs);
  RunToItsEnd({scancel, "--signal=TERM", step}, environment);
}

// How the other ranks learn that this one is lost while they wait for it inside of MPI. (Under a plain mpirun
// there is nothing to do: it ends all ranks when one ends with a status other than 0.)
std::function<void()> LaunchEnder(const Environment& environment, const LaunchInfo& launch) {
  if (launch.size <= 1) return nullptr;
  if (!Get(environment, kLauncherVariable).empty()) return [environment] { EndByLauncher(environment); };
  const std::string scancel = FindProgram("scancel", environment);
  if (launch.kind != Launch::kSrun || scancel.empty()) return nullptr;
  const std::string step = Get(environment, "SLURM_JOB_ID") + "." + Get(environment, "SLURM_STEP_ID");
  return [=] { EndStep(scancel, step, environment); };
}

// One question for all nodes of the job.
std::map<std::string, std::vector<std::string>> NodeFeatures(const Environment& environment) {
  constexpr int kPatienceMs = 1000;
  const std::string scontrol = FindProgram("scontrol", environment);
  const std::string& nodes = Get(environment, "SLURM_JOB_NODELIST");
  if (scontrol.empty() || nodes.empty()) return {};
  return ParseNodeFeatures(OutputOf({scontrol, "-o", "show", "node", nodes}, kPatienceMs).value_or(""));
}

Status MakeConfig(const Options& options, const Paths& paths, const Environment& environment,
                  const LaunchInfo& launch, KeeperConfig* out) {
  KeeperConfig& config = *out;
  config.version = RMPI_VERSION;
  config.job_step = JobStep(environment);
  config.joined = !options.join.empty();
  config.rank = config.joined ? 1 : static_cast<uint32_t>(launch.rank);
  config.size = static_cast<uint32_t>(launch.size);
  config.environment = environment;
  config.watch_parent = launch.kind == Launch::kMpirun;
  config.end_launch = LaunchEnder(environment, launch);
  config.bringup_timeout = static_cast<TimeNs>(options.bringup_timeout_s * 1e9);

  RayletConfig& raylet = config.raylet;
  raylet.hostname = HostName();
  raylet.transport = config.joined                ? "join"
                     : !options.transport.empty() ? options.transport
                     : launch.size > 1            ? RMPI_DEFAULT_TRANSPORT
                                                  : "none";
  raylet.mpi_plugin = paths.Library("libray-mpi-mpi.so");
  raylet.hdf5_plugin = paths.Library("libray-mpi-hdf5.so");
  if (Status s = DecideSpilling(options, &raylet); !s.ok()) return s;
  raylet.ucx_plugin = options.transfer == "lane" ? "" : paths.Library("libray-mpi-ucx.so");
  raylet.dedicated_head = options.dedicated_head;
  raylet.serve = options.serve;
  raylet.join = options.join;
  raylet.drain_timeout_s = options.drain_timeout_s;
  raylet.listen = options.listen;
  if (options.join == "auto") {
    const std::optional<FoundRun> run = NewestHead(environment);
    if (!run) return Status::NotFound("--join auto: no run of yours has its head on this node");
    raylet.join = run->path;
  }
  raylet.log_dir = LogDir(options, environment);
  raylet.log_to_driver = options.log_to_driver;
  raylet.log_level = options.log_level;
  raylet.bringup_timeout_s = options.bringup_timeout_s;
  raylet.heartbeat_tree = options.heartbeat_tree;
  raylet.max_workers = options.max_workers;
  std::vector<std::string> notices;
  if (Status s = PrepareLogDir(options, &raylet.log_dir, &notices); !s.ok()) return s;
  const NodeResources node = DetectNode(OptionsFor(environment, launch));
  if (Status s = DecideResources(options, node, &raylet, &notices); !s.ok()) return s;
  DeviceKinds devices;
  if (Status s = DecideDevices(node, environment, raylet, &devices); !s.ok()) return s;
  if (config.rank == 0) raylet.host_features = NodeFeatures(environment);
  DecideBinding(options, node, devices, &raylet);
  config.arena_numa = DecideArenaNuma(options, node, raylet.object_store_bytes);
  if (Status s = BindToCpus(node.cpu_ids); !s.ok()) notices.push_back(s.message());
  const bool offers = !(raylet.dedicated_head && config.rank == 0);
  raylet.prestart_workers = offers ? options.prestart_workers.value_or(DefaultPrestart(raylet)) : 0;
  if (!launch.advice.empty()) notices.push_back(launch.advice);
  for (const std::string& notice : notices) {
    // Who starts many nodes in one program has said what they are to have.
    if (config.joined ? options.mode != Mode::kEmbedded : config.rank == 0)
      fmt::print(stderr, "ray-mpi: {}\n", notice);
  }

  Environment clean = ScrubEnvironment(environment);
  clean.erase(kLauncherVariable);
  config.native_environment = clean;
  config.native_environment[kDevicesVariable] = EncodeDevices(devices);
  AddPythonPath(paths, &clean);
  config.driver_environment = clean;
  // Whoever comes to one that only serves most likely is Python.
  config.driver_is_python = config.joined
                                ? !paths.python.empty()
                                : options.kind != ProgramKind::kExecutable && !options.native_driver &&
                                      (options.kind != ProgramKind::kNone || !paths.python.empty());
  raylet.prestart_python = config.driver_is_python;
  for (Environment* of_tasks : {&clean, &config.native_environment}) {
    SetMpirunOfTasks(of_tasks, SlotsOf(raylet, node));
  }
  if (!paths.python.empty() && !paths.package.empty()) {
    config.zygote = {paths.python, "-c", kZygoteCode};
    config.zygote_environment = clean;
    config.zygote_environment[kDevicesVariable] = EncodeDevices(devices);
  }
  return Status::Ok();
}

int Usage(const std::string& text) {
  fmt::print(stderr, "ray-mpi: {}\n", text);
  return kUsageStatus;
}

Status CheckParts(const Paths& paths, const KeeperConfig& config) {
  if (config.size > 1 && config.raylet.mpi_plugin.empty()) {
    return Status::NotFound(
        fmt::format("there are {} ranks, but libray-mpi-mpi.so is not installed (looked in {}/lib). "
                    "Build ray-mpi where mpicc is on PATH",
                    config.size, paths.prefix));
  }
  if (config.driver_is_python && paths.package.empty()) {
    return Status::NotFound(
        fmt::format("the Python package ray_mpi was not found near {}. Install with `pip install`, "
                    "or run the ray-mpi of the build tree",
                    paths.executable));
  }
  return Status::Ok();
}

}  // namespace

int RunRank(const Options& options, const Paths& paths, const Environment& environment,
            Keeper::RayletMain raylet) {
  LaunchInfo launch;  // an embedded runtime is one node, whatever launched its program
  const bool embedded = options.mode == Mode::kEmbedded;
  std::vector<std::string> command = {"ray-mpi", options.program};
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  if (!embedded && options.join.empty()) launch = DetectLaunch(environment, command);
  if (launch.refused()) {
    // Every task of the step finds the same; one of them is enough to say it.
    return launch.rank == 0 ? Usage(launch.advice) : kUsageStatus;
  }
  UniqueFd launcher;
  if (launch.rank == 0 && options.join.empty()) launcher = JoinLauncher(environment);

  // Every rank looks, so that a wrong path ends all of them at once: they need not wait for rank 0.
  std::vector<std::string> driver;
  KeeperConfig config;
  Status status = embedded ? Status::Ok() : DriverCommand(options, paths, environment, &driver);
  if (status.ok()) {
    status = MakeConfig(options, paths, environment, launch, &config);
    if (status.ok()) status = CheckParts(paths, config);
  }
  if (!status.ok()) {
    SendStatus(launcher.get(), kUsageStatus);
    if (embedded) SendLine(options.control_fd, "error " + status.message());
    return Usage(launch.rank == 0
                     ? status.message()
                     : fmt::format("rank {} on {}: {}", launch.rank, HostName(), status.message()));
  }
  if (launch.rank == 0) config.driver = driver;
  config.launcher_fd = launcher.get();
  if (embedded) {
    config.control_fd = options.control_fd;
    ::fcntl(options.control_fd, F_SETFD, FD_CLOEXEC);
    ::setsid();  // fails where we already lead one; then there is no terminal to leave either
  }
  const int exit_status = Keeper(std::move(config), std::move(raylet)).Run();
  SendStatus(launcher.get(), exit_status);
  // The launcher has the status; to mpirun a status other than 0 is only a reason for a page of text.
  return launcher.valid() ? 0 : exit_status;
}

}  // namespace rmpi::launcher
