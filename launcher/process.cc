// SPDX-License-Identifier: Apache-2.0
#include "launcher/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

namespace rmpi::launcher {
namespace {

constexpr int kExpendable = 1000;  // the highest; bindings/python/ray_mpi/_worker_main.py says the same

void ResetSignals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction old {};
    // What was ignored before us (nohup) stays ignored, as for any child of a shell; SIGPIPE is our own
    // doing.
    if (::sigaction(signal, nullptr, &old) == 0 && (old.sa_handler != SIG_IGN || signal == SIGPIPE)) {
      ::sigaction(signal, &action, nullptr);
    }
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void CloseOthers(const std::vector<int>& keep) {
  std::vector<int> open;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    open.push_back(std::atoi(entry.path().filename().c_str()));
  }
  for (const int fd : open) {
    if (fd > 2 && std::find(keep.begin(), keep.end(), fd) == keep.end()) ::close(fd);
  }
}

void SetUpChild(const SpawnOptions& options, pid_t parent) {
  if (options.death_signal != 0) {
    if (options.survives_parent) ::signal(options.death_signal, SIG_IGN);
    ::prctl(PR_SET_PDEATHSIG, options.death_signal);
    if (!options.survives_parent && ::getppid() != parent)
      ::_exit(128 + options.death_signal);  // it died before the line above
  }
  if (options.own_session) ::setsid();
  const bool redirected = options.stdout_fd >= 0 && options.stderr_fd >= 0;
  if (options.no_stdin || options.quiet_stdio || redirected) {
    const int null = ::open("/dev/null", O_RDWR);
    if (null >= 0) {
      ::dup2(null, 0);
      if (null > 2) ::close(null);
    }
  }
  if (redirected) {
    ::dup2(options.stdout_fd, 1);
    ::dup2(options.stderr_fd, 2);
  } else if (options.quiet_stdio) {
    ::dup2(2, 1);
  }
  if (options.expendable) {
    if (std::ofstream file("/proc/self/oom_score_adj"); file) file << kExpendable;
  }
  if (!options.folder.empty()) [[maybe_unused]]
    const int moved = ::chdir(options.folder.c_str());
  if (options.close_others) CloseOthers(options.keep_fds);
  for (const int fd : options.keep_fds) ::fcntl(fd, F_SETFD, 0);
  ResetSignals();
  if (!options.ignores_step_signals) return;
  for (const int signal : {SIGINT, SIGUSR1, SIGUSR2}) ::signal(signal, SIG_IGN);
}

// The state and the parent of a process; a parent of 0: there is none such.
std::pair<char, pid_t> StateAndParent(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t end = line.rfind(')');  // the name before it may hold anything
  char state = 0;
  int parent = 0;
  if (end == line.npos || std::sscanf(line.c_str() + end + 1, " %c %d", &state, &parent) != 2) return {0, 0};
  return {state, parent};
}

}  // namespace

Status Fork(const SpawnOptions& options, const std::function<int()>& body, pid_t* child) {
  std::fflush(nullptr);  // else the child would write our buffered text a second time
  const pid_t parent = ::getpid();
  // The child must not take a signal with our handlers or lose one: blocked until it is set up.
  sigset_t all, old;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &old);
  const pid_t pid = ::fork();
  if (pid == 0) {
    SetUpChild(options, parent);
    const int status = body();
    std::fflush(nullptr);
    ::_exit(status);
  }
  const int error = errno;
  ::sigprocmask(SIG_SETMASK, &old, nullptr);
  if (pid < 0) return Status::Io("cannot start a process (check `ulimit -u` and the memory limit)", error);
  *child = pid;
  return Status::Ok();
}

Status Spawn(const SpawnOptions& options, const std::vector<std::string>& argv,
             const Environment& environment, pid_t* child) {
  return Fork(
      options, [&] { return Exec(argv, environment, options.name); }, child);
}

int Exec(const std::vector<std::string>& argv, const Environment& environment, const std::string& name) {
  std::vector<std::string> variables;
  std::vector<char*> argv_pointers, variable_pointers;
  for (const auto& [key, value] : environment) variables.push_back(fmt::format("{}={}", key, value));
  for (const std::string& word : argv) argv_pointers.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& variable : variables)
    variable_pointers.push_back(const_cast<char*>(variable.c_str()));
  if (!name.empty()) argv_pointers[0] = const_cast<char*>(name.c_str());
  argv_pointers.push_back(nullptr);
  variable_pointers.push_back(nullptr);
  ::execve(argv[0].c_str(), argv_pointers.data(), variable_pointers.data());
  const int error = errno;
  std::string why = std::strerror(error);
  if (error == ENOEXEC) why += " (a script needs a #! line)";
  fmt::print(stderr, "ray-mpi: cannot run {}: {}\n", argv[0], why);
  return error == ENOENT ? 127 : 126;
}

std::vector<pid_t> Descendants(pid_t root) {
  std::multimap<pid_t, pid_t> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    const auto [state, parent] = StateAndParent(entry.path().filename());
    if (parent != 0 && state != 'Z') children.emplace(parent, pid);
  }
  std::vector<pid_t> found = {root};
  for (size_t i = 0; i < found.size(); ++i) {
    const auto [first, last] = children.equal_range(found[i]);
    for (auto it = first; it != last; ++it) found.push_back(it->second);
  }
  found.erase(found.begin());
  return found;
}

pid_t ParentOf(pid_t pid) { return StateAndParent(std::to_string(pid)).second; }

bool Catches(pid_t pid, int signal) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("SigCgt:")) {
      return (std::strtoull(line.c_str() + 7, nullptr, 16) >> (signal - 1) & 1) != 0;
    }
  }
  return false;
}

void SendLine(int fd, const std::string& text) {
  const std::string line = text + "\n";
  // A short line goes into a pipe or socket in one piece.
  if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) < 0 && errno == ENOTSOCK) {
    struct sigaction ignore {
    }, old{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &old);
    [[maybe_unused]] const ssize_t n = ::write(fd, line.data(), line.size());
    ::sigaction(SIGPIPE, &old, nullptr);
  }
}

std::string DescribeEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return fmt::format("signal {} ({})", WTERMSIG(wait_status), ::strsignal(WTERMSIG(wait_status)));
  }
  return fmt::format("exit status {}", WEXITSTATUS(wait_status));
}

int ExitStatus(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

}  // namespace rmpi::launcher
