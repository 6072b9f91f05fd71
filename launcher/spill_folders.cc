// SPDX-License-Identifier: Apache-2.0
#include "launcher/spill_folders.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "objstore/spill/run_folders.h"

namespace rmpi::launcher {
namespace {

namespace fs = std::filesystem;

bool InMemory(const std::string& folder) {
  struct statfs info {};
  return ::statfs(folder.c_str(), &info) == 0 && info.f_type == TMPFS_MAGIC;
}

// Not the prefix of run directories: those are removed by whoever finds them without a lock.
std::string NameIn(const std::string& folder, const std::string& run_directory) {
  const std::string name = fs::path(run_directory).filename();
  return fmt::format("{}/ray-mpi-spill{}", folder, name.substr(std::min(name.find("-mpi") + 4, name.size())));
}

}  // namespace

Status DecideSpilling(const Options& options, RayletConfig* raylet) {
  if (options.keep_spill && options.spill_folders.empty()) {
    return Status::Invalid("--keep-spill: say where, with --object-spilling-directory");
  }
  for (const std::string& folder : options.spill_folders) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error || ::access(folder.c_str(), W_OK | X_OK) != 0) {
      return Status::Invalid(fmt::format("--object-spilling-directory {}: {}", folder,
                                         error ? error.message() : std::strerror(errno)));
    }
    raylet->spill.folders.push_back(fs::absolute(folder));
  }
  raylet->spill.named = !options.spill_folders.empty();
  objstore::spill::SpillOptions& spill = raylet->spill;
  spill.keep_files = options.keep_spill;
  spill.least_write_bytes = options.least_spill_bytes.value_or(spill.least_write_bytes);
  spill.most_fused = options.most_fused_objects.value_or(spill.most_fused);
  spill.most_writes = std::min<size_t>(options.spill_workers.value_or(spill.most_writes), 64);
  spill.threshold = options.spill_threshold.value_or(spill.threshold);
  return Status::Ok();
}

void NameSpillFolders(const std::string& run_directory, const Environment& environment,
                      RayletConfig* raylet) {
  std::vector<std::string>& folders = raylet->spill.folders;
  if (!folders.empty()) {
    for (std::string& folder : folders) folder = NameIn(folder, run_directory);
    return;
  }
  folders = {run_directory + "/spill"};
  if (!InMemory(run_directory)) return;
  const std::string& slurm = Get(environment, "SLURM_TMPDIR");
  const std::string& tmp = Get(environment, "TMPDIR");
  for (const std::string& place : {slurm, tmp, std::string("/tmp"), std::string("/var/tmp")}) {
    if (place.empty() || InMemory(place) || ::access(place.c_str(), W_OK | X_OK) != 0) continue;
    folders = {NameIn(place, run_directory)};
    return;
  }
}

void RemoveSpillFolders(const RayletConfig& raylet) {
  objstore::spill::EndFolders(raylet.session, raylet.spill.folders, raylet.spill.keep_files);
}

}  // namespace rmpi::launcher
