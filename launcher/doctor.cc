// SPDX-License-Identifier: Apache-2.0
#include "launcher/doctor.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <optional>
#include <string>
#include <vector>

#include "launcher/run_directory.h"
#include "runtime/node/command.h"
#include "runtime/node/doctor.h"
#include "slurm/launch.h"

namespace rmpi::launcher {
namespace {

constexpr int kCommandTimeoutMs = 10'000;

std::optional<std::string> Run(const std::vector<std::string>& command) {
  return OutputOf(command, kCommandTimeoutMs);
}

DoctorCheck CheckPython(const Paths& paths) {
  if (paths.python.empty()) return {"python", Health::kFail, "no python3 on PATH", "name one with --python"};
  const std::string code =
      "import sys; sys.path[0:1] = [p for p in sys.argv[1:] if p]; import ray_mpi._core; "
      "print(sys.version.split()[0])";
  const auto version = Run({paths.python, "-c", code, paths.package_root});
  if (!version) {
    return {"python", Health::kFail, paths.python + " cannot import ray_mpi",
            "ray_mpi was built for another interpreter: name that one with --python, or pip install for this "
            "one"};
  }
  return {"python", Health::kOk,
          fmt::format("{} ({})", version->substr(0, version->find('\n')), paths.python), ""};
}

DoctorCheck CheckMpirun(const Environment& environment) {
  const std::string mpirun = FindProgram("mpirun", environment);
  if (mpirun.empty())
    return {"mpirun", Health::kWarn, "not on PATH", "`ray-mpi -n N` needs Open MPI's; srun does not"};
  const std::string version = Run({mpirun, "--version"}).value_or("does not run");
  return {"mpirun", Health::kOk, fmt::format("{} ({})", version.substr(0, version.find('\n')), mpirun), ""};
}

DoctorCheck CheckRunDirectory(const Environment& environment) {
  RunDirectory directory;
  if (Status s = RunDirectory::Create(environment, "doctor.0", &directory); !s.ok()) {
    return {"directory", Health::kFail, s.message(), ""};
  }
  const std::string base = directory.path().substr(0, directory.path().rfind('/'));
  directory.Remove();
  return {"directory", Health::kOk, "run directories go to " + base, ""};
}

DoctorCheck CheckOpenFiles() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t kFew = 4096;
  const std::string text = fmt::format("up to {} open files", limit.rlim_max);
  if (limit.rlim_max >= kFew) return {"files", Health::kOk, text, ""};
  return {"files", Health::kWarn, text, "many workers on one node need more: ulimit -Hn"};
}

}  // namespace

int RunDoctor(const Paths& paths, const Environment& environment) {
  std::vector<DoctorCheck> checks = {
      {"ray-mpi", Health::kOk, fmt::format("{} ({})", RMPI_VERSION, paths.executable), ""}};
  if (paths.package.empty()) {
    checks.push_back({"package", Health::kFail, "the Python package ray_mpi is not near the executable",
                      "install with pip, or run the ray-mpi of a build tree"});
  } else {
    checks.push_back(CheckPython(paths));
  }
  checks.push_back(CheckMpirun(environment));
  checks.push_back(CheckRunDirectory(environment));
  checks.push_back(CheckOpenFiles());
  DoctorOptions options;
  options.mpi_plugin = paths.Library("libray-mpi-mpi.so");
  options.command = {"ray-mpi", "app.py"};
  options.detect = OptionsFor(environment, DetectLaunch(environment, options.command));
  options.output_of = Run;
  for (DoctorCheck& check : DoctorReport(options)) checks.push_back(std::move(check));

  bool failed = false;
  for (const DoctorCheck& check : checks) {
    const char* mark = check.health == Health::kOk ? "ok" : check.health == Health::kWarn ? "warn" : "FAIL";
    fmt::print("{:<5} {:<10} {}\n", mark, check.check, check.text);
    if (!check.advice.empty()) fmt::print("{:16} -> {}\n", "", check.advice);
    failed |= check.health == Health::kFail;
  }
  return failed ? 1 : 0;
}

}  // namespace rmpi::launcher
