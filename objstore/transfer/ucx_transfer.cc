// SPDX-License-Identifier: Apache-2.0
#include "objstore/transfer/ucx_transfer.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>

namespace rmpi::transfer {
namespace {

void Ring(int event) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(event, &one, sizeof(one));
}

void Silence(int event) {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(event, &count, sizeof(count));
}

constexpr int kProgressBurst = 256;
// How long the thread looks for more before it sleeps, while operations are under way: waking it costs more.
constexpr TimeNs kSpin = 30 * kMicrosecond;
// With operations under way, how long to trust UCX's event descriptor alone.
constexpr int kSleepBusyMs = 100;

}  // namespace

UcxTransfer::UcxTransfer(Options options) : options_(std::move(options)) {}

Status UcxTransfer::Start() {
  if (options_.chunk_bytes == 0 || options_.chunks_in_flight == 0) {
    return Status::Invalid("transfer: chunk_bytes and chunks_in_flight must be positive");
  }
  RedirectUcxLog(options_.log);
  if (const Status s = worker_.Init(options_.net_devices); !s.ok()) return s;
  if (const Status s = worker_.OnMessage(kRequestId, OnRequest, this); !s.ok()) return s;
  if (const Status s = worker_.OnMessage(kAnswerId, OnAnswer, this); !s.ok()) return s;
  // Tokens of another life of this address must not fit.
  if (getrandom(&next_token_, sizeof(next_token_), 0) != sizeof(next_token_))
    return Status::Io("getrandom", errno);
  own_key_ = KeyOf(options_.secret, worker_.address().data(), worker_.address().size());
  command_event_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  completion_event_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!command_event_.valid() || !completion_event_.valid() || !epoll_.valid()) {
    return Status::Io("transfer: making an eventfd", errno);
  }
  for (const int fd : {command_event_.get(), worker_.event_fd()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return Status::Io("transfer: epoll_ctl", errno);
  }
  if (options_.arena_base != nullptr) Do(Segment{0, options_.arena_base, options_.arena_bytes});
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "rmpi-data");
  return Status::Ok();
}

UcxTransfer::~UcxTransfer() {
  if (!thread_.joinable()) return;
  Push(Stop{});
  thread_.join();
  RedirectUcxLog(nullptr);  // the log may end before UCX's threads do
}

// ---- control thread ---------------------------------------------------------------------------------------

void UcxTransfer::Push(Command command) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = commands_.empty();
    commands_.push_back(std::move(command));
  }
  if (first) Ring(command_event_.get());
}

Status UcxTransfer::AddPeer(uint32_t node, const std::string& address) {
  if (address.empty())
    return Status::Invalid("transfer: node " + std::to_string(node) + " has an empty address");
  Push(Add{node, address});
  return Status::Ok();
}

void UcxTransfer::Fetch(uint64_t request, uint32_t node, const ObjectId& id, uint32_t attempt, Place from,
                        Place to, uint64_t bytes, bool coming) {
  Push(Pull{request, node, id, attempt, from, to, bytes, coming});
}

std::vector<Transfer::Completion> UcxTransfer::TakeCompletions() {
  Silence(completion_event_.get());  // before the look: a later completion rings again
  const std::lock_guard lock(mutex_);
  return std::exchange(completions_, {});
}

Transfer::Counters UcxTransfer::counters() const {
  return {counters_.bytes_in.load(),   counters_.bytes_out.load(), counters_.chunks_in.load(),
          counters_.chunks_out.load(), counters_.refused.load(),   counters_.gone.load()};
}

// ---- data thread ------------------------------------------------------------------------------------------

void UcxTransfer::Run() {
  while (TakeCommands()) {
    bool moved = false;
    for (int i = 0; i < kProgressBurst && ucp_worker_progress(worker_.get()) != 0; ++i) moved = true;
    ServeRequests();
    MendLinks();
    for (const uint64_t key : std::exchange(to_pump_, {})) Pump(LinkOf(key));
    if (!moved) Sleep();
  }
  CloseAll();
}

