// SPDX-License-Identifier: Apache-2.0
// What the raylet does when the object store is full (PROTOCOL O4): copies go, primaries are written to disk,
// clients give back what they do not use, creators wait, and in the end they are told who holds what.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>

#include "objstore/client.h"
#include "objstore/spill/run_folders.h"
#include "runtime/raylet/raylet_impl.h"

namespace rmpi {
namespace {

constexpr TimeNs kRoomPatience = 2 * kSecond;   // after the latest progress
constexpr TimeNs kMostPatience = 60 * kSecond;  // although others go on to make room
constexpr TimeNs kReclaimSpacing = 100 * kMillisecond;
constexpr size_t kHoldersNamed = 5;

std::string Megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

void Raylet::StartSpiller() {
  const auto restored = [this](uint64_t request, const Status& status) {
    pulls_->OnRestored(request, status.ok(), status.message(), MonotonicNow());
  };
  spiller_ = std::make_unique<Spiller>(config_.spill, config_.hdf5_plugin, node_, run_id_, arena_.get(),
                                       store_.get(), restored);
  loop_.Add(spiller_->event_fd(), EPOLLIN, [this](uint32_t) {
    if (spiller_->OnEvent(MonotonicNow())) AfterFree();
  });
}

// What this node has on disk outlives it where the head sees the folder, too. What dead nodes have left there
// may be read.
void Raylet::ShareSpillFolders(const std::vector<NodeRecord>& nodes) {
  const std::vector<std::string>& own = config_.spill.folders;
  for (const NodeRecord& r : nodes) {
    if (!r.alive) spiller_->left().OnNodeDead(r.node, r.spill_folders);
    if (r.node != kHeadNode || !config_.spill.named) continue;
    SpillShared m{objstore::spill::SharedFolders(own, r.spill_folders)};
    if (m.folders.empty()) continue;
    objstore::spill::LeaveFolders(config_.session, m.folders, r.spill_folders);
    spiller_->SetShared(m.folders);
    router_.Send(GcsAddress(), MsgType::kSpillShared, m);
  }
}

void Raylet::Spill(TimeNs now) {
  uint64_t wanted = pulls_->WaitingBytes();
  for (const Room& r : waiting_room_) wanted += r.request.bytes;
  spiller_->manager().Pump(wanted, now);
}

void Raylet::FreeStored(const ObjectId& id, uint32_t attempt) {
  store_->Free(id, attempt);
  spiller_->manager().Free(id, attempt);
  room_progress_ = MonotonicNow();
}

// Who holds what: the processes that pin or lease most, by name.
std::string Raylet::StoreFullText(uint64_t wanted) const {
  auto s = store_->GetStats();
  const auto disk = spiller_->manager().GetStats();
  std::string text = fmt::format(
      "the object store of node {} ({}) has no room for {} bytes: {} of {} bytes are in use, {} by {} "
      "objects that are still referenced and only here, {} by {} copies; {} objects ({}) are on disk",
      node_, config_.hostname, wanted, s.used_bytes, s.capacity_bytes, Megabytes(s.primary_bytes),
      s.primaries, Megabytes(s.copy_bytes), s.copies, disk.objects, Megabytes(disk.bytes));
  const Status blocked = spiller_->manager().Blocked();
  if (!blocked.ok()) text += "; nothing more goes to disk: " + blocked.message();
  std::sort(s.clients.begin(), s.clients.end(), [](const auto& a, const auto& b) {
    return std::pair(a.pins, a.leased_bytes) > std::pair(b.pins, b.leased_bytes);
  });
  size_t named = 0;
  for (const auto& holder : s.clients) {
    const auto c = clients_.find(holder.slot);
    const bool holds = holder.pins != 0 || holder.leased_bytes != 0;
    if (named == kHoldersNamed || c == clients_.end() || !holds) continue;
    const char* const running = notes_[holder.slot].name;
    const std::string task(running, strnlen(running, sizeof notes_[0].name));
    const std::string who = c->second->is_driver ? "driver" : task.empty() ? "worker" : task;
    text += fmt::format("{} pid {} ({}) looks at {} objects and fills {}", named++ == 0 ? ". Held by:" : ",",
                        c->second->pid, who, holder.pins, Megabytes(holder.leased_bytes));
  }
  return text +
         ". Drop references and the arrays that were made from them, use smaller objects, or start with a "
         "larger --object-store-memory";
}

void Raylet::GrantExtent(const Room& r, const objstore::Range& range) {
  ExtentReply reply;
  reply.nonce = r.request.nonce;
  reply.offset = range.offset;
  reply.bytes = range.bytes;
  router_.Send(r.who, MsgType::kExtentReply, reply);
}

void Raylet::HandleExtent(const Address& from, const ExtentRequest& m, TimeNs now) {
  const Room room{from, m, now};
  if (const auto range = store_->LeaseExtent(from.slot, from.generation, m.bytes)) {
    GrantExtent(room, *range);
    return;
  }
  waiting_room_.push_back(room);
  WantRoom();
  room_retries_.Reset();
  retry_room_at_ = now + room_retries_.Delay();
}

// What clients have leased and do not use may be enough, or what only their garbage holds.
void Raylet::WantRoom() {
  const TimeNs now = MonotonicNow();
  if (now < next_reclaim_) return;
  next_reclaim_ = now + kReclaimSpacing;
  Writer body;
  body(ExtentReclaim{});
  Broadcast(MsgType::kExtentReclaim, body.bytes());
}

void Raylet::RetryRoom(TimeNs now) {
  if (waiting_room_.empty() || now < retry_room_at_) return;
  retry_room_at_ = now + room_retries_.Delay();
  room_retries_.Next();
  std::vector<Room> waiting = std::move(waiting_room_);
  waiting_room_.clear();
  room_progress_ = std::max(room_progress_, spiller_->manager().progress());
  for (Room& r : waiting) {
    const bool patient =
        now - std::max(r.since, room_progress_) <= kRoomPatience && now - r.since <= kMostPatience;
    if (const auto range = store_->LeaseExtent(r.who.slot, r.who.generation, r.request.bytes)) {
      GrantExtent(r, *range);
    } else if (!patient || r.request.bytes > arena_->size()) {
      ExtentReply reply;
      reply.nonce = r.request.nonce;
      reply.text = StoreFullText(r.request.bytes);
      const Status blocked = spiller_->manager().Blocked();
      if (blocked.code() == StatusCode::kOutOfDisk) reply.offset = objstore::kDisksAreFull;
      router_.Send(r.who, MsgType::kExtentReply, reply);
    } else {
      waiting_room_.push_back(std::move(r));
    }
  }
  if (!waiting_room_.empty()) WantRoom();
}

// Who waits tries in the next turn: what comes in one batch makes them try once.
void Raylet::AfterFree() {
  room_retries_.Reset();
  retry_room_at_ = 0;
  if (pulls_) pulls_->OnRoom();
}

}  // namespace rmpi
