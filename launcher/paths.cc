// SPDX-License-Identifier: Apache-2.0
#include "launcher/paths.h"

#include <glob.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

namespace rmpi::launcher {
namespace {

namespace fs = std::filesystem;

bool IsPackage(const fs::path& folder) {
  std::error_code error;
  return folder.filename() == "ray_mpi" && fs::exists(folder / "__init__.py", error);
}

std::string FirstPackage(const std::string& pattern) {
  glob_t found{};
  std::string package;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0 && IsPackage(found.gl_pathv[0]))
    package = found.gl_pathv[0];
  ::globfree(&found);
  return package;
}

std::string FindPackage(const fs::path& executable) {
  const fs::path bin = executable.parent_path();
  if (IsPackage(bin.parent_path())) return bin.parent_path();
  if (IsPackage(bin.parent_path() / "ray_mpi")) return bin.parent_path() / "ray_mpi";  // pip install --target
  const std::string prefix = bin.parent_path();
  for (const char* folder : {"/lib", "/lib64", "/local/lib"}) {
    for (const char* packages : {"site", "dist"}) {
      // Several interpreters may share a prefix, such as ~/.local: the one that we were built for first.
      for (const char* version : {RMPI_PYTHON, "3*"}) {
        const std::string python = std::string("/python") + version + "/";
        const std::string found = FirstPackage(prefix + folder + python + packages + "-packages/ray_mpi");
        if (!found.empty()) return found;
      }
    }
  }
  return "";
}

bool IsExecutable(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

}  // namespace

std::string FindProgram(const std::string& name, const Environment& environment) {
  if (name.find('/') != std::string::npos) return IsExecutable(name) ? name : "";
  const auto it = environment.find("PATH");
  const std::string path = it == environment.end() ? "/usr/local/bin:/usr/bin:/bin" : it->second;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t colon = std::min(path.find(':', begin), path.size());
    std::string candidate = path.substr(begin, colon - begin) + "/" + name;
    if (IsExecutable(candidate)) return candidate;
    begin = colon + 1;
  }
  return "";
}

std::string Paths::Library(const std::string& name) const {
  const std::string path = prefix + "/lib/" + name;
  return ::access(path.c_str(), R_OK) == 0 ? path : "";
}

Paths FindPaths(const Options& options, const Environment& environment) {
  Paths paths;
  std::error_code error;
  paths.executable = fs::read_symlink("/proc/self/exe", error);
  paths.package = FindPackage(paths.executable);
  const bool wheel = !paths.package.empty() && fs::is_directory(fs::path(paths.package) / "lib", error);
  paths.prefix = wheel ? fs::path(paths.package) : fs::path(paths.executable).parent_path().parent_path();
  if (!options.python.empty()) {
    paths.python = FindProgram(options.python, environment);
  } else {
    // Beside the executable (venv/bin), or beside the site-packages that hold the package.
    std::vector<fs::path> folders = {fs::path(paths.executable).parent_path()};
    const fs::path site = fs::path(paths.package).parent_path();
    if (site.filename() == "site-packages") folders.push_back(site / "../../../bin");
    for (const fs::path& folder : folders) {
      const fs::path candidate = (folder / "python3").lexically_normal();
      if (paths.python.empty() && IsExecutable(candidate)) paths.python = candidate;
    }
    if (paths.python.empty()) paths.python = FindProgram("python3", environment);
  }
  const fs::path root = fs::path(paths.package).parent_path();
  // A wheel is where its interpreter looks; so is a prefix that is that interpreter's own.
  const bool beside = IsExecutable((root / "../../../bin/python3").lexically_normal());
  const bool own =
      (root.filename() == "site-packages" || root.filename() == "dist-packages") && (wheel || beside);
  if (!paths.package.empty() && !own) paths.package_root = root;
  return paths;
}

}  // namespace rmpi::launcher
