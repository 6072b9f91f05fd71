// SPDX-License-Identifier: Apache-2.0
// Who reads this process's lanes, and when: the thread that waits, else the background thread.
#include <unistd.h>

#include <cstring>

#include "runtime/worker/impl.h"

namespace rmpi {
namespace {

constexpr size_t kBatch = 128;  // messages per hold of the core lock
constexpr TimeNs kSpin = 50 * kMicrosecond;
constexpr TimeNs kLookAtSocket = 500 * kMillisecond;
constexpr TimeNs kWaiterNap = 20 * kMillisecond;  // of a thread that waits while another one drives
constexpr TimeNs kCoalesce = 200 * kMicrosecond;  // the background thread is rung at most this often

}  // namespace

void CoreWorker::Impl::Post(const Address& to, MsgType type, Bytes body) {
  MessageHeader header;
  header.type = static_cast<uint16_t>(type);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.src = self_;
  header.dst = to;
  if (to == self_) {
    to_self_.emplace_back(header, Blob::Copy(body));
    return;
  }
  const std::array<Bytes, 2> parts = {Bytes(reinterpret_cast<const std::byte*>(&header), sizeof header),
                                      body};
  const bool here = to.node == self_.node && !InRaylet(to);
  if (here && port_->Send(to.slot, to.generation, parts)) return;
  // The raylet passes it on, or says that there is nobody.
  port_->Send(kRayletSlot, board_->generation(kRayletSlot), parts);
}

size_t CoreWorker::Impl::DrainLocked() {
  const TimeNs now = MonotonicNow();
  const size_t n = port_->Drain(
      [&](uint16_t slot, uint32_t generation, Bytes message) {
        MessageHeader header;
        if (message.size() < sizeof header) return;
        std::memcpy(&header, message.data(), sizeof header);
        const Bytes body = message.subspan(sizeof header);
        if (header.version != kWireVersion || header.body_bytes != body.size()) return;
        const bool honest =
            slot == kRayletSlot ||
            (header.src.node == self_.node && header.src.slot == slot && header.src.generation == generation);
        if (!honest) return;
        if (header.type == static_cast<uint16_t>(MsgType::kEof)) {
          eofs_.emplace_back(header, Blob::Copy(body));
        } else {
          core_.OnMessage(header, body, now);
        }
      },
      kBatch);
  while (const auto peer = port_->TakeCorruptPeer()) {
    if (peer->slot == kRayletSlot) {
      BecomeGone();
    } else {
      Send(RayletOf(self_.node), MsgType::kCorruptPeer,
           CorruptPeer{{self_.node, peer->slot, 0, peer->generation}});
    }
  }
  HandleOwnMail();
  // EOF is the last word of a process: what it wrote to us directly comes first.
  for (size_t i = eofs_.size(); i-- > 0;) {
    const auto [header, body] = std::move(eofs_.front());
    eofs_.pop_front();
    Eof eof;
    Reader reader(body.bytes());
    reader(eof);
    if (!reader.Done()) continue;
    if (eof.who.node == self_.node && !port_->DrainedFrom(eof.who.slot, eof.who.generation)) {
      eofs_.emplace_back(header, body);
      continue;
    }
    core_.OnMessage(header, body.bytes(), now);
    if (eof.who.node == self_.node) port_->ForgetPeer(eof.who.slot, eof.who.generation);
  }
  if (now >= core_.NextDeadline()) core_.OnTimer(now);
  if (n != 0 && waiters_ != 0) progress_.notify_all();
  return n;
}

void CoreWorker::Impl::HandleOwnMail() {
  while (!to_self_.empty()) {
    const auto [header, body] = std::move(to_self_.front());
    to_self_.pop_front();
    core_.OnMessage(header, body.bytes(), MonotonicNow());
  }
}

void CoreWorker::Impl::FlushLanes() {
  port_->Flush();
  if (!answered_.empty() && port_->total_backlog_bytes() == 0) {
    for (uint32_t claim : answered_) claims_->Drop(claim);
    answered_.clear();
  }
  has_room_.store(RoomNow(), std::memory_order_relaxed);
  WakeOthers();
}

// What this thread did comes to the others by no mail: an object that became ready, a callback, an earlier
// deadline.
void CoreWorker::Impl::WakeOthers() {
  const uint64_t changes = core_.objects().changes();
  const bool changed = changes != seen_changes_;
  seen_changes_ = changes;
  if (changed && waiters_ != 0) progress_.notify_all();
  const TimeNs next = core_.NextDeadline();
  if (driving_) {
    if (driver_rung_ || (!changed && !core_.objects().has_callbacks() && next >= driver_until_)) return;
    driver_rung_ = true;
    port_->Kick(lane::Sleeper::kMain);
  } else if (foreground_ == 0) {
    const TimeNs until = background_deadline_.load(std::memory_order_relaxed);
    if (until == 0 || (!core_.objects().has_callbacks() && next >= until)) return;  // 0: awake, or rung
    background_deadline_ = 0;
    port_->Kick(lane::Sleeper::kBackground);
  }
}

bool CoreWorker::Impl::OnProcessMain() {
  static thread_local const bool main = gettid() == getpid();
  return main;
}

// From here on nothing becomes ready: who waits is told.
void CoreWorker::Impl::BecomeGone() {
  if (gone_) return;
  gone_ = true;
  core_.objects().ReleaseCallbacks();
  for (auto& [id, callbacks] : local_callbacks_) {
    for (auto& fn : callbacks) core_.objects().AddDue(std::move(fn));
  }
  local_callbacks_.clear();
  progress_.notify_all();
  if (driving_) port_->Kick(lane::Sleeper::kMain);
}

Status CoreWorker::Impl::SleepOnce(std::unique_lock<std::mutex>& lock, TimeNs deadline, bool* spun) {
  const bool main = OnProcessMain();
  if (driving_ || (main_waits_ && !main)) {
    if (main && driving_ && !driver_rung_) {  // it hands over
      driver_rung_ = true;
      port_->Kick(lane::Sleeper::kMain);
    }
    const TimeNs nap = std::min(deadline - MonotonicNow(), kWaiterNap);
    ++waiters_;
    progress_.wait_for(lock, std::chrono::nanoseconds(std::max<TimeNs>(nap, 0)));
    --waiters_;
    *spun = true;
    return Status::Ok();
  }
  driving_ = true;
  driver_rung_ = false;
  port_->Publish(lane::Sleeper::kAwake);
  const TimeNs until = std::min({deadline, core_.NextDeadline(), MonotonicNow() + kLookAtSocket});
  driver_until_ = until;
  lock.unlock();
  lane::Wake wake = lane::Wake::kMail;
  if (!*spun) {
    *spun = !port_->Spin(kSpin);
  } else {
    wake = port_->Sleep(lane::Sleeper::kMain, until);
  }
  const bool gone = wake == lane::Wake::kTimeout && RayletGone();
  lock.lock();
  driving_ = false;
  if (gone) BecomeGone();
  if (waiters_ != 0) progress_.notify_all();
  return wake == lane::Wake::kSignal ? Status(StatusCode::kInterrupted, "signal") : Status::Ok();
}

// The last thread that waited goes back to user code: from now on mail rings the background thread.
void CoreWorker::Impl::Leave() {
  FlushLanes();
  if (foreground_ != 0) {
    if (waiters_ != 0) progress_.notify_all();
    return;
  }
  port_->Publish(lane::Sleeper::kBackground);
}

bool CoreWorker::Impl::StepOut(std::unique_lock<std::mutex>& lock, const std::function<bool()>& go_on) {
  const bool main = std::exchange(main_waits_, main_waits_ && !OnProcessMain());
  --foreground_;
  Leave();
  lock.unlock();
  const bool on = go_on();
  lock.lock();
  ++foreground_;
  main_waits_ = main;
  return on;
}

void CoreWorker::Impl::RunDue(std::unique_lock<std::mutex>& lock) {
  while (core_.objects().has_callbacks()) {
    auto callbacks = core_.objects().TakeCallbacks();
    lock.unlock();
    for (const auto& fn : callbacks) fn();
    callbacks.clear();  // they hold Refs, whose end takes the lock
    lock.lock();
  }
}

void CoreWorker::Impl::Background() {
  while (!stop_) {
    TimeNs deadline;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      deadline = std::min(core_.NextDeadline(), MonotonicNow() + 2 * kLookAtSocket);
      if (foreground_ == 0 && core_.objects().has_callbacks()) deadline = 0;  // added since we looked
      background_deadline_ = deadline;
    }
    port_->Park(lane::Sleeper::kBackground, deadline);
    background_deadline_ = 0;  // awake: looks at the deadlines by itself before it parks again
    if (stop_) break;
    const bool gone = RayletGone();
    std::unique_lock<std::mutex> lock(mutex_);
    if (gone) BecomeGone();
    while (foreground_ == 0 && !stop_) {
      const size_t n = DrainLocked();
      RunDue(lock);
      FlushLanes();
      if (foreground_ != 0) break;
      if (n == 0) {
        port_->Publish(lane::Sleeper::kBackground);
        break;
      }
      lock.unlock();
      // Coalesce: more mail within this time costs its senders no wake-up.
      timespec pause{0, kCoalesce};
      nanosleep(&pause, nullptr);
      lock.lock();
    }
    lock.unlock();
    if (gone) {
      timespec pause{0, 20 * kMillisecond};
      nanosleep(&pause, nullptr);
    }
  }
}

}  // namespace rmpi
