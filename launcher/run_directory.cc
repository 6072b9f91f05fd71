// SPDX-License-Identifier: Apache-2.0
#include "launcher/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "launcher/programs.h"
#include "runtime/base/time.h"

namespace rmpi::launcher {
namespace {

namespace fs = std::filesystem;

// Variables that name a place for run directories, best first; the last stands for /tmp.
constexpr std::array<const char*, 5> kPlaces = {"RAY_MPI_DIR", "SLURM_TMPDIR", "XDG_RUNTIME_DIR", "TMPDIR",
                                                ""};

std::string Prefix() { return fmt::format("ray-mpi-{}-", ::getuid()); }

UniqueFd OpenFolder(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

// Removes run directories of this user in `base` that nobody holds. A younger one than a few seconds may be
// between its mkdir and its lock.
void RemoveLeftOvers(const std::string& base) {
  constexpr time_t kYoungS = 10;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(base, error)) {
    const std::string path = entry.path();
    if (!entry.path().filename().string().starts_with(Prefix())) continue;
    struct stat info {};
    const UniqueFd folder = OpenFolder(path);
    if (!folder.valid() || ::fstat(folder.get(), &info) != 0 || info.st_uid != ::getuid()) continue;
    if (std::time(nullptr) - info.st_mtime < kYoungS || ::flock(folder.get(), LOCK_EX | LOCK_NB) != 0)
      continue;
    fs::remove_all(path, error);
  }
}

// An mpirun in a task of another node makes that node's folder here, too, when it starts ranks on this one,
// and leaves it, empty. Only the same step of the same job is looked at, so that nobody else's is met half
// made. Returns whether one is still in use: its mpirun has been told to end just as we have.
bool RemoveShells(const std::string& path) {
  const std::string step = path.substr(0, path.rfind('.') + 1);
  if (step.ends_with("-local.0.")) return false;
  bool in_use = false;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(path).parent_path(), error)) {
    if (!entry.path().string().starts_with(step)) continue;
    const UniqueFd folder = OpenFolder(entry.path());
    if (!folder.valid() || ::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (::rmdir(entry.path().c_str()) != 0 && errno == ENOTEMPTY) in_use = true;
  }
  return in_use;
}

}  // namespace

std::string RandomHex(size_t bytes) {
  std::vector<unsigned char> random(bytes);
  size_t have = 0;
  while (have < bytes) {
    const ssize_t n = ::getrandom(random.data() + have, bytes - have, 0);
    if (n > 0) have += static_cast<size_t>(n);
  }
  std::string text;
  for (const unsigned char byte : random) text += fmt::format("{:02x}", byte);
  return text;
}

uint64_t RandomId() {
  uint64_t id = 0;
  while (id == 0) {
    if (::getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id)) id = 0;
  }
  return id;
}

Status RunDirectory::Create(const Environment& environment, const std::string& job_step, RunDirectory* out) {
  std::string tried;
  for (const char* variable : kPlaces) {
    const auto it = environment.find(variable);
    const bool fallback = *variable == '\0';
    if (!fallback && (it == environment.end() || it->second.empty())) continue;
    const std::string base = fallback ? "/tmp" : it->second;
    const std::string path = fmt::format("{}/{}{}.{}", base, Prefix(), job_step, RandomHex(4));
    if (::mkdir(path.c_str(), 0700) == 0) {
      out->path_ = path;
      out->lock_ = OpenFolder(path);
      // Some network file systems cannot lock a folder: then it is simply never cleaned by others.
      if (out->lock_.valid() && ::flock(out->lock_.get(), LOCK_EX | LOCK_NB) == 0) RemoveLeftOvers(base);
      return Status::Ok();
    }
    const Status failed =
        Status::Io(fmt::format("{}{}", base, fallback ? "" : fmt::format(" (${})", variable)), errno);
    tried += (tried.empty() ? "" : "; ") + failed.message();
    if (variable == kPlaces[0]) break;
  }
  return Status(StatusCode::kIo,
                fmt::format("no place for the run directory: {}. Set RAY_MPI_DIR to a folder on "
                            "this node that you can write to",
                            tried));
}

Status RunDirectory::WriteSession(const Session& session) const {
  nlohmann::json json = {
      {"version", session.version},       {"run_id", fmt::format("{:016x}", session.run_id)},
      {"keeper_pid", session.keeper_pid}, {"socket", session.socket},
      {"hostname", session.hostname},     {"rank", session.rank},
      {"created", std::time(nullptr)},    {"serve", session.serve},
      {"joined", session.joined}};
  if (!session.node.empty()) json["node"] = session.node;
  const std::string text = json.dump(1) + "\n";
  const std::string path = path_ + "/session.json", fresh = path + ".new";
  const UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return Status::Io(fresh, errno);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Status::Io(fresh + " (is the file system full?)", errno);
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return Status::Io(path, errno);
  return Status::Ok();
}

bool FoundRun::Read() {
  std::ifstream file(path + "/session.json");
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object()) return false;
  session.keeper_pid = json.value("keeper_pid", 0);
  session.rank = json.value("rank", 0U);
  session.node = json.value("node", "");
  session.serve = json.value("serve", false);
  session.joined = json.value("joined", false);
  session.created = json.value("created", int64_t{0});
  return session.keeper_pid > 0;
}

bool FoundRun::Held() const {
  const UniqueFd folder = OpenFolder(path);
  return folder.valid() && ::flock(folder.get(), LOCK_SH | LOCK_NB) != 0;
}

std::vector<FoundRun> FindRuns(const Environment& environment) {
  std::vector<std::string> bases;
  for (const char* variable : kPlaces) {
    const std::string base = *variable == '\0' ? "/tmp" : Get(environment, variable);
    if (base.empty() || std::find(bases.begin(), bases.end(), base) != bases.end()) continue;
    bases.push_back(base);
    if (variable == kPlaces[0]) break;  // a place that the user named is the only one
  }
  std::vector<FoundRun> found;
  std::error_code error;
  for (const std::string& base : bases) {
    for (const fs::directory_entry& entry : fs::directory_iterator(base, error)) {
      const std::string name = entry.path().filename();
      if (!name.starts_with(Prefix())) continue;
      FoundRun run;
      run.path = entry.path();
      run.job = name.substr(Prefix().size(), name.find('.') - Prefix().size());
      if (run.Read() && run.Held()) found.push_back(run);
    }
  }
  return found;
}

std::optional<FoundRun> NewestHead(const Environment& environment) {
  std::optional<FoundRun> newest;
  for (const FoundRun& run : FindRuns(environment)) {
    if (run.session.rank != 0 || run.session.node.empty()) continue;
    if (!newest || run.session.created > newest->session.created) newest = run;
  }
  return newest;
}

void RunDirectory::Remove() {
  std::error_code error;
  if (path_.empty()) return;
  fs::remove_all(path_, error);
  const TimeNs give_up_at = MonotonicNow() + Programs::kGrace;
  const timespec pause{0, 20'000'000};
  while (RemoveShells(path_) && MonotonicNow() < give_up_at) ::nanosleep(&pause, nullptr);
  path_.clear();
  lock_.reset();
}

}  // namespace rmpi::launcher
