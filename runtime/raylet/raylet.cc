// SPDX-License-Identifier: Apache-2.0
// Bring-up of the raylet: memory, transport, joining the head.
#include "runtime/raylet/raylet.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "objstore/spill/run_folders.h"
#include "runtime/raylet/raylet_impl.h"
#include "runtime/transport/direct.h"
#include "runtime/transport/interface.h"
#include "runtime/transport/mpi.h"

namespace rmpi {
namespace {

int termination_eventfd = -1;
pid_t keeper_pid = 0;
constexpr uint64_t kFromKeeper = uint64_t{1} << 32;  // in the eventfd's sum: more than signals of others

// The keeper's word, PR_SET_PDEATHSIG of its end, or a signal that somebody sent to us alone, or to all.
void OnTerminate(int, siginfo_t* info, void*) {
  const uint64_t by = info->si_pid == keeper_pid ? kFromKeeper : 1;
  [[maybe_unused]] const ssize_t n = write(termination_eventfd, &by, sizeof by);
}

sched::Amounts FixedPoint(const std::vector<std::pair<std::string, double>>& in) {
  sched::Amounts out;
  for (const auto& [name, amount] : in) out.emplace_back(name, std::llround(amount * sched::kResourceUnit));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

int RunRaylet(const RayletConfig& config) {
  Raylet raylet(config);
  return raylet.Run();
}

Raylet::Raylet(const RayletConfig& config)
    : config_(config),
      bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      gcs_outbox_(&router_, GcsAddress()),
      detached_outbox_(&router_, DetachedOwner()),
      logs_(
          &loop_, config.log_dir, config.hostname,
          [this](const WorkerOutput& who, bool is_stderr, std::string_view task, std::string_view lines) {
            RelayLines(who, is_stderr, task, lines);
          },
          [this](JobId job) { return LogsReady(job); }),
      functions_(&router_) {}

Raylet::~Raylet() {
  transfer_.reset();
  prefaulter_.reset();
  if (notes_ != nullptr) munmap(notes_, board_->slots() * sizeof(SlotNotes));
}

void Raylet::Tell(KeeperMessage::Type type, int32_t pid, int32_t status, const std::string& text) {
  KeeperMessage m;
  m.type = type;
  m.pid = pid;
  m.wait_status = status;
  text.copy(m.text, sizeof m.text - 1);
  send(config_.keeper_fd, &m, sizeof m, MSG_NOSIGNAL);
}

void Raylet::Fatal(const std::string& text, int status) {
  spdlog::error("{}", text);
  Tell(KeeperMessage::kFatal, 0, status, text);
  fatal_ = status;
}

int Raylet::Run() {
  termination_eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  keeper_pid = getppid();
  struct sigaction action {};
  action.sa_sigaction = OnTerminate;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTERM, &action, nullptr);
  for (const int ignored : {SIGINT, SIGUSR1, SIGUSR2, SIGPIPE}) signal(ignored, SIG_IGN);
  loop_.Add(termination_eventfd, EPOLLIN, [this](uint32_t) {
    uint64_t by = 0;
    [[maybe_unused]] const ssize_t r = read(termination_eventfd, &by, sizeof by);
    // Slurm signals all processes of a step: a node that joined leaves in order, with a message of its
    // keeper, which was asked, too. What the keeper signals is the end.
    if (joined_ && by < kFromKeeper) {
      termed_ = true;
    } else {
      Stop(128 + SIGTERM, "the raylet was asked to end");
    }
  });
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  Status s = MapMemory();
  if (s.ok()) s = BringUp();
  if (!s.ok()) {
    Fatal(s.message(), 1);
    return *fatal_;
  }
  Loop();
  if (transport_) transport_->Shutdown(all_alive_ && !fatal_);
  if (mpi_) mpi_->Shutdown(all_alive_ && !fatal_);
  return fatal_.value_or(0);
}

Status Raylet::MapMemory() {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(
        (config_.log_dir.empty() ? config_.session : config_.log_dir) + "/raylet-" + config_.hostname + "-" +
        std::to_string(getpid()) + ".log");
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("raylet", sink));
  } catch (const spdlog::spdlog_ex& e) {
    return Status::Unavailable(std::string("the raylet cannot keep its log: ") + e.what());
  }
  spdlog::set_level(static_cast<spdlog::level::level_enum>(config_.log_level));
  spdlog::flush_on(spdlog::level::warn);
  if (Status s = lane::Board::Map(config_.board_fd, &board_); !s.ok()) return s;
  if (Status s = objstore::Arena::Map(config_.arena_fd, 0, &arena_); !s.ok()) return s;
  if (Status s = objstore::PinTable::Map(config_.pins_fd, &pins_); !s.ok()) return s;
  const size_t bytes = board_->slots() * sizeof(SlotNotes);
  notes_fd_.reset(memfd_create("ray-mpi-notes", MFD_CLOEXEC));
  if (!notes_fd_.valid() || ftruncate(notes_fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return Status::Io("cannot make the table of notes", errno);
  }
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, notes_fd_.get(), 0);
  if (p == MAP_FAILED) return Status::Io("cannot map the table of notes", errno);
  notes_ = static_cast<SlotNotes*>(p);
  board_->OpenRaylet(getpid());
  port_ =
      std::make_unique<lane::Port>(board_.get(), kRayletSlot, board_->generation(kRayletSlot), bell_.get());
  router_.SetPort(port_.get(), board_.get());
  return Status::Ok();
}

