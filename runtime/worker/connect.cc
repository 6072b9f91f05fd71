// SPDX-License-Identifier: Apache-2.0
// CoreWorker's connection: session file, handshake, mapping of the shared memory, and the end of it all.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "runtime/base/fd_passing.h"
#include "runtime/base/session_socket.h"
#include "runtime/worker/impl.h"

namespace rmpi {
namespace {

// The head answers within 5 s, or is gone, which ends the wait.
constexpr TimeNs kJobOverPatience = 8 * kSecond;
constexpr TimeNs kUninterrupted = 1500 * kMillisecond;  // then a signal (Ctrl-C) ends the wait

std::atomic<CoreWorker*> current{nullptr};
std::atomic<uint32_t> current_epoch{0};
uint32_t next_epoch = 1;

Status SendHello(int fd, const CoreWorker::Options& options) {
  ClientHello hello;
  hello.is_driver = options.mode == CoreWorker::Mode::kDriver;
  hello.wants_logs = options.log_to_driver;
  hello.spawn_token = options.spawn_token;
  const auto* head = reinterpret_cast<const std::byte*>(&hello);
  std::vector<std::byte> datagram(head, head + sizeof hello);
  if (hello.is_driver) {
    JobMessage job;
    job.ray_namespace = options.ray_namespace;
    job.language = options.language;
    job.native_worker = options.native_worker;
    job.native_worker_cwd = options.native_worker_cwd;
    Writer writer;
    writer(job);
    datagram.insert(datagram.end(), writer.bytes().begin(), writer.bytes().end());
    if (datagram.size() > kMaxHelloBytes) {
      return Status::Invalid(fmt::format(
          "the command line of the C++ workers and the namespace are {} bytes: at most {} are taken",
          datagram.size() - sizeof hello, kMaxHelloBytes - sizeof hello));
    }
  }
  if (send(fd, datagram.data(), datagram.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(datagram.size())) {
    return Status::Unavailable("the runtime at " + options.session + " does not listen any more");
  }
  return Status::Ok();
}

Status ReceiveWelcome(int fd, ClientWelcome* welcome, UniqueFd* fds) {
  ssize_t n;
  do {
    n = ReceiveFds(fd, welcome, sizeof *welcome, {fds, kWelcomeFds}, 0);
  } while (n < 0 && errno == EINTR);
  if (n != sizeof *welcome || welcome->magic != kHelloMagic) {
    return Status::Unavailable(
        "the runtime closed the connection before it answered: it is ending, or has failed");
  }
  if (welcome->refused) return Status::Unavailable(welcome->text);
  if (!fds[kWelcomeFds - 1].valid()) return Status::Internal("the runtime sent no shared memory");
  return Status::Ok();
}

// Ray's name for it: how much each process keeps to make lost objects again.
Status SetLineageCap(core::Core* core) {
  const char* text = std::getenv("RAY_max_lineage_bytes");
  if (text == nullptr || *text == '\0') return Status::Ok();
  uint64_t bytes = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, bytes);
  if (error != std::errc() || rest != end) {
    return Status::Invalid(fmt::format("RAY_max_lineage_bytes={} is not a number of bytes", text));
  }
  core->tasks().lineage().SetCap(bytes);
  return Status::Ok();
}

void InChildOfUserFork() {
  // A child that user code forked shares our memory but is nobody to the runtime: its handles are inert.
  current.store(nullptr);
  current_epoch.store(0);
}

}  // namespace

CoreWorker::CoreWorker() : impl_(std::make_unique<Impl>()) {}

CoreWorker* CoreWorker::Current() { return current.load(std::memory_order_acquire); }

Status CoreWorker::Connect(const Options& options, std::unique_ptr<CoreWorker>* out) {
  if (Current() != nullptr) return Status::Invalid("this process is connected to a runtime already");
  std::unique_ptr<CoreWorker> worker(new CoreWorker);
  if (Status s = worker->impl_->Connect(options); !s.ok()) {
    worker->impl_->stop_ = true;
    return s;
  }
  static const int once = pthread_atfork(nullptr, nullptr, InChildOfUserFork);
  (void)once;
  current_epoch.store(worker->impl_->epoch_);
  current.store(worker.get(), std::memory_order_release);
  *out = std::move(worker);
  return Status::Ok();
}

Status CoreWorker::Impl::Connect(const Options& options) {
  session_ = options.session;
  mode_ = options.mode;
  if (Status s = SetLineageCap(&core_); !s.ok()) return s;
  if (Status s = ConnectToSession(session_, &socket_); !s.ok()) return s;
  if (Status s = SendHello(socket_.get(), options); !s.ok()) return s;
  ClientWelcome welcome;
  UniqueFd fds[kWelcomeFds];
  if (Status s = ReceiveWelcome(socket_.get(), &welcome, fds); !s.ok()) return s;
  if (Status s = lane::Board::Map(fds[0].get(), &board_); !s.ok()) return s;
  std::unique_ptr<objstore::Arena> arena;
  if (Status s = objstore::Arena::Map(fds[1].get(), 0, &arena); !s.ok()) return s;
  arena_ = std::move(arena);
  if (Status s = objstore::PinTable::Map(fds[2].get(), &pins_); !s.ok()) return s;
  raylet_bell_ = std::move(fds[3]);
  notes_bytes_ = board_->slots() * sizeof(SlotNotes);
  void* p = mmap(nullptr, notes_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fds[4].get(), 0);
  if (p == MAP_FAILED) return Status::Io("cannot map the table of notes", errno);
  notes_ = static_cast<SlotNotes*>(p);
  if (mode_ == Mode::kWorker) {
    if (Status s = ReadDeviceNames(); !s.ok()) return s;
  }
  self_ = welcome.address;
  run_id_ = welcome.run_id;
  epoch_ = next_epoch++;
  core_.SetIdentity(self_, welcome.job);
  core_.objects().SetEpoch(epoch_);
  core_.objects().OnUnreadError([this, tell = options.on_unread_error](const Blob& error) {
    if (!tell || gone_ || core_.tasks().draining()) return;
    core_.objects().AddDue([tell, error] { tell(error.bytes()); });
  });
  claims_ = std::make_unique<lane::ClaimWriter>(board_.get(), self_.slot);
  port_ = std::make_unique<lane::Port>(board_.get(), self_.slot, self_.generation, raylet_bell_.get());
  client_ = std::make_unique<objstore::Client>(arena_.get(), pins_.get(), self_.node, self_.slot);
  if (mode_ == Mode::kDriver && options.log_to_driver) {
    const auto printed = [this](const Address& from, uint64_t bytes) {
      const std::lock_guard<std::mutex> lock(mutex_);
      Send(from, MsgType::kLogAck, LogAck{bytes});
      FlushLanes();
    };
    printer_ = std::make_unique<LogPrinter>(options.log_fd_out, options.log_fd_err, printed);
  }
  port_->Publish(lane::Sleeper::kBackground);
  // Signals belong to the program's own threads.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  background_ = std::thread([this] { Background(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_setname_np(background_.native_handle(), "ray-mpi-io");
  return Status::Ok();
}

bool CoreWorker::Impl::RayletGone() {
  pollfd p{socket_.get(), POLLIN | POLLRDHUP, 0};
  return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLIN)) != 0;
}