void UcxTransfer::Sleep() {
  const bool busy = sending_ + receiving_ + closing_ > 0 || !chunks_.empty();
  if (busy) {
    const TimeNs until = MonotonicNow() + kSpin;
    do {
      if (ucp_worker_progress(worker_.get()) != 0) return;
    } while (MonotonicNow() < until);
  }
  if (!requests_.empty() || look_again_ || !to_pump_.empty() || !to_mend_.empty()) return;
  if (ucp_worker_arm(worker_.get()) != UCS_OK) return;  // busy: there is something to progress
  epoll_event events[2];
  const int ready = epoll_wait(epoll_.get(), events, 2, busy ? kSleepBusyMs : -1);
  for (int i = 0; i < ready; ++i) {
    // Here, before the next look at the commands, and nowhere else: one that comes after that look rings
    // again.
    if (events[i].data.fd == command_event_.get()) Silence(command_event_.get());
  }
}

bool UcxTransfer::TakeCommands() {
  std::vector<Command> commands;
  {
    const std::lock_guard lock(mutex_);
    if (commands_.empty()) return true;
    commands.swap(commands_);
  }
  for (Command& command : commands) {
    if (std::holds_alternative<Stop>(command)) return false;
    std::visit(
        [this](auto& c) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(c)>, Stop>) Do(std::move(c));
        },
        command);
  }
  return true;
}

void UcxTransfer::Do(Add command) {
  Link* link = AddLink(command.address);
  nodes_[command.node] = link->key;
}

void UcxTransfer::Do(Drop command) {
  const auto found = nodes_.find(command.node);
  if (found == nodes_.end()) return;
  Link* link = LinkOf(found->second);
  link->dead = true;
  FailFetches(link->key,
              Status::Unavailable("node " + std::to_string(command.node) + " died during a transfer"),
              /*force=*/link->endpoint == nullptr);
  if (link->endpoint != nullptr && link->closing == nullptr) CloseLink(link);
}

void UcxTransfer::Do(Segment command) {
  segments_[command.segment] = command;
  worker_.Register(command.base, command.bytes);
}

void UcxTransfer::Do(Pull command) {
  const auto node = nodes_.find(command.node);
  Link* link = node == nodes_.end() ? nullptr : LinkOf(node->second);
  if (link == nullptr || link->dead) {
    return Complete(
        command.request,
        Status::Unavailable("node " + std::to_string(command.node) + " is not (or no longer) known"), 0);
  }
  if (At(command.to.segment, command.to.offset, command.bytes) == nullptr) {
    return Complete(command.request,
                    Status::Invalid("transfer: the destination is not inside this node's arena"), 0);
  }
  const auto [open, fresh] =
      fetches_.try_emplace(command.request, Open{command, link->key, 0, 0, 0, 0, 0, {}, false, {}});
  if (!fresh) {
    return Complete(
        command.request,
        Status::Invalid("transfer: request " + std::to_string(command.request) + " is already under way"), 0);
  }
  link->line.push_back(command.request);
  to_pump_.push_back(link->key);
}

void UcxTransfer::Do(Revoke command) {
  const auto found = fetches_.find(command.request);
  if (found != fetches_.end()) Fail(&found->second, {StatusCode::kInterrupted, "transfer cancelled"});
}

void UcxTransfer::Complete(uint64_t request, Status status, uint64_t bytes) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = completions_.empty();
    completions_.push_back({request, std::move(status), bytes});
  }
  if (first) Ring(completion_event_.get());
}

std::byte* UcxTransfer::At(uint32_t segment, uint64_t offset, uint64_t bytes) const {
  const auto found = segments_.find(segment);
  if (found == segments_.end() || offset > found->second.bytes || bytes > found->second.bytes - offset)
    return nullptr;
  return found->second.base + offset;
}

}  // namespace rmpi::transfer

extern "C" __attribute__((visibility("default"))) void RayMpiMakeTransfer(
    rmpi::Transfer::Options* options, std::unique_ptr<rmpi::Transfer>* out, rmpi::Status* status) {
  auto transfer = std::make_unique<rmpi::transfer::UcxTransfer>(std::move(*options));
  *status = transfer->Start();
  if (status->ok()) *out = std::move(transfer);
}