void Raylet::MakeScheduler() {
  sched::LocalOptions options;
  if (!(config_.dedicated_head && head_)) options.total = FixedPoint(config_.resources);
  // What every node of Ray's has, and its head: for show, and for tasks that must run just there.
  const auto store = static_cast<int64_t>(arena_->size()) * sched::kResourceUnit;
  sched::Add(&options.total, {{"node:" + ip_, sched::kResourceUnit}, {"object_store_memory", store}});
  if (rank_ == 0) sched::Add(&options.total, {{"node:__internal_head__", sched::kResourceUnit}});
  options.cpus = config_.cpus;
  options.device_numa = config_.device_numa;
  options.max_workers =
      config_.max_workers != 0 ? config_.max_workers : static_cast<uint32_t>(board_->slots() - 8);
  scheduler_ = std::make_unique<sched::LocalScheduler>(options, this);
  heartbeats_ = std::make_unique<HeartbeatLink>(scheduler_.get(), &router_, &fence_);
}

Status Raylet::StartTransport() {
  if (config_.transport == "join") return JoinRun();
  if (config_.transport != "none") {
    if (Status s = MeetRanks(); !s.ok()) return s;
  }
  one_host_ = config_.listen.empty() && (launch_size_ == 1 || LaunchIsOneHost());
  return config_.listen.empty() || !head_ ? Status::Ok() : OpenToNodes();
}

Status Raylet::MeetRanks() {
  if (config_.transport != "mpi" && config_.transport != "direct") {
    return Status::Invalid("there is no transport '" + config_.transport + "': use mpi or direct");
  }
  std::string version;
  {
    // The keeper watches the same time, and ends us first; this is for one that cannot.
    BringUpAlarm alarm(static_cast<unsigned>(std::max(1.0, config_.bringup_timeout_s)) + 2, 1);
    MpiLaunch launch;
    if (Status s = LoadMpiTransport(config_.mpi_plugin, &launch); !s.ok()) return s;
    transport_ = std::move(launch.transport);
    secret_ = launch.secret;
    version = launch.version_info;
    hosts_ = std::move(launch.hosts);
  }
  Tell(KeeperMessage::kMet, 0, 0, "");
  rank_ = transport_->rank();
  launch_size_ = transport_->size();
  head_ = rank_ == 0;
  spdlog::info("rank {} of {} on {}, {}", rank_, transport_->size(), config_.hostname, version);
  if (config_.transport == "direct" && transport_->size() > 1) {
    if (Status s = SwitchToDirect(); !s.ok()) return s;
  }
  UseTransport(std::move(transport_));
  return Status::Ok();
}

void Raylet::UseTransport(std::unique_ptr<Transport> transport) {
  transport_ = std::move(transport);
  if (links_) {
    links_->SetTransport(transport_.get());
  } else {
    links_ = std::make_unique<PeerLinks>(transport_.get());
    router_.SetLinks(links_.get());
  }
  loop_.Add(transport_->EpollFd(), EPOLLIN, [](uint32_t) {});  // every turn polls it
}

