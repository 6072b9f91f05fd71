// SPDX-License-Identifier: Apache-2.0
// Where the parts of an installation lie, seen from the executable. They are the same in two shapes:
//
//   wheel, build tree   ray_mpi/, the Python package, with bin/, lib/ and include/ in it; a wheel has the
//                       executable once more in the environment's bin/, beside the interpreter
//   cmake --install     <prefix>/bin, lib, include, and <prefix>/lib/python3.X/site-packages/ray_mpi
#pragma once

#include <string>

#include "launcher/options.h"

namespace rmpi::launcher {

struct Paths {
  std::string executable;  // this program
  std::string package;     // .../ray_mpi, for Python; empty: not found
  std::string prefix;      // the folder that has our bin, lib and include
  std::string python;      // the interpreter for Python programs and workers; empty: not found
  // The folder to add to PYTHONPATH so that `import ray_mpi` works; empty where the interpreter finds it
  // itself.
  std::string package_root;

  std::string RayPath() const { return package + "/_ray_path"; }
  // The path of <prefix>/lib/<name>, or "" when it was not built.
  std::string Library(const std::string& name) const;
};

Paths FindPaths(const Options& options, const Environment& environment);

// The full path of `name` on PATH (or `name` itself when it has a slash), or "".
std::string FindProgram(const std::string& name, const Environment& environment);

}  // namespace rmpi::launcher
