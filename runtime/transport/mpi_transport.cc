// SPDX-License-Identifier: Apache-2.0
#include "runtime/transport/mpi_transport.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>

namespace rmpi {
namespace {

constexpr int kTag = 1, kUnusedTag = 2;
constexpr size_t kReceiveBuffers = 8;
// What MPI may hold for one peer unacknowledged, and how soon the receiver acknowledges.
constexpr size_t kWindowBytes = 2 * 1024 * 1024;
constexpr size_t kWindowFrames = 256;
constexpr size_t kTellBytes = 256 * 1024;
constexpr uint32_t kTellFrames = 64;
// Kinds of a bare acknowledgement, in the place of a sequence.
constexpr uint32_t kNoAnswer = 0, kAnswer = 1;
constexpr size_t kFramesPerPoll = 256;
constexpr TimeNs kBackOffMin = 50 * kMicrosecond, kBackOffMax = 2 * kMillisecond;
constexpr TimeNs kFlushLimit = kSecond;
constexpr TimeNs kFinalizeLimit = 2 * kSecond;

// A request that is complete from the start.
MPI_Request DoneRequest() {
  const auto query = [](void*, MPI_Status* status) {
    MPI_Status_set_cancelled(status, 0);
    return MPI_Status_set_elements(status, MPI_BYTE, 0);
  };
  const auto free = [](void*) { return MPI_SUCCESS; };
  const auto cancel = [](void*, int) { return MPI_SUCCESS; };
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Grequest_start(query, free, cancel, nullptr, &request);
  MPI_Grequest_complete(request);
  return request;
}

}  // namespace

MpiTransport::MpiTransport(MPI_Comm comm, std::unique_ptr<MpiSockets> sockets, bool sleepable)
    : comm_(comm), sockets_(std::move(sockets)), sleepable_(sleepable) {
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
  peers_.resize(static_cast<size_t>(size_));
  receives_.assign(kReceiveBuffers, MPI_REQUEST_NULL);
  buffers_.resize(kReceiveBuffers);
  for (size_t i = 0; i < kReceiveBuffers; ++i) {
    buffers_[i].resize(kMaxFrameBytes + sizeof(Trailer));
    PostReceive(i);
  }
  if (!sleepable_) {
    timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    sockets_->Add(timer_.get());
  }
}

MpiTransport::~MpiTransport() {
  if (down_) return;
  // Left without Shutdown: MPI may still write to or read from these until the process ends.
  new std::vector<std::vector<std::byte>>(std::move(buffers_));
  new std::vector<Sending>(std::move(sending_));
  new std::vector<Sending>(std::move(parked_));
}

MpiTransport::Peer* MpiTransport::At(int peer) {
  if (peer < 0 || peer >= size_) return nullptr;
  auto& p = peers_[static_cast<size_t>(peer)];
  if (!p) p = std::make_unique<Peer>();
  return p.get();
}

const MpiTransport::Peer* MpiTransport::Find(int peer) const {
  return peer < 0 || peer >= size_ ? nullptr : peers_[static_cast<size_t>(peer)].get();
}

void MpiTransport::PostReceive(size_t i) {
  MPI_Irecv(buffers_[i].data(), static_cast<int>(buffers_[i].size()), MPI_BYTE, MPI_ANY_SOURCE, kTag, comm_,
            &receives_[i]);
}

void MpiTransport::Send(int peer, std::vector<std::byte> frame) {
  Peer* p = At(peer);
  if (p == nullptr || p->dead || down_ || frame.empty() || frame.size() > kMaxFrameBytes) return;
  p->queued_bytes += frame.size();
  p->queued.push_back(std::move(frame));
  Pump(peer, p);
}

size_t MpiTransport::InFlight(int peer) const {
  const Peer* p = Find(peer);
  return p == nullptr ? 0 : p->queued_bytes + p->unacked_bytes;
}

// Hands queued frames to MPI as far as the window allows.
void MpiTransport::Pump(int peer, Peer* p) {
  while (!p->mute && !p->queued.empty() && p->unacked.size() < kWindowFrames &&
         p->unacked_bytes + p->queued.front().size() <= kWindowBytes) {
    std::vector<std::byte> frame = std::move(p->queued.front());
    p->queued.pop_front();
    const size_t bytes = frame.size();
    p->queued_bytes -= bytes;
    p->unacked_bytes += bytes;
    p->unacked.push_back(static_cast<uint32_t>(bytes));
    PostSend(peer, p, std::move(frame), p->sent++);
  }
}

void MpiTransport::PostSend(int peer, Peer* p, std::vector<std::byte> frame, uint32_t sequence) {
  if (p->mute) return;
  if (!p->contacted) {
    p->contacted = true;
    sockets_->ExpectChange();
  }
  const Trailer trailer{sequence, p->delivered};
  p->told = p->delivered;
  p->untold_bytes = 0;
  const size_t bytes = frame.size();
  frame.resize(bytes + sizeof(trailer));
  std::memcpy(frame.data() + bytes, &trailer, sizeof(trailer));
  LookAtSockets(peer, p);
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Isend(frame.data(), static_cast<int>(frame.size()), MPI_BYTE, peer, kTag, comm_, &request);
  if (request == MPI_REQUEST_NULL) return;
  sends_.push_back(request);
  sending_.push_back({peer, std::move(frame)});
}

// A send that finds its connection reset leaves an event of Open MPI 4.1 behind on a closed socket, and the
// next send, which connects anew, would tie it into a ring: MPI would never return. In between, MPI has to
// see what it left.
void MpiTransport::LookAtSockets(int peer, Peer* p) {
  if (p->given_at == progress_) {
    int found = 0;
    MPI_Iprobe(peer, kUnusedTag, comm_, &found, MPI_STATUS_IGNORE);
    ++progress_;
  }
  p->given_at = progress_;
}

void MpiTransport::Acknowledge(int peer, Peer* p, uint32_t kind) { PostSend(peer, p, {}, kind); }

bool MpiTransport::Progress() {
  const bool received = ReapReceives(/*progress=*/true);
  if (!received) ++progress_;
  const bool sent = ReapSends();
  return received || sent;
}

bool MpiTransport::ReapSends() {
  if (sends_.empty()) return false;
  indices_.resize(sends_.size());
  int done = 0;
  MPI_Testsome(static_cast<int>(sends_.size()), sends_.data(), &done, indices_.data(), MPI_STATUSES_IGNORE);
  if (done == MPI_UNDEFINED || done <= 0) return false;
  size_t kept = 0;
  for (size_t i = 0; i < sends_.size(); ++i) {
    if (sends_[i] == MPI_REQUEST_NULL) continue;
    if (kept != i) {
      sends_[kept] = sends_[i];
      sending_[kept] = std::move(sending_[i]);
    }
    ++kept;
  }
  sends_.resize(kept);
  sending_.resize(kept);
  return true;
}

// Without `progress` it only looks. Testsome looks first, and progresses only if nothing is done; so a
// request that is done already keeps it from that. What progress itself completes shows in the next call
// only.
bool MpiTransport::ReapReceives(bool progress) {
  const size_t count = receives_.size();
  if (!progress) receives_.push_back(DoneRequest());
  indices_.resize(receives_.size());
  statuses_.resize(receives_.size());
  int done = 0;
  MPI_Testsome(static_cast<int>(receives_.size()), receives_.data(), &done, indices_.data(),
               statuses_.data());
  receives_.resize(count);
  if (done == MPI_UNDEFINED) return false;
  bool any = false;
  for (int i = 0; i < done; ++i) {
    const auto& status = statuses_[static_cast<size_t>(i)];
    const int buffer = indices_[static_cast<size_t>(i)];
    if (static_cast<size_t>(buffer) >= count) continue;
    int bytes = 0;
    if (MPI_Get_count(&status, MPI_BYTE, &bytes) != MPI_SUCCESS || bytes == MPI_UNDEFINED) bytes = 0;
    TakeMessage(status.MPI_SOURCE, buffer, static_cast<size_t>(bytes));
    any = true;
  }
  return any;
}

// Files one message: acknowledgement first, then the frame, in its turn.
void MpiTransport::TakeMessage(int peer, int buffer, size_t bytes) {
  const auto index = static_cast<size_t>(buffer);
  Peer* p = At(peer);
  if (p == nullptr || p->dead || bytes < sizeof(Trailer)) return PostReceive(index);
  if (!p->contacted) {
    p->contacted = true;
    sockets_->ExpectChange();
  }
  bytes -= sizeof(Trailer);
  Trailer trailer;
  std::memcpy(&trailer, buffers_[index].data() + bytes, sizeof(trailer));
  TakeAcknowledgement(peer, p, trailer.delivered);
  if (bytes == 0) {
    if (trailer.sequence == kAnswer) Acknowledge(peer, p, kNoAnswer);
    return PostReceive(index);
  }
  if (trailer.sequence != p->received) {
    const std::byte* begin = buffers_[index].data();
    p->early.emplace(trailer.sequence, std::vector<std::byte>(begin, begin + bytes));
    return PostReceive(index);
  }
  ready_.push_back({peer, bytes, buffer, {}});
  ++p->received;
  for (auto next = p->early.find(p->received); next != p->early.end(); next = p->early.find(p->received)) {
    const size_t early_bytes = next->second.size();
    ready_.push_back({peer, early_bytes, -1, std::move(next->second)});
    p->early.erase(next);
    ++p->received;
  }
}

void MpiTransport::TakeAcknowledgement(int peer, Peer* p, uint32_t delivered) {
  // `sent - unacked.size()` frames were known as delivered before; the counters wrap.
  const uint32_t before = p->sent - static_cast<uint32_t>(p->unacked.size());
  uint32_t fresh = delivered - before;
  if (fresh > p->unacked.size()) return;  // overtaken by a later acknowledgement
  for (; fresh > 0; --fresh) {
    p->unacked_bytes -= p->unacked.front();
    p->unacked.pop_front();
  }
  Pump(peer, p);
}

void MpiTransport::Handled(int peer, Peer* p, size_t bytes) {
  ++p->delivered;
  p->untold_bytes += bytes;
  if (p->delivered - p->told >= kTellFrames || p->untold_bytes >= kTellBytes) Acknowledge(peer, p, kNoAnswer);
}

size_t MpiTransport::Poll(const FrameHandler& handler) {
  if (down_) return 0;
  if (sleepable_) sockets_->LookForConnections();
  // Nothing that is given to MPI for a peer that is gone arrives, and it would connect to it anew each time.
  for (const MpiSockets::HungUp& h : sockets_->hung_up()) At(h.peer)->mute = true;
  size_t frames = 0;
  do {
    progressed_ |= Progress();
    if (ready_.empty()) break;
    while (!ready_.empty() && frames < kFramesPerPoll) {
      Arrived arrived = std::move(ready_.front());
      ready_.pop_front();
      Peer* p = At(arrived.peer);
      if (!p->dead) {
        const std::byte* data =
            arrived.buffer < 0 ? arrived.copy.data() : buffers_[static_cast<size_t>(arrived.buffer)].data();
        handler(arrived.peer, Bytes(data, arrived.bytes));
        if (!p->dead) Handled(arrived.peer, p, arrived.bytes);  // the handler may have dropped it
        ++frames;
      }
      if (arrived.buffer >= 0) PostReceive(static_cast<size_t>(arrived.buffer));
    }
  } while (frames < kFramesPerPoll);
  if (frames > 0) back_off_ = 0;
  return frames;
}

// The order matters. After the last progress the sockets must be seen empty, and after that, without another
// progress, the requests: a frame that was read but not reported would sleep with us.
bool MpiTransport::Arm() {
  if (down_) return true;
  if (sleepable_) sockets_->LookForConnections();
  progressed_ |= Progress();
  if (!ready_.empty()) return false;
  if (!sleepable_) return ArmTimer();
  const bool news = sockets_->Check(progressed_);
  progressed_ = false;
  return !news && !ReapReceives(/*progress=*/false);
}

bool MpiTransport::ArmTimer() {
  uint64_t expirations;
  [[maybe_unused]] const ssize_t n = read(timer_.get(), &expirations, sizeof(expirations));
  back_off_ = std::clamp(back_off_ + back_off_ / 2, kBackOffMin, kBackOffMax);
  itimerspec when{};
  when.it_value.tv_nsec = back_off_;
  timerfd_settime(timer_.get(), 0, &when, nullptr);
  return true;
}

void MpiTransport::DropPeer(int peer) {
  Peer* p = At(peer);
  if (p == nullptr || p->dead) return;
  p->dead = true;
  p->queued.clear();
  p->unacked.clear();
  p->early.clear();
  p->queued_bytes = p->unacked_bytes = p->untold_bytes = 0;
  size_t kept = 0;
  for (size_t i = 0; i < sends_.size(); ++i) {
    if (sending_[i].peer == peer) {
      parked_.push_back(std::move(sending_[i]));  // cancelling a send is not safe; forgetting its request is
      continue;
    }
    if (kept != i) {
      sends_[kept] = sends_[i];
      sending_[kept] = std::move(sending_[i]);
    }
    ++kept;
  }
  sends_.resize(kept);
  sending_.resize(kept);
}

bool MpiTransport::Flushed(bool need_acks) const {
  if (!sends_.empty()) return false;
  return std::all_of(peers_.begin(), peers_.end(), [need_acks](const auto& p) {
    return !p || p->mute || (p->queued.empty() && (!need_acks || p->unacked.empty()));
  });
}

// With everybody alive MPI_Finalize itself waits for what MPI holds. Without it, the peers' acknowledgements
// are the only proof that our last frames left MPI's buffers, so ask for them.
void MpiTransport::Shutdown(bool all_peers_alive) {
  if (down_) return;
  if (!all_peers_alive) {
    for (int i = 0; i < size_; ++i) {
      if (Peer* p = peers_[static_cast<size_t>(i)].get(); p && !p->dead && !p->mute && !p->unacked.empty())
        Acknowledge(i, p, kAnswer);
    }
  }
  const TimeNs limit = MonotonicNow() + kFlushLimit;
  while (!Flushed(!all_peers_alive) && MonotonicNow() < limit) {
    Progress();
    while (!ready_.empty()) {  // nobody listens any more, but the sender's window must move
      const Arrived arrived = std::move(ready_.front());
      ready_.pop_front();
      if (Peer* p = At(arrived.peer); !p->dead) Handled(arrived.peer, p, arrived.bytes);
      if (arrived.buffer >= 0) PostReceive(static_cast<size_t>(arrived.buffer));
    }
    usleep(50);
  }
  if (!all_peers_alive || !parked_.empty()) return;  // without Finalize: it may hang for the dead

  for (MPI_Request& r : receives_) {
    if (r == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&r);
    MPI_Request_free(&r);
  }
  std::mutex mutex;
  std::condition_variable done;
  bool finalized = false;
  std::thread watchdog([&] {
    std::unique_lock lock(mutex);
    if (done.wait_for(lock, std::chrono::nanoseconds(kFinalizeLimit), [&] { return finalized; })) return;
    fprintf(stderr, "ray-mpi: rank %d leaves without MPI_Finalize, which did not return in %lld s\n", rank_,
            static_cast<long long>(kFinalizeLimit / kSecond));
    _exit(0);
  });
  MPI_Finalize();
  {
    std::lock_guard lock(mutex);
    finalized = true;
  }
  done.notify_one();
  watchdog.join();
  down_ = true;
}

}  // namespace rmpi
