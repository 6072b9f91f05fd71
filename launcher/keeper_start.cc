// SPDX-License-Identifier: Apache-2.0
// Keeper, the beginning: descriptors, shared memory, processes.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <thread>

#include "launcher/keeper.h"
#include "launcher/process.h"
#include "launcher/spill_folders.h"
#include "objstore/arena.h"
#include "objstore/pin_table.h"
#include "runtime/lane/board.h"
#include "slurm/scrub.h"

namespace rmpi::launcher {
namespace {

Status SocketPair(UniqueFd* near, UniqueFd* far) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Status::Io("socketpair", errno);
  near->reset(ends[0]);
  far->reset(ends[1]);
  return Status::Ok();
}

// The zero-terminated strings in a memfd.
Status ReadStrings(int fd, std::vector<std::string>* out) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return Status::Io("a worker's command line", errno);
  std::string text(static_cast<size_t>(info.st_size), '\0');
  if (::pread(fd, text.data(), text.size(), 0) != info.st_size)
    return Status::Io("a worker's command line", errno);
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\0', at);
    if (end == text.npos) return Status::Invalid("a worker's command line has no end");
    out->push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return Status::Ok();
}

// Where Open MPI's programs in tasks keep their session files. Each makes this folder and removes it when it
// finds it empty, and fails when another one does so in between: it must be there and never be empty.
void MakeMpiFolder(const std::string& run_directory, const std::string& hostname) {
  const std::string folder = fmt::format("{}/ompi.{}.{}", run_directory, hostname, ::getuid());
  ::mkdir(folder.c_str(), 0700);
  UniqueFd(::open((folder + "/keep").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

// A raylet of a large job has thousands of connections.
void RaiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

Status Keeper::WatchSignals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, kEndOfLaunch})
    ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  // A signal that is ignored (nohup, SIGCHLD from a careless parent) never reaches a signalfd. Children must
  // be reaped, so that one is put right; the others mean that somebody does not want them to end us.
  ::signal(SIGCHLD, SIG_DFL);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  return signals_.valid() ? Status::Ok() : Status::Io("signalfd", errno);
}

Status Keeper::MakeSocket() {
  listen_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!listen_.valid()) return Status::Io("socket", errno);
  socket_name_ = "ray-mpi-" + RandomHex(16);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, socket_name_.data(), socket_name_.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + socket_name_.size());
  if (::bind(listen_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listen_.get(), 1024) != 0) {
    return Status::Io("the node's socket", errno);
  }
  return Status::Ok();
}

Session Keeper::MakeSession(const std::string& node) const {
  Session session;
  session.version = config_.version;
  session.run_id = config_.raylet.run_id;
  session.keeper_pid = ::getpid();
  session.socket = socket_name_;
  session.hostname = config_.raylet.hostname;
  session.rank = config_.rank;
  session.node = node;
  session.serve = config_.raylet.serve;
  session.joined = config_.joined;
  return session;
}