// MPI brings the run up, and the addresses of our own sockets around; from then on it rests.
Status Raylet::SwitchToDirect() {
  DirectOptions options;
  options.rank = rank_;
  options.size = transport_->size();
  options.secret = secret_;
  if (!LaunchIsOneHost()) {
    NetInterface interface;
    if (Status s = JobInterface(&interface); !s.ok()) return s;
    options.bind_ipv4 = interface.ipv4;
  }
  std::unique_ptr<DirectTransport> direct;
  if (Status s = MakeDirectTransport(options, &direct); !s.ok()) return s;
  const std::string own = direct->LocalAddress();
  const auto* bytes = reinterpret_cast<const std::byte*>(own.data());
  for (int peer = 0; peer < options.size; ++peer) {
    if (peer != rank_) transport_->Send(peer, {bytes, bytes + own.size()});
  }
  std::map<int, std::string> addresses;
  const TimeNs deadline = MonotonicNow() + static_cast<TimeNs>(config_.bringup_timeout_s * 1e9);
  while (static_cast<int>(addresses.size()) < options.size - 1) {
    const size_t got = transport_->Poll([&](int peer, Bytes frame) {
      addresses[peer].assign(reinterpret_cast<const char*>(frame.data()), frame.size());
    });
    for (const int peer : transport_->TakeClosedPeers()) {
      const auto i = static_cast<size_t>(peer);
      return Status::Unavailable(
          fmt::format("rank {}{} died before it had joined the run: its own message says why", peer,
                      i < hosts_.size() ? " on " + hosts_[i] : ""));
    }
    if (got != 0) continue;
    if (MonotonicNow() > deadline) {
      std::string missing;
      for (int peer = 0; peer < options.size; ++peer) {
        if (peer != rank_ && addresses.count(peer) == 0) missing += " " + std::to_string(peer);
      }
      return Status::Timeout("no address came from rank" + missing + " within the bring-up timeout");
    }
    if (transport_->Arm()) loop_.Poll(MonotonicNow() + kMillisecond);
  }
  for (const auto& [peer, address] : addresses) {
    if (Status s = direct->AddPeer(peer, address); !s.ok()) return s;
  }
  // Its last frames may still be under way to others: it is kept, and polled, to the end.
  mpi_ = std::move(transport_);
  transport_ = std::move(direct);
  return Status::Ok();
}

Status Raylet::StartTransfer() {
  if (config_.ucx_plugin.empty()) return Status::Ok();
  NetInterface interface { "lo", "127.0.0.1" };
  if (!one_host_) {
    if (Status s = JobInterface(&interface); !s.ok()) return s;
  }
  ip_ = interface.ipv4;
  Transfer::Options options;
  options.secret = secret_;
  options.arena_base = arena_->data(0);
  options.arena_bytes = arena_->size();
  options.net_devices = NetDevices(interface.name);
  options.validator = [this](const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t offset,
                             uint64_t bytes) { return served_.Look(id, attempt, segment, offset, bytes); };
  options.progress = [this](const ObjectId& id, uint32_t attempt, uint32_t segment, uint64_t end) {
    served_.NoteArrived(id, attempt, segment, end);
  };
  options.log = [](const std::string& text) { spdlog::info("ucx: {}", text); };
  if (Status s = LoadTransfer(config_.ucx_plugin, std::move(options), &transfer_); !s.ok()) return s;
  loop_.Add(transfer_->EventFd(), EPOLLIN, [this](uint32_t) { OnTransfers(); });
  return Status::Ok();
}

void Raylet::OnTransfers() {
  for (const Transfer::Completion& c : transfer_->TakeCompletions()) {
    pulls_->OnFetched(c.request, c.status.ok(), c.status.message(), MonotonicNow());
  }
}

NodeRecord Raylet::OwnRecord() const {
  NodeRecord r;
  r.rank = rank_;
  r.pid = getpid();
  r.hostname = config_.hostname;
  r.ip = ip_;
  if (transfer_) r.data_address = transfer_->LocalAddress();
  r.total = scheduler_->total();
  r.labels.assign(config_.labels.begin(), config_.labels.end());
  if (config_.spill.named) r.spill_folders = config_.spill.folders;
  return r;
}

