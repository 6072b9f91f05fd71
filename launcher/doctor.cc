// SPDX-License-Identifier: Apache-2.0
#include "launcher/doctor.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <array>
#include <cstdio>

#include "launcher/resources.h"
#include "launcher/run_directory.h"
#include "slurm/launch.h"

namespace rmpi::launcher {
namespace {

// What a command prints (both streams), without the last newline; "" when it fails.
std::string Output(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1 </dev/null").c_str(), "r");
  if (pipe == nullptr) return "";
  std::string text;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) text.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return status == 0 ? text : "";
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string Limit(rlim_t value) {
  return value == RLIM_INFINITY ? "unlimited" : fmt::format("{} KiB", value / 1024);
}

class Report {
 public:
  void Good(const std::string& what, const std::string& text) { Line("ok", what, text); }
  void Note(const std::string& what, const std::string& text) { Line("note", what, text); }
  void Bad(const std::string& what, const std::string& text) {
    Line("BAD", what, text);
    bad_ = true;
  }
  bool bad() const { return bad_; }

 private:
  static void Line(const char* mark, const std::string& what, const std::string& text) {
    fmt::print("{:<5} {:<14} {}\n", mark, what, text);
  }
  bool bad_ = false;
};

void LookAtInstallation(const Paths& paths, Report* report) {
  report->Good("ray-mpi", fmt::format("{} ({})", RMPI_VERSION, paths.executable));
  if (paths.package.empty()) {
    return report->Bad("package", "ray_mpi was not found near the executable: pip install it");
  }
  report->Good("package", paths.package);
  if (paths.python.empty()) return report->Bad("python", "no python3 on PATH: name one with --python");
  const std::string path = paths.package_root.empty() ? "" : "PYTHONPATH='" + paths.package_root + "' ";
  const std::string version =
      Output(path + "'" + paths.python + "' -c 'import sys, ray_mpi; print(sys.version.split()[0])'");
  if (version.empty()) {
    report->Bad("python",
                fmt::format("{} cannot import ray_mpi: it was built for another interpreter", paths.python));
  } else {
    report->Good("python", fmt::format("{} ({})", version, paths.python));
  }
}

void LookAtMpi(const Paths& paths, const Environment& environment, Report* report) {
  if (paths.Library("libray-mpi-mpi.so").empty()) {
    return report->Note("MPI", "no libray-mpi-mpi.so: one node only. Build ray-mpi where mpicc is on PATH");
  }
  const std::string mpirun = FindProgram("mpirun", environment);
  report->Good("MPI", mpirun.empty() ? "plugin is there; no mpirun on PATH (-n N needs one)"
                                     : FirstLine(Output("'" + mpirun + "' --version")) + " (" + mpirun + ")");
  const std::string missing = Output("ldd '" + paths.Library("libray-mpi-mpi.so") + "' | grep 'not found'");
  if (!missing.empty()) report->Bad("MPI", "the plugin's libraries: " + missing + " (module load?)");
  const bool ucx = !paths.Library("libray-mpi-ucx.so").empty();
  report->Note("UCX", ucx ? "plugin is there" : "no libray-mpi-ucx.so: objects travel between hosts by TCP");
}

void LookAtSlurm(const Environment& environment, Report* report) {
  const std::string srun = FindProgram("srun", environment);
  if (srun.empty()) return report->Note("Slurm", "no srun on PATH");
  const std::string plugins = Output("'" + srun + "' --mpi=list");
  const bool pmix = plugins.find("pmix") != std::string::npos;
  const std::string found = FirstLine(Output("'" + srun + "' --version"));
  if (pmix) return report->Good("Slurm", found + ", --mpi=pmix is there");
  report->Note(
      "Slurm",
      found + ": no pmix among `srun --mpi=list`. Without it use `ray-mpi -n N` (mpirun) in the job");
}

void LookAtMachine(const Environment& environment, Report* report) {
  RayletConfig raylet;
  std::vector<std::string> notices;
  DecideResources(Options(), environment, DetectLaunch(environment, {}), &raylet, &notices);
  std::string resources;
  for (const auto& [name, amount] : raylet.resources) resources += fmt::format("{} {:.0f}, ", name, amount);
  report->Good("granted", fmt::format("{}object store {} MiB", resources, raylet.object_store_bytes >> 20));
  for (const std::string& notice : notices) report->Note("granted", notice);

  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < raylet.object_store_bytes) {
    report->Note("memlock", Limit(limit.rlim_cur) +
                                ": too small to register the object store with an RDMA card; "
                                "transfers then go through bounce buffers");
  } else {
    report->Good("memlock", Limit(limit.rlim_cur));
  }
  ::getrlimit(RLIMIT_NOFILE, &limit);
  report->Good("open files", fmt::format("up to {}", limit.rlim_max));
  RunDirectory directory;
  if (Status s = RunDirectory::Create(environment, "doctor.0", &directory); s.ok()) {
    report->Good("run directory", directory.path().substr(0, directory.path().rfind('/')));
    directory.Remove();
  } else {
    report->Bad("run directory", s.message());
  }
}

}  // namespace

int RunDoctor(const Paths& paths, const Environment& environment) {
  Report report;
  LookAtInstallation(paths, &report);
  LookAtMpi(paths, environment, &report);
  LookAtSlurm(environment, &report);
  LookAtMachine(environment, &report);
  fmt::print("\nOn one machine:  ray-mpi app.py\nIn a batch job:  {}\n",
             SrunLine(environment, {"ray-mpi", "app.py"}));
  return report.bad() ? 1 : 0;
}

}  // namespace rmpi::launcher
