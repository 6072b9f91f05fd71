// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/run_folders.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "runtime/base/unique_fd.h"

namespace rmpi::objstore::spill {
namespace {

namespace fs = std::filesystem;

constexpr char kMark[] = "/.run";
constexpr char kLeft[] = "/spill-left";      // lines: a folder, then a mark that says that the run goes on
constexpr char kOthers[] = "/spill-others";  // lines: a folder
constexpr char kPrefix[] = "ray-mpi-spill";  // of all folders

// Nothing else is ever removed, whatever a list says.
bool OfRun(const std::string& folder) { return fs::path(folder).filename().string().starts_with(kPrefix); }

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::vector<std::string> Lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// Others may be removing it, too, or still be writing there.
void RemoveAll(const std::string& folder) {
  constexpr int kTries = 5;
  for (int i = 0; i < kTries && Exists(folder); ++i) {
    std::error_code error;
    fs::remove_all(folder, error);
  }
}

// The head's folder that lies beside this one, if its mark is there.
std::string MarkBeside(const std::string& folder, const std::vector<std::string>& heads) {
  const auto beside = [&](const std::string& head) {
    return fs::path(head).parent_path() == fs::path(folder).parent_path() && Exists(head + kMark);
  };
  const auto it = std::find_if(heads.begin(), heads.end(), beside);
  return it == heads.end() ? "" : *it + kMark;
}

}  // namespace

void MarkRun(const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) {
    ::mkdir(folder.c_str(), S_IRWXU);
    UniqueFd(::open((folder + kMark).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR));
  }
}

void NoteFoldersOfOthers(const std::string& session, const std::vector<std::string>& folders) {
  if (folders.empty()) return;
  std::ofstream file(session + kOthers, std::ios::app);
  for (const std::string& folder : folders) file << folder << '\n';
}

std::vector<std::string> SharedFolders(const std::vector<std::string>& own,
                                       const std::vector<std::string>& heads) {
  std::vector<std::string> shared;
  for (const std::string& folder : own) {
    if (!MarkBeside(folder, heads).empty()) shared.push_back(folder);
  }
  return shared;
}

void LeaveFolders(const std::string& session, const std::vector<std::string>& shared,
                  const std::vector<std::string>& heads) {
  std::ofstream file(session + kLeft);
  for (const std::string& folder : shared) file << folder << '\n' << MarkBeside(folder, heads) << '\n';
}

void TakeBackFolders(const std::string& session) { ::unlink((session + kLeft).c_str()); }

void EndFolders(const std::string& session, const std::vector<std::string>& own, bool keep) {
  for (const std::string& folder : own) ::unlink((folder + kMark).c_str());
  if (!keep) {
    for (const std::string& folder : Lines(session + kOthers)) {
      if (OfRun(folder)) RemoveAll(folder);
    }
  }
  const std::vector<std::string> left = Lines(session + kLeft);
  for (const std::string& folder : own) {
    if (!OfRun(folder)) continue;  // it lies in the run directory, and goes with that
    const auto at = std::find(left.begin(), left.end(), folder);
    const bool leave = at != left.end() && std::next(at) != left.end() && Exists(*std::next(at));
    if (keep || leave) {
      ::rmdir(folder.c_str());  // if there is nothing in it
    } else {
      RemoveAll(folder);
    }
  }
}

}  // namespace rmpi::objstore::spill
