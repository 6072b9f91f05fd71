// SPDX-License-Identifier: Apache-2.0
#include "objstore/client.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "objstore/fork_count.h"

namespace rmpi::objstore {
namespace {

constexpr uint64_t kLeastExtentBytes = 64 << 10;
constexpr uint64_t kPopulateBytes = 256
                                    << 10;  // mapped ahead of the cursor: a page fault per object costs more
constexpr int kEvictingLooks = 1000;

}  // namespace

Client::Client(Arena* arena, PinTable* pins, uint32_t node, uint16_t slot)
    : arena_(arena),
      pins_(pins),
      node_(node),
      slot_(slot),
      fork_count_(ForkCount()),
      max_extent_bytes_(std::clamp(arena->size() / 64 / kLeastExtentBytes * kLeastExtentBytes,
                                   kLeastExtentBytes, kMaxExtentBytes)),
      next_extent_bytes_(std::min(kFirstExtentBytes, max_extent_bytes_)) {
  pins_->Open(slot_);
}

bool Client::OwnProcess() const { return ForkCount() == fork_count_; }

bool Client::TakeFresh(uint64_t least_bytes, uint64_t most_bytes, Range* extent) {
  for (auto it = fresh_.rbegin(); it != fresh_.rend(); ++it) {
    if (it->bytes < least_bytes || it->bytes > most_bytes) continue;
    *extent = *it;
    fresh_.erase(std::next(it).base());
    return true;
  }
  return false;
}

void Client::Retire(Range rest) {
  if (rest.bytes > 0) retired_.push_back(rest);
}

Locator Client::Place(Range* extent, const ObjectId& id, uint32_t attempt, uint64_t size) {
  const uint64_t taken = FootprintBytes(size);
  const Locator locator{node_, arena_->segment(), extent->offset + kHeaderBytes, size};
  *extent = {extent->offset + taken, extent->bytes - taken};
  arena_->header(locator.offset)->Begin(id, attempt, size, slot_);
  return locator;
}

Client::CreateResult Client::Create(const ObjectId& id, uint32_t attempt, uint64_t size, Locator* out,
                                    uint64_t* extent_bytes) {
  if (size > arena_->size() - kHeaderBytes) return CreateResult::kTooLarge;
  const uint64_t need = FootprintBytes(size);
  if (size >= kLargeBytes) {
    Range own;
    if (!TakeFresh(need, need, &own)) {
      *extent_bytes = need;
      return CreateResult::kNeedExtent;
    }
    *out = Place(&own, id, attempt, size);
    return CreateResult::kOk;
  }
  if (current_.bytes < need) {
    Range next;
    if (!TakeFresh(need, kMaxExtentBytes, &next)) {
      *extent_bytes = std::max(need, next_extent_bytes_ / need * need);  // objects of one size leave no tail
      next_extent_bytes_ = std::clamp(next_extent_bytes_ * 2, kLeastExtentBytes, max_extent_bytes_);
      return CreateResult::kNeedExtent;
    }
    Retire(current_);
    current_ = next;
    populated_to_ = next.offset;
  }
  if (current_.offset + need > populated_to_) {
    const uint64_t ahead = std::min(std::max(need, kPopulateBytes), current_.bytes);
    arena_->Populate(current_.offset, ahead);
    populated_to_ = current_.offset + ahead;
  }
  *out = Place(&current_, id, attempt, size);
  return CreateResult::kOk;
}

void Client::AddExtent(Range extent) {
  if (arena_->ContainsRange(extent)) fresh_.push_back(extent);
}

void Client::ExtentRefused() { next_extent_bytes_ = 0; }

void Client::Seal(const Locator& locator) {
  arena_->header(locator.offset)->Change(ObjectState::kCreating, ObjectState::kSealed);
}

void Client::Abort(const Locator& locator) {
  if (!OwnProcess()) return;
  arena_->header(locator.offset)->SetState(ObjectState::kDead);
  const Range range = RangeOf(locator);
  if (range.end() == current_.offset && current_.bytes > 0) {
    current_ = {range.offset, range.bytes + current_.bytes};
  } else if (locator.size >= kLargeBytes) {
    fresh_.push_back(range);
  } else {
    Retire(range);
  }
}

std::vector<Range> Client::TakeRetired() { return std::exchange(retired_, {}); }

std::vector<Range> Client::TakeUnusedExtents() {
  Retire(std::exchange(current_, {}));
  for (const Range& r : fresh_) Retire(r);
  fresh_.clear();
  next_extent_bytes_ = kLeastExtentBytes;  // others need room: small ones from here on
  return TakeRetired();
}

uint64_t Client::unused_bytes() const {
  uint64_t sum = current_.bytes;
  for (const Range& r : fresh_) sum += r.bytes;
  for (const Range& r : retired_) sum += r.bytes;
  return sum;
}

bool Client::StillThere(const Locator& locator, const ObjectId& id, uint32_t attempt) const {
  ObjectHeader* header = arena_->header(locator.offset);
  ObjectState state = header->State();
  // The raylet is about to see our pin and seal the copy again, or to drop it: microseconds, if it is
  // running.
  for (int i = 0; state == ObjectState::kEvicting && i < kEvictingLooks; ++i) {
    if (i % 16 == 15) ::sched_yield();
    state = header->State();
  }
  if (state != ObjectState::kSealed || !header->Is(id, attempt, locator.size)) return false;
  if (header->referenced.load(std::memory_order_relaxed) == 0) {
    header->referenced.store(1, std::memory_order_relaxed);
  }
  return true;
}

Client::PinResult Client::Pin(const Locator& locator, const ObjectId& id, uint32_t attempt) {
  if (!arena_->Contains(locator) || !OwnProcess()) return PinResult::kGone;
  const uint64_t key = PinTable::KeyOf(locator.segment, locator.offset);
  if (!pins_->Add(slot_, key)) return PinResult::kTableFull;
  if (StillThere(locator, id, attempt)) return PinResult::kPinned;
  pins_->Remove(slot_, key);
  return PinResult::kGone;
}

void Client::Unpin(const Locator& locator) {
  if (OwnProcess()) pins_->Remove(slot_, PinTable::KeyOf(locator.segment, locator.offset));
}

Client::PinResult Client::CopyOut(const Locator& locator, const ObjectId& id, uint32_t attempt,
                                  std::byte* destination) {
  if (!arena_->Contains(locator) || !OwnProcess()) return PinResult::kGone;
  const uint64_t key = PinTable::KeyOf(locator.segment, locator.offset);
  if (!pins_->AddTransient(slot_, key)) return PinResult::kTableFull;
  const bool there = StillThere(locator, id, attempt);
  if (there && locator.size > 0) std::memcpy(destination, arena_->data(locator.offset), locator.size);
  pins_->RemoveTransient(slot_, key);
  return there ? PinResult::kPinned : PinResult::kGone;
}

}  // namespace rmpi::objstore
