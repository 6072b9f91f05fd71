// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/runtime_finder.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/base/time.h"

namespace rmpi::cpp {
namespace {

namespace fs = std::filesystem;

constexpr TimeNs kStartTimeout = 60 * kSecond;
constexpr TimeNs kStopTimeout = 10 * kSecond;
constexpr TimeNs kAppearTimeout = 20 * kSecond;

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where run directories can be; a folder that the user named is the only one, as when one is made.
std::vector<std::string> Bases() {
  if (const std::string named = Environment("RAY_MPI_DIR"); !named.empty()) return {named};
  std::vector<std::string> bases;
  for (const char* name : {"SLURM_TMPDIR", "XDG_RUNTIME_DIR", "TMPDIR"}) {
    if (std::string base = Environment(name); !base.empty()) bases.push_back(std::move(base));
  }
  bases.emplace_back("/tmp");
  return bases;
}

bool ReadSession(const std::string& path, nlohmann::json* session) {
  std::ifstream in(path + "/session.json");
  if (!in) return false;
  *session = nlohmann::json::parse(in, nullptr, false);
  return session->is_object();
}

bool Alive(const nlohmann::json& session) {
  const auto pid = session.value("keeper_pid", pid_t{0});
  return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM);
}

// Of the Slurm job around us, or of none.
bool OfOurJob(const std::string& path, const std::string& job) {
  const std::string rest = path.substr(path.rfind('-') + 1);
  const std::string of = rest.substr(0, rest.find('.'));
  return job.empty() || of == job || of == "local";
}

// This user's newest live session on this node, or "".
std::string FindRunning() {
  const std::string job = Environment("SLURM_JOB_ID");
  std::string newest;
  double newest_created = -1e13;
  for (const std::string& base : Bases()) {
    glob_t found{};
    const std::string pattern = fmt::format("{}/ray-mpi-{}-*", base, ::getuid());
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc; ++i) {
        nlohmann::json session;
        if (!OfOurJob(found.gl_pathv[i], job)) continue;
        if (!ReadSession(found.gl_pathv[i], &session) || !Alive(session)) continue;
        // One of a launch before those of nodes that joined later.
        const double created = session.value("created", 0.0) - (session.value("joined", false) ? 1e12 : 0);
        if (created > newest_created) {
          newest_created = created;
          newest = found.gl_pathv[i];
        }
      }
    }
    ::globfree(&found);
  }
  return newest;
}

// In a Slurm job it may still be on its way (`srun ray-mpi --serve &`).
std::string AwaitRunning() {
  const TimeNs give_up_at = MonotonicNow() + (Environment("SLURM_JOB_ID").empty() ? 0 : kAppearTimeout);
  std::string path = FindRunning();
  while (path.empty() && MonotonicNow() < give_up_at) {
    const timespec nap{0, 50'000'000};
    ::nanosleep(&nap, nullptr);
    path = FindRunning();
  }
  return path;
}

bool IsExecutable(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// In the child: only what is safe between fork and exec.
[[noreturn]] void BecomeKeeper(int control, char* const* argv, char* const* environment, int null_fd) {
  ::dup2(null_fd, STDIN_FILENO);  // the terminal is the driver's alone
  constexpr int kControl = 3;
  if (control == kControl) {
    ::fcntl(control, F_SETFD, 0);
  } else {
    ::dup2(control, kControl);
  }
  ::syscall(SYS_close_range, kControl + 1, ~0U, 0);
  ::execve(argv[0], argv, environment);
  ::_exit(127);
}

}  // namespace

Status ResolveAddress(const std::string& given, std::string* session) {
  const std::string launched = Environment("RAY_MPI_SESSION");
  std::string address = given;
  session->clear();
  if (address == "local") return Status::Ok();
  if (address.empty()) {
    address = Environment("RAY_ADDRESS");
    if (!launched.empty() && (address.empty() || address == "auto" || address == "local")) {
      *session = launched;
      return Status::Ok();
    }
    if (address.empty() || address == "local") return Status::Ok();
  }
  if (address == "auto") {
    *session = launched.empty() ? AwaitRunning() : launched;
    if (!session->empty()) return Status::Ok();
    return Status::Unavailable(
        fmt::format("address \"auto\": there is no running ray-mpi of this user on this node (looked in {}). "
                    "Start one with `ray-mpi --serve` (in a batch job `srun ray-mpi --serve &`), start the "
                    "program with `ray-mpi ./program`, or leave the address out",
                    fmt::join(Bases(), ", ")));
  }
  nlohmann::json ignored;
  if (!ReadSession(address, &ignored)) {
    return Status::Unavailable(fmt::format(
        "{}address \"{}\" is no run directory of ray-mpi on this node. Use \"auto\", \"local\", or the path "
        "that "
        "RAY_MPI_SESSION has inside of the run",
        address.starts_with("ray://") ? "ray:// (the Ray client) is not there in ray-mpi; " : "", address));
  }
  *session = address;
  return Status::Ok();
}