Status Keeper::MakeResources() {
  if (Status s = WatchSignals(); !s.ok()) return s;
  // Orphans of this node (a worker's children, a daemon the program left) become ours to end.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  RaiseFileLimit();
  if (config_.watch_parent) {
    parent_.reset(static_cast<int>(::syscall(SYS_pidfd_open, ::getppid(), 0)));
  }
  if (Status s = RunDirectory::Create(config_.environment, config_.job_step, &directory_); !s.ok()) return s;
  MakeMpiFolder(directory_.path(), config_.raylet.hostname);
  if (Status s = MakeSocket(); !s.ok()) return s;
  lane::BoardOptions board;
  if (config_.raylet.max_workers > 0) {
    // Besides the workers: the raylet, the driver, and others that attach.
    board.slots = static_cast<uint16_t>(
        std::clamp<uint32_t>(config_.raylet.max_workers + 32, board.slots, lane::kMaxSlots));
  }
  if (Status s = lane::Board::Create(board, &board_); !s.ok()) return s;
  objstore::Arena::Options arena;
  arena.bytes = config_.raylet.object_store_bytes;
  arena.numa_nodes = config_.arena_numa;
  Status made = objstore::Arena::CreateFd(arena, &arena_);
  if (!made.ok() && !arena.numa_nodes.empty()) {  // forbidden in many containers, and not worth ending for
    Say(made.message() + "; its memory comes from any NUMA node (--bind none asks for nothing else)");
    arena.numa_nodes.clear();
    made = objstore::Arena::CreateFd(arena, &arena_);
  }
  if (!made.ok()) return made;
  if (Status s = objstore::PinTable::CreateFd(board.slots, &pins_); !s.ok()) return s;
  if (Status s = MakePulse(); !s.ok()) return s;
  if (Status s = SocketPair(&raylet_link_, &raylet_link_far_); !s.ok()) return s;
  ::fcntl(raylet_link_.get(), F_SETFL, O_NONBLOCK);
  if (Status s = SocketPair(&zygote_link_, &zygote_link_far_); !s.ok()) return s;

  RayletConfig& raylet = config_.raylet;
  raylet.session = directory_.path();
  NameSpillFolders(directory_.path(), config_.environment, &raylet);
  raylet.run_id = RandomId();
  raylet.listen_fd = listen_.get();
  raylet.board_fd = board_.get();
  raylet.arena_fd = arena_.get();
  raylet.pins_fd = pins_.get();
  raylet.keeper_fd = raylet_link_far_.get();
  raylet.zygote_fd = config_.zygote.empty() ? -1 : zygote_link_.get();
  return directory_.WriteSession(MakeSession(""));
}

// The zygote first: an interpreter takes longest to start, and the three start side by side.
Status Keeper::StartProcesses() {
  if (Status s = StartCleaner(); !s.ok()) return s;
  if (Status s = StartZygote(); !s.ok()) return s;
  if (Status s = StartRaylet(); !s.ok()) return s;
  return StartDriver();
}

Status Keeper::StartZygote() {
  if (config_.zygote.empty()) return Status::Ok();
  std::vector<std::string> argv = config_.zygote;
  argv.push_back("--fd");
  argv.push_back(std::to_string(zygote_link_far_.get()));
  SpawnOptions options;
  options.death_signal = SIGKILL;
  options.own_session = true;
  options.ignores_step_signals = true;
  options.quiet_stdio = true;
  options.close_others = true;
  options.keep_fds = {zygote_link_far_.get()};
  Environment environment = config_.zygote_environment;
  SetMpiFolderOfTasks(&environment, directory_.path());
  environment["RAY_MPI_SESSION"] = directory_.path();
  environment["RAY_MPI_KEEPER_PID"] = std::to_string(::getpid());
  return Spawn(options, argv, environment, &zygote_pid_);
}