Status Raylet::BringUp() {
  if (Status s = StartTransport(); !s.ok()) return s;
  // One node needs no transfers, and no UCX library.
  if (launch_size_ > 1 || joined_ || !one_host_) {
    if (Status s = StartTransfer(); !s.ok()) return s;
  }
  MakeScheduler();
  loop_.Add(bell_.get(), EPOLLIN, [this](uint32_t) {
    uint64_t n;
    [[maybe_unused]] const ssize_t r = read(bell_.get(), &n, sizeof n);
  });
  loop_.Add(config_.keeper_fd, EPOLLIN, [this](uint32_t) { OnKeeper(); });
  if (config_.zygote_fd >= 0) loop_.Add(config_.zygote_fd, EPOLLIN, [this](uint32_t) { OnZygote(); });
  if (head_) {
    GcsOptions options;
    options.run_id = config_.run_id;
    options.hosts = hosts_;
    options.host_features = config_.host_features;
    options.bringup_timeout = static_cast<TimeNs>(config_.bringup_timeout_s * 1e9);
    options.expected_nodes = static_cast<uint32_t>(launch_size_);
    options.heartbeats.above = config_.heartbeat_tree;
    router_.SetUnreachable([this](const MessageHeader& header) {
      if (header.src == DetachedOwner()) Unreachable(header);  // the GCS is told of every death anyway
    });
    gcs_ = std::make_unique<Gcs>(options, &gcs_outbox_, this);
    detached_ = std::make_unique<DetachedActors>(&detached_outbox_, &gcs_->actor_names(), this);
    router_.SetIdentity(kHeadNode, true);
    if (config_.spill.named) objstore::spill::MarkRun(config_.spill.folders);
    gcs_->OnJoin(OwnRecord(), MonotonicNow());
    BecomeNode(kHeadNode, config_.run_id, gcs_->nodes().at(kHeadNode).labels);
  } else {
    Join join{OwnRecord()};
    Writer body;
    body(join);
    MessageHeader header;
    header.type = static_cast<uint16_t>(MsgType::kJoin);
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.dst = GcsAddress();
    links_->Queue(0, header, body.bytes());
    router_.AddNode(kHeadNode, 0);
  }
  return Status::Ok();
}

// From here on this raylet has a name, and clients may come.
void Raylet::BecomeNode(uint32_t node, uint64_t run_id, const sched::Labels& labels) {
  node_ = node;
  run_id_ = run_id;
  router_.SetIdentity(node, head_);
  scheduler_->SetNode(node, labels);
  store_ = std::make_unique<objstore::Store>(arena_.get(), pins_.get(), node);
  StartSpiller();
  pulls_ = std::make_unique<PullManager>(node, store_.get(), &router_, this);
  if (!joined_ || !one_host_) StartPrefault();
  kernel_kills_ = ReadOomKills("");
  const TimeNs now = MonotonicNow();
  fence_.Start(now);
  heartbeats_->Start(head_, now);
  loop_.Add(config_.listen_fd, EPOLLIN, [this](uint32_t) { OnConnect(); });
  Tell(KeeperMessage::kReady, 0, 0, NodeHex(run_id, node));
  if (config_.zygote_fd >= 0 && config_.prestart_python) {
    scheduler_->Prestart(JobId{}, kPythonLanguage, config_.prestart_workers);
  }
}

void Raylet::StartPrefault() {
  prefault_bell_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  objstore::Prefaulter::Options options;
  // A third of the arena, at most 1 GiB: enough that the first large puts find warm pages.
  options.budget_bytes = std::min<uint64_t>(arena_->size() / 3, 1ULL << 30);
  options.busy_percent = 25;
  const int bell = prefault_bell_.get();
  options.wake = [bell] {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(bell, &one, sizeof one);
  };
  options.may_take = [](uint64_t) { return true; };
  prefaulter_ = std::make_unique<objstore::Prefaulter>(arena_.get(), options);
  loop_.Add(bell, EPOLLIN, [this](uint32_t) {
    uint64_t n;
    [[maybe_unused]] const ssize_t r = read(prefault_bell_.get(), &n, sizeof n);
    if (prefaulter_ && !prefaulter_->Pump(store_->allocator())) {
      loop_.Remove(prefault_bell_.get());
      prefaulter_.reset();
    }
  });
}

}  // namespace rmpi
