// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdio>

#include "launcher/doctor.h"
#include "launcher/drain.h"
#include "launcher/help.h"
#include "launcher/mpirun.h"
#include "launcher/run.h"
#include "launcher/spill_list.h"
#include "launcher/status.h"
#include "launcher/stop.h"

namespace rmpi::launcher {
namespace {

constexpr int kUsageStatus = 2;

int Print(const std::string& what, const Paths& paths) {
  if (what == "help") {
    fmt::print("{}", HelpText());
  } else if (what == "version") {
    fmt::print("ray-mpi {}\n", RMPI_VERSION);
  } else if (what == "cmake-prefix") {
    if (paths.Library("cmake/ray-mpi/ray-mpi-config.cmake").empty()) {
      fmt::print(
          stderr,
          "ray-mpi: --cmake-prefix: there is no lib/cmake/ray-mpi in {}: this installation has no C++ API\n",
          paths.prefix);
      return 1;
    }
    fmt::print("{}\n", paths.prefix);
  } else if (paths.package.empty()) {
    fmt::print(stderr, "ray-mpi: --{}: the Python package ray_mpi was not found near {}\n", what,
               paths.executable);
    return 1;
  } else {
    fmt::print("{}\n", paths.RayPath());
  }
  return 0;
}

}  // namespace

int Main(int argc, char** argv, Keeper::RayletMain raylet) {
  const Environment environment = CurrentEnvironment();
  Options options;
  if (Status s = ParseOptions({argv + 1, argv + argc}, environment, &options); !s.ok()) {
    fmt::print(stderr, "ray-mpi: {}\n", s.message());
    return kUsageStatus;
  }
  const Paths paths = FindPaths(options, environment);
  switch (options.mode) {
    case Mode::kPrint:
      return Print(options.text, paths);
    case Mode::kDoctor:
      return RunDoctor(paths, environment);
    case Mode::kSpillList:
      return ListSpillFiles(options.arguments);
    case Mode::kStatus:
      return ShowStatus(options.arguments, environment);
    case Mode::kDrain:
      return DrainNode(options.arguments, environment);
    case Mode::kStop:
      return StopServing(environment);
    case Mode::kMpirun:
      return RunMpirun(options, paths, environment);
    case Mode::kRun:
    case Mode::kEmbedded:
      return RunRank(options, paths, environment, std::move(raylet));
  }
  return kUsageStatus;
}

}  // namespace rmpi::launcher
