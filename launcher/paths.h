// SPDX-License-Identifier: Apache-2.0
// Where the parts of an installation lie, seen from the executable. The package `ray_mpi` looks the same in a
// wheel, after `cmake --install` and in a build tree:
//   ray_mpi/bin/ray-mpi  ray_mpi/lib/libray-mpi-*.so  ray_mpi/_ray_path/ray/  ray_mpi/_core*.so
// and <prefix>/bin/ray-mpi is the same program beside the interpreter that owns the package.
#pragma once

#include <string>

#include "launcher/options.h"

namespace rmpi::launcher {

struct Paths {
  std::string executable;  // this program
  std::string package;     // .../ray_mpi; empty: not found
  std::string python;      // the interpreter for Python programs and workers; empty: not found
  // The folder to add to PYTHONPATH so that `import ray_mpi` works; empty where the interpreter finds it
  // itself.
  std::string package_root;

  std::string RayPath() const { return package + "/_ray_path"; }
  // The path of lib/<name>, or "" when it was not built.
  std::string Library(const std::string& name) const;
};

Paths FindPaths(const Options& options, const Environment& environment);

// The full path of `name` on PATH (or `name` itself when it has a slash), or "".
std::string FindProgram(const std::string& name, const Environment& environment);

}  // namespace rmpi::launcher
