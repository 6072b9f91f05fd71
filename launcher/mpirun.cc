// SPDX-License-Identifier: Apache-2.0
#include "launcher/mpirun.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>

#include "launcher/mpirun_folder.h"
#include "launcher/mpirun_kind.h"
#include "launcher/process.h"
#include "launcher/run_directory.h"
#include "runtime/base/host_name.h"
#include "runtime/base/time.h"
#include "runtime/node/command.h"
#include "slurm/launch.h"
#include "slurm/scrub.h"

namespace rmpi::launcher {
namespace {

constexpr int kUsageStatus = 2;
constexpr int kVersionTimeoutMs = 10'000;

socklen_t AbstractAddress(const std::string& name, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  const size_t size = std::min(name.size(), sizeof address->sun_path - 1);
  std::memcpy(address->sun_path + 1, name.data(), size);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
}

bool SameUser(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::getuid();
}

constexpr std::array<int, 3> kStreams = {0, 1, 2};

union Control {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof kStreams)];
};

// What a rank that connects says first.
enum Greeting : int32_t { kJoins = 1, kIsLost = 2 };

UniqueFd Connect(const Environment& environment, Greeting greeting) {
  const std::string& name = Get(environment, kLauncherVariable);
  if (name.empty()) return UniqueFd();
  sockaddr_un address{};
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), AbstractAddress(name, &address)) != 0 ||
      !SameUser(fd.get()) || ::send(fd.get(), &greeting, sizeof greeting, MSG_NOSIGNAL) != sizeof greeting) {
    return UniqueFd();
  }
  return fd;
}

bool SendStreams(int fd) {
  char byte = 's';
  iovec data{&byte, 1};
  Control control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof kStreams);
  std::memcpy(CMSG_DATA(header), kStreams.data(), sizeof kStreams);
  return ::sendmsg(fd, &message, MSG_NOSIGNAL) == 1;
}

bool ReceiveStreams(int fd) {
  char byte = 0;
  iovec data{&byte, 1};
  Control control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  if (::recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != 1) return false;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_len != CMSG_LEN(sizeof kStreams)) return false;
  std::array<int, 3> streams;
  std::memcpy(streams.data(), CMSG_DATA(header), sizeof streams);
  for (size_t i = 0; i < streams.size(); ++i) {
    ::dup2(streams[i], kStreams[i]);
    ::close(streams[i]);
  }
  return true;
}