// Killed, a keeper cannot clean up. Nobody else can be trusted to: the MPI library ends the raylet at any
// moment when mpirun has gone, too.
Status Keeper::StartCleaner() {
  SpawnOptions options;
  options.own_session = true;  // mpirun and srun kill the keeper's group
  options.ignores_step_signals = true;
  options.quiet_stdio = true;
  options.close_others = true;
  UniqueFd keeper(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  options.keep_fds = {keeper.get()};
  const auto body = [this, fd = keeper.get()] {
    ::prctl(PR_SET_NAME, "ray-mpi-cleaner");
    pollfd gone{fd, POLLIN, 0};
    while (::poll(&gone, 1, -1) < 0 && errno == EINTR) {
    }
    EndProgramsOf(directory_.path());
    RemoveFiles();
    return 0;
  };
  return Fork(options, body, &cleaner_pid_);
}

// A raylet that nobody would replace is not watched: whoever stops it (a debugger) may let it go on.
Status Keeper::MakePulse() {
  if (config_.size == 1 && !config_.joined) return Status::Ok();
  void* page = ::mmap(nullptr, sizeof *pulse_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return Status::Io("mmap of a page for the raylet's signs of life", errno);
  config_.raylet.known_alive = pulse_ = new (page) std::atomic<TimeNs>(0);
  return Status::Ok();
}

Status Keeper::StartRaylet() {
  SpawnOptions options;
  options.death_signal = SIGTERM;  // without us it has to clean up; it also sees its link closed
  options.survives_parent = true;
  options.own_session = true;
  options.ignores_step_signals = true;
  options.quiet_stdio = true;
  const auto body = [this, keeper = ::getpid()] {
    raylet_link_.reset();
    zygote_link_far_.reset();
    signals_.reset();
    parent_.reset();
    if (config_.control_fd >= 0) ::close(config_.control_fd);
    if (config_.launcher_fd >= 0) ::close(config_.launcher_fd);
    ::prctl(PR_SET_NAME, "ray-mpi-raylet");
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
    const auto orphaned = [fd = config_.raylet.keeper_fd, keeper] {
      char byte;
      return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0 || ::getppid() != keeper;
    };
    std::thread(&Keeper::GuardRaylet, this, orphaned).detach();
    return raylet_main_(config_.raylet);
  };
  Status status = Fork(options, body, &raylet_pid_);
  // Now the raylet alone holds these: when it dies, whoever waits on them learns it.
  raylet_link_far_.reset();
  zygote_link_.reset();
  zygote_link_far_.reset();
  listen_.reset();
  return status;
}

// A raylet sees by itself that its keeper is gone, unless it waits inside of MPI for a rank that does not
// come. The other ranks would then wait for this one.
void Keeper::GuardRaylet(std::function<bool()> orphaned) const {
  pollfd link{config_.raylet.keeper_fd, POLLRDHUP, 0};
  while (::poll(&link, 1, -1) < 0 && errno == EINTR) {
  }
  const timespec grace{kOrphanGrace / kSecond, kOrphanGrace % kSecond};
  ::nanosleep(&grace, nullptr);
  if (!orphaned()) return;
  if (config_.end_launch) config_.end_launch();
  ::_exit(1);
}

Status Keeper::StartDriver() {
  if (config_.driver.empty()) return Status::Ok();
  SpawnOptions options;
  options.death_signal = SIGKILL;
  Environment environment = config_.driver_environment;
  environment["RAY_MPI_SESSION"] = directory_.path();
  environment["RAY_MPI_KEEPER_PID"] = std::to_string(::getpid());
  return Spawn(options, config_.driver, environment, &driver_pid_);
}

// A C++ worker: the job's program once more, from the folder where the driver runs if this node has it.
void Keeper::StartWorker(const KeeperMessage& request, std::span<UniqueFd> fds) {
  if (done_) return;
  std::vector<std::string> words;
  if (Status s = ReadStrings(fds[2].get(), &words); !s.ok() || words.size() < 2) {
    return Send(KeeperMessage::kWorkerStarted, -EINVAL, 0, request.token);
  }
  Environment environment = config_.native_environment;
  SetMpiFolderOfTasks(&environment, directory_.path());
  environment["RAY_MPI_SESSION"] = directory_.path();
  environment["RAY_MPI_KEEPER_PID"] = std::to_string(::getpid());
  environment["RAY_MPI_WORKER_TOKEN"] = std::to_string(request.token);
  SpawnOptions options;
  options.death_signal = SIGKILL;
  options.own_session = true;
  options.expendable = true;
  options.ignores_step_signals = true;
  options.stdout_fd = fds[0].get();
  options.stderr_fd = fds[1].get();
  options.close_others = true;
  options.folder = words[0];
  words.erase(words.begin());
  pid_t pid = 0;
  const Status started = Spawn(options, words, environment, &pid);
  Send(KeeperMessage::kWorkerStarted, started.ok() ? pid : -EAGAIN, 0, request.token);
}

}  // namespace rmpi::launcher