CoreWorker::~CoreWorker() {
  if (impl_ == nullptr) return;
  impl_->Disconnect();
  // Handles that outlive us still read their ids: the table stays as long as somebody may hold one.
  static auto* graveyard = new std::vector<std::unique_ptr<Impl>>;
  bool empty;
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex_);
    empty = impl_->core_.objects().owned_count() == 0 && impl_->core_.objects().borrowed_count() == 0;
  }
  if (!empty) graveyard->push_back(std::move(impl_));
}

void CoreWorker::Impl::Disconnect() {
  if (!background_.joinable()) return;
  if (mode_ == Mode::kDriver && !gone_) {
    // The job is over when its workers are gone and their last output has come.
    std::unique_lock<std::mutex> lock(mutex_);
    const uint64_t nonce = next_nonce_++;
    asked_[nonce] = true;
    core_.tasks().Drain();
    Send(RayletOf(self_.node), MsgType::kJobOver, Nonce{nonce});
    Blob reply;
    const TimeNs start = MonotonicNow();
    while (Ask(lock, nonce, start + kJobOverPatience, &reply).code() == StatusCode::kInterrupted &&
           MonotonicNow() - start < kUninterrupted) {
    }
  }
  {  // nothing comes after this: who still waits for an object is told
    std::unique_lock<std::mutex> lock(mutex_);
    BecomeGone();
    RunDue(lock);
  }
  CoreWorker* self = CoreWorker::Current();
  current_epoch.store(0);
  if (self != nullptr) current.store(nullptr, std::memory_order_release);
  stop_ = true;
  port_->Kick(lane::Sleeper::kBackground);
  background_.join();
  if (printer_) printer_->Finish();
  socket_.reset();
  munmap(notes_, notes_bytes_);
  notes_ = nullptr;
}

// ---- Ref --------------------------------------------------------------------------------------------------

Ref::Ref(const Ref& o) : entry_(o.entry_) {
  if (entry_ != nullptr) entry_->handles.fetch_add(1, std::memory_order_relaxed);
}

Ref::~Ref() {
  if (entry_ == nullptr) return;
  CoreWorker* worker = CoreWorker::Current();
  if (worker == nullptr || entry_->epoch != current_epoch.load(std::memory_order_relaxed)) return;
  // Not the last one: nothing follows from it, and no lock is needed.
  uint32_t count = entry_->handles.load(std::memory_order_relaxed);
  while (count > 1) {
    if (entry_->handles.compare_exchange_weak(count, count - 1, std::memory_order_release)) return;
  }
  auto& impl = *worker->impl_;
  const std::lock_guard<std::mutex> lock(impl.mutex_);
  impl.core_.objects().DropHandle(entry_);
  impl.core_.Settle(MonotonicNow());
  impl.FlushLanes();
}

bool CoreWorker::Knows(const Ref& ref) const { return ref.entry()->epoch == impl_->epoch_; }

const ObjectId& Ref::id() const { return entry_->id; }
bool Ref::ready() const { return !entry_->pending(); }

}  // namespace rmpi