// Open MPI 4 reads the OMPI names, Open MPI 5 the PRTE ones; each leaves the other's alone.
void SetMpirunEnvironment(Environment* environment) {
  static constexpr std::pair<const char*, const char*> kSettings[] = {
      {"OMPI_MCA_orte_enable_recovery", "1"},  // a survived death does not end the job
      {"OMPI_MCA_orte_abort_on_non_zero_status", "0"},
      {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
      {"OMPI_MCA_hwloc_base_binding_policy", "none"},
      {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
      {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
      {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
      {"PRTE_MCA_hwloc_default_binding_policy", "none"},
      {"PRTE_ALLOW_RUN_AS_ROOT", "1"},
      {"PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
      {"PRTE_MCA_prte_enable_ft", "1"},
      {"OMPI_MCA_mpi_ft_enable", "1"},
  };
  for (const auto& [name, value] : kSettings) SetOverUser(environment, name, value);
}

bool OneHost(const Environment& environment) {
  return Get(environment, "SLURM_JOB_ID").empty() && Get(environment, "PBS_NODEFILE").empty() &&
         Get(environment, "LSB_HOSTS").empty() && Get(environment, "PE_HOSTFILE").empty() &&
         Get(environment, "OMPI_MCA_orte_default_hostfile").empty();
}

std::vector<std::string> MpirunCommand(const Options& options, const Paths& paths, const std::string& mpirun,
                                       MpirunKind kind, const Environment& environment) {
  std::vector<std::string> argv = {mpirun, "-n", std::to_string(options.ranks)};
  const std::vector<std::string> own = MpirunOptions(kind, OneHost(environment), environment);
  argv.insert(argv.end(), own.begin(), own.end());
  argv.push_back(paths.executable);
  argv.insert(argv.end(), options.option_words.begin(), options.option_words.end());
  if (options.kind == ProgramKind::kNone) return argv;
  if (options.kind == ProgramKind::kModule) {
    argv.push_back("-m");
  } else {
    argv.push_back("--");
  }
  argv.push_back(options.program);
  argv.insert(argv.end(), options.arguments.begin(), options.arguments.end());
  return argv;
}

// Waits for the first of: rank 0's status, mpirun's end.
class Relay {
 public:
  Relay(UniqueFd listen, UniqueFd signals, pid_t mpirun)
      : listen_(std::move(listen)), signals_(std::move(signals)), mpirun_(mpirun) {}

  int Run() {
    while (mpirun_ != 0) {
      pollfd fds[] = {{signals_.get(), POLLIN, 0}, {listen_.get(), POLLIN, 0}, {head_.get(), POLLIN, 0}};
      const TimeNs left =
          kill_at_ == kNever ? -1 : std::max<TimeNs>(0, kill_at_ - MonotonicNow()) / kMillisecond + 1;
      if (::poll(fds, std::size(fds), static_cast<int>(left)) < 0 && errno != EINTR) break;
      if (fds[2].revents != 0) OnHead();
      if (fds[1].revents != 0) OnConnect();
      if (fds[0].revents != 0) OnSignal();
      if (MonotonicNow() >= kill_at_) Escalate();
    }
    if (status_.has_value()) return *status_;
    if (mpirun_status_ == 0) {
      fmt::print(stderr,
                 "ray-mpi: mpirun ended, and rank 0 never reported the program's status. If it ran on "
                 "another host, start the ranks with srun instead\n");
    }
    return mpirun_status_ == 0 ? 1 : mpirun_status_;
  }

 private:
  void OnConnect() {
    UniqueFd peer(::accept4(listen_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer.valid() || !SameUser(peer.get())) return;
    timeval patience{1, 0};  // it says at once what it is
    ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    Greeting greeting{};
    if (::recv(peer.get(), &greeting, sizeof greeting, 0) != sizeof greeting) return;
    if (greeting == kIsLost && !status_.has_value()) {
      status_ = 1;
      kill_at_ = MonotonicNow();
    }
    if (greeting != kJoins || std::exchange(joined_, true) || !SendStreams(peer.get())) return;
    head_ = std::move(peer);
    for (const int32_t signal : early_)
      ::send(head_.get(), &signal, sizeof signal, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void OnHead() {
    int32_t status = 0;
    if (status_.has_value()) {
      // the run was ended before it had come up: that is its status
    } else if (::recv(head_.get(), &status, sizeof status, MSG_DONTWAIT) == sizeof status) {
      status_ = status;
    } else {
      fmt::print(stderr, "ray-mpi: the keeper of rank 0 died: ending the run\n");
      status_ = 1;
    }
    head_.reset();
    kill_at_ = MonotonicNow() + kGrace;  // the other ranks end by themselves
  }

  void OnSignal() {
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      const auto signal = static_cast<int32_t>(info.ssi_signo);
      if (signal == SIGCHLD) {
        int wait_status = 0;
        if (::waitpid(mpirun_, &wait_status, WNOHANG) == mpirun_) {
          mpirun_ = 0;
          mpirun_status_ = ExitStatus(wait_status);
          if (head_.valid()) OnHead();  // its last word may have come just before
        }
      } else if (head_.valid()) {
        ::send(head_.get(), &signal, sizeof signal, MSG_NOSIGNAL | MSG_DONTWAIT);
      } else if (early_.empty()) {
        early_.push_back(signal);  // for rank 0, once it has connected
      } else {
        status_ = 128 + signal;  // he means it
        kill_at_ = MonotonicNow();
      }
    }
  }

  // SIGTERM makes mpirun end its ranks; SIGKILL would leave that to the keepers, which watch their parent.
  void Escalate() {
    ::kill(mpirun_, terminated_ ? SIGKILL : SIGTERM);
    terminated_ = true;
    kill_at_ = MonotonicNow() + kGrace;
  }

  static constexpr TimeNs kGrace = 4 * kSecond;
  UniqueFd listen_, signals_, head_;
  pid_t mpirun_;
  int mpirun_status_ = 0;
  std::optional<int> status_;
  std::vector<int32_t> early_;
  TimeNs kill_at_ = kNever;
  bool terminated_ = false;
  bool joined_ = false;
};

int Usage(const std::string& text) {
  fmt::print(stderr, "ray-mpi: {}\n", text);
  return kUsageStatus;
}

}  // namespace

int RunMpirun(const Options& options, const Paths& paths, const Environment& environment) {
  if (const std::string why = WhyNoMpirun(environment, HostName(), {"ray-mpi", options.program});
      !why.empty()) {
    return Usage("-n: " + why);
  }
  if (DetectLaunch(environment, {}).kind == Launch::kMpirun) {
    return Usage("-n: this is already one of the ranks of an mpirun; leave -n away");
  }
  Environment child = environment;
  const std::string mpirun_path = FindProgram("mpirun", environment);
  if (mpirun_path.empty()) {
    return Usage("-n: there is no mpirun on PATH. Install Open MPI or MPICH, or load its module");
  }
  const MpirunKind kind = MpirunKindOf(OutputOf({mpirun_path, "--version"}, kVersionTimeoutMs).value_or(""));
  const std::vector<std::string> argv = MpirunCommand(options, paths, mpirun_path, kind, child);

  sockaddr_un address{};
  const std::string name = "ray-mpi-launch-" + RandomHex(16);
  UniqueFd listen(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (::bind(listen.get(), reinterpret_cast<sockaddr*>(&address), AbstractAddress(name, &address)) != 0 ||
      ::listen(listen.get(), 4) != 0) {
    return Usage(Status::Io("the launch socket", errno).message());
  }
  child[kLauncherVariable] = name;
  SetMpirunEnvironment(&child);
  MpirunFolder folder;
  if (OneHost(environment)) {  // elsewhere there is no such folder
    if (Status s = folder.Make(kind, &child); !s.ok()) return Usage("-n: " + s.message());
  }

  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2})
    ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGCHLD, SIG_DFL);
  UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));

  // A session of its own: the terminal's Ctrl-C comes here only, and goes to the program as what it is.
  SpawnOptions spawn;
  spawn.death_signal = SIGTERM;
  spawn.own_session = true;
  if (folder.alive_fd() >= 0) spawn.keep_fds = {folder.alive_fd()};
  spawn.no_stdin = OneHost(environment);  // rank 0 has ours
  // Called by its full path it would put its own folder in front of the ranks' PATH, and so, say, /usr/bin's
  // python3 before the one of an activated environment.
  spawn.name = "mpirun";
  pid_t mpirun = 0;
  if (Status s = Spawn(spawn, argv, child, &mpirun); !s.ok()) return Usage(s.message());
  return Relay(std::move(listen), std::move(signals), mpirun).Run();
}

UniqueFd JoinLauncher(const Environment& environment) {
  UniqueFd fd = Connect(environment, kJoins);
  return fd.valid() && ReceiveStreams(fd.get()) ? std::move(fd) : UniqueFd();
}

void EndByLauncher(const Environment& environment) { Connect(environment, kIsLost); }

void SendStatus(int fd, int status) {
  const int32_t word = status;
  if (fd >= 0) ::send(fd, &word, sizeof word, MSG_NOSIGNAL);
}

}  // namespace rmpi::launcher
