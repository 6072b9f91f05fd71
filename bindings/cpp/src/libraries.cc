// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/libraries.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/runtime_finder.h"

namespace rmpi::cpp {
namespace {
namespace fs = std::filesystem;
constexpr char kWorkerProgram[] = "ray-mpi-cpp-worker";
}  // namespace

Status FindLibraries(const std::vector<std::string>& paths, std::vector<std::string>* libraries) {
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (fs::is_regular_file(status)) {
      libraries->push_back(path);
      continue;
    }
    if (!fs::is_directory(status)) {
      return Status::NotFound(fmt::format("code_search_path: {} is neither a folder nor a file", path));
    }
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (entry.path().extension() == ".so" && entry.is_regular_file(error))
        found.push_back(entry.path().string());
    }
    if (found.empty()) {
      return Status::NotFound(fmt::format(
          "code_search_path: the folder {} has no libraries (files *.so; folders inside are not searched)",
          path));
    }
    std::sort(found.begin(), found.end());
    libraries->insert(libraries->end(), found.begin(), found.end());
  }
  return Status::Ok();
}

Status LibraryWorkerCommand(const std::vector<std::string>& paths, std::vector<std::string>* argv) {
  std::vector<std::string> absolute;
  for (const std::string& path : paths) {
    std::error_code error;
    absolute.push_back(fs::absolute(path, error).lexically_normal().string());
  }
  std::vector<std::string> libraries;
  if (Status s = FindLibraries(absolute, &libraries); !s.ok()) return s;
  const std::string program = FindInstalled(kWorkerProgram);
  if (program.empty()) {
    return Status::NotFound(
        fmt::format("code_search_path: the program {}, which loads the libraries, is neither beside "
                    "libray-mpi.so nor on PATH",
                    kWorkerProgram));
  }
  *argv = {program};
  argv->insert(argv->end(), absolute.begin(), absolute.end());
  return Status::Ok();
}

std::string LoadLibraries(const std::vector<std::string>& paths) {
  std::vector<std::string> libraries;
  if (const Status s = FindLibraries(paths, &libraries); !s.ok()) return s.message();
  std::vector<std::string> failures;
  for (const std::string& library : libraries) {
    // All symbols now: what is missing is said here and not in the middle of a task.
    if (::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
      failures.push_back(fmt::format("cannot load {}: {}", library, ::dlerror()));
    }
  }
  if (const std::string refusals = Registry::Get().refusals(); !refusals.empty())
    failures.push_back(refusals);
  return fmt::format("{}", fmt::join(failures, "; "));
}

}  // namespace rmpi::cpp