std::string FindInstalled(const std::string& program) {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(&FindInstalled), &info) != 0 && info.dli_fname != nullptr) {
    std::error_code error;
    const fs::path library = fs::canonical(info.dli_fname, error);
    // <prefix>/lib/libray-mpi.so, or with a folder of the architecture's name between.
    for (fs::path folder = library.parent_path(); folder.has_relative_path(); folder = folder.parent_path()) {
      if (IsExecutable(folder / "bin" / program)) return folder / "bin" / program;
      if (folder.filename().string().starts_with("lib")) continue;
      if (folder.parent_path().filename().string().starts_with("lib")) continue;
      break;
    }
  }
  const std::string path = Environment("PATH");
  for (size_t begin = 0; begin < path.size();) {
    const size_t colon = std::min(path.find(':', begin), path.size());
    const fs::path candidate = fs::path(path.substr(begin, colon - begin)) / program;
    if (IsExecutable(candidate)) return candidate;
    begin = colon + 1;
  }
  return "";
}

Status Embedded::Start(const std::vector<std::string>& options, std::string* session) {
  std::string program = Environment("RAY_MPI_PROGRAM");
  if (!IsExecutable(program)) program = FindInstalled("ray-mpi");
  if (program.empty()) {
    return Status::Unavailable(
        "cannot start a runtime: the command ray-mpi is neither beside libray-mpi.so nor on PATH "
        "(RAY_MPI_PROGRAM may "
        "name it)");
  }
  std::vector<std::string> words = {program, "embedded", "--control-fd=3"};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> environment;
  for (char** e = environ; *e != nullptr; ++e) {
    // The runtime's own: one inside of a launch is no part of that.
    if (std::strncmp(*e, "RAY_MPI_SESSION=", 16) != 0) environment.push_back(*e);
  }
  environment.push_back(nullptr);
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return Status::Io("socketpair", errno);
  UniqueFd ours(pair[0]), theirs(pair[1]);
  const UniqueFd null_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  pid_ = ::fork();
  if (pid_ < 0) return Status::Io("cannot start " + program, errno);
  if (pid_ == 0) BecomeKeeper(theirs.get(), argv.data(), environment.data(), null_fd.get());
  control_ = std::move(ours);
  theirs.reset();
  const Status status = AwaitReady(session);
  if (!status.ok()) Stop();
  return status;
}

Status Embedded::AwaitReady(std::string* session) {
  const TimeNs deadline = MonotonicNow() + kStartTimeout;
  std::string line;
  while (line.empty() || line.back() != '\n') {
    const TimeNs left = deadline - MonotonicNow();
    pollfd p{control_.get(), POLLIN, 0};
    const int n = left <= 0 ? 0 : ::poll(&p, 1, static_cast<int>(left / kMillisecond) + 1);
    if (n == 0) {
      return Status::Unavailable(
          fmt::format("the runtime was not ready after {} s", kStartTimeout / kSecond));
    }
    char part[4096];
    const ssize_t got = n < 0 ? -1 : ::read(control_.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    line.append(part, static_cast<size_t>(got));
  }
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  const size_t space = line.find(' ');
  const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  if (line.substr(0, space) == "session") {
    *session = rest;
    return Status::Ok();
  }
  return Status::Unavailable("the runtime did not start: " +
                             (rest.empty() ? "it ended without a word (see stderr)" : rest));
}

void Embedded::Stop() {
  control_.reset();
  if (pid_ <= 0) return;
  const pid_t pid = std::exchange(pid_, -1);
  const TimeNs deadline = MonotonicNow() + kStopTimeout;
  for (int waited = 0;; ++waited) {
    const pid_t done = ::waitpid(pid, nullptr, WNOHANG);
    if (done == pid || (done < 0 && errno == ECHILD)) return;  // ECHILD: the program ignores SIGCHLD
    if (MonotonicNow() > deadline) break;
    const timespec nap{0, waited < 20 ? 500'000 : 5'000'000};
    ::nanosleep(&nap, nullptr);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

void Embedded::Abandon() {
  control_.reset();
  pid_ = -1;
}

}  // namespace rmpi::cpp
