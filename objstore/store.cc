// SPDX-License-Identifier: Apache-2.0
#include "objstore/store.h"

#include <algorithm>

namespace rmpi::objstore {
namespace {

constexpr size_t kRecentRanges = 8;
constexpr uint64_t kRecentLeastBytes = 1 << 20;
constexpr size_t kMaxFreedEarly = 16384;

}  // namespace

Store::Store(Arena* arena, PinTable* pins, uint32_t node)
    : arena_(arena), pins_(pins), node_(node), allocator_(arena->size()) {}

Store::Lessee* Store::LesseeOf(uint16_t slot, uint32_t generation) {
  auto it = lessees_.find(slot);
  return it == lessees_.end() || it->second.generation != generation ? nullptr : &it->second;
}

std::optional<uint64_t> Store::AllocateEvicting(uint64_t bytes, bool any) {
  if (bytes > allocator_.capacity_bytes()) return std::nullopt;
  if (auto offset = allocator_.Allocate(bytes)) return offset;
  Sweep();
  for (;;) {
    if (auto offset = allocator_.Allocate(bytes)) return offset;
    if (!EvictOneOf(&backed_) && !(any && EvictOneOf(&copies_))) return std::nullopt;
  }
}

std::optional<Range> Store::LeaseExtent(uint16_t slot, uint32_t generation, uint64_t bytes) {
  if (bytes == 0 || bytes > allocator_.capacity_bytes()) return std::nullopt;
  bytes = RoundUp(bytes, kAlignment);
  Lessee& lessee = lessees_[slot];
  if (lessee.generation == 0) lessee.generation = generation;
  if (lessee.generation != generation) return std::nullopt;
  for (auto it = lessee.recent.rbegin(); it != lessee.recent.rend(); ++it) {
    const Range range = *it;
    if (range.bytes != bytes) continue;
    lessee.recent.erase(std::next(it).base());
    if (!allocator_.AllocateAt(range)) break;  // somebody else has it now
    lessee.leased.Add(range);
    return range;
  }
  auto offset = AllocateEvicting(bytes);
  if (!offset) return std::nullopt;
  lessee.leased.Add({*offset, bytes});
  return Range{*offset, bytes};
}

bool Store::ReturnExtent(uint16_t slot, uint32_t generation, Range range) {
  Lessee* lessee = LesseeOf(slot, generation);
  if (lessee == nullptr || !arena_->ContainsRange(range) || !lessee->leased.ContainsAll(range)) return false;
  lessee->leased.Subtract(range);
  allocator_.Free(range);
  return true;
}

bool Store::OnSealed(uint16_t slot, uint32_t generation, const ObjectId& id, uint32_t attempt,
                     const Locator& locator, const Address& owner) {
  Lessee* lessee = LesseeOf(slot, generation);
  if (lessee == nullptr || locator.node != node_ || !arena_->Contains(locator)) return false;
  const Range range = RangeOf(locator);
  if (!lessee->leased.ContainsAll(range)) return false;
  const ObjectHeader* header = arena_->header(locator.offset);
  if (header->State() != ObjectState::kSealed || !header->Is(id, attempt, locator.size)) return false;
  lessee->leased.Subtract(range);
  allocator_.MarkWarm(range);
  Entry& e = index_.emplace(id, Entry{})->second;
  e.id = id;
  e.attempt = attempt;
  e.locator = locator;
  e.owner = owner;
  e.primary = e.sealed = true;
  e.creator_slot = slot;
  e.creator_generation = generation;
  Enlist(&e);
  if (freed_early_.erase({id, attempt}) != 0) FreeEntry(&e);
  return true;
}

void Store::ClientGone(uint16_t slot, uint32_t generation) {
  auto it = lessees_.find(slot);
  if (it != lessees_.end() && it->second.generation != generation) return;
  if (it != lessees_.end()) {
    for (const Range& range : it->second.leased.Ranges()) allocator_.Free(range);
    lessees_.erase(it);
  }
  pins_->Clear(slot);
  Sweep();
}

std::optional<Locator> Store::CreateCopy(const ObjectId& id, uint32_t attempt, uint64_t size,
                                         const Address& owner, bool any) {
  if (size > arena_->size() || FindEntry(id, attempt) != nullptr) return std::nullopt;
  const auto offset = AllocateEvicting(FootprintBytes(size), any);
  if (!offset) return std::nullopt;
  const Locator locator{node_, arena_->segment(), *offset + kHeaderBytes, size};
  arena_->header(locator.offset)->Begin(id, attempt, size, 0);
  Entry& e = index_.emplace(id, Entry{})->second;
  e.id = id;
  e.attempt = attempt;
  e.locator = locator;
  e.owner = owner;
  return locator;
}

bool Store::SealCopy(const ObjectId& id, uint32_t attempt, bool backed) {
  Entry* e = FindEntry(id, attempt);
  if (e == nullptr || e->sealed) return e != nullptr && !e->freed;
  allocator_.MarkWarm(RangeOf(e->locator));
  if (e->freed) {
    Drop(e);
    return false;
  }
  e->sealed = true;
  e->backed = backed;
  HeaderOf(*e)->SetState(ObjectState::kSealed);
  Enlist(e);
  return true;
}

void Store::AbortCopy(const ObjectId& id, uint32_t attempt) {
  Entry* e = FindEntry(id, attempt);
  if (e != nullptr && !e->sealed) Drop(e);
}

bool Store::FreedOnItsWay(const ObjectId& id, uint32_t attempt) {
  const Entry* e = FindEntry(id, attempt);
  return e != nullptr && !e->sealed && e->freed;
}

Store::Entry* Store::FindEntry(const ObjectId& id, uint32_t attempt) {
  auto [begin, end] = index_.equal_range(id);
  for (auto it = begin; it != end; ++it) {
    Entry& e = it->second;
    // A freed version that waits for its last pin is no longer part of the store; a freed copy that is still
    // being filled is, for SealCopy and AbortCopy.
    if (e.attempt == attempt && !(e.freed && e.sealed)) return &e;
  }
  return nullptr;
}

const Store::Entry* Store::Find(const ObjectId& id) const {
  const Entry* newest = nullptr;
  auto [begin, end] = index_.equal_range(id);
  for (auto it = begin; it != end; ++it) {
    const Entry& e = it->second;
    if (e.sealed && !e.freed && (newest == nullptr || e.attempt > newest->attempt)) newest = &e;
  }
  return newest;
}

const Store::Entry* Store::Find(const ObjectId& id, uint32_t attempt) const {
  auto [begin, end] = index_.equal_range(id);
  for (auto it = begin; it != end; ++it) {
    const Entry& e = it->second;
    if (e.attempt == attempt && e.sealed && !e.freed) return &e;
  }
  return nullptr;
}

bool Store::SetPrimary(const ObjectId& id, uint32_t attempt, bool primary) {
  Entry* e = FindEntry(id, attempt);
  if (e == nullptr || !e->sealed) return false;
  if (e->primary == primary || e->backed) return true;
  Unlist(e);
  e->primary = primary;
  Enlist(e);
  return true;
}

void Store::AwaitReader(const ObjectId& id, uint32_t attempt) {
  Entry* e = FindEntry(id, attempt);
  if (e != nullptr && e->sealed) e->unread = true;
}

void Store::NoReader(const ObjectId& id, uint32_t attempt) {
  if (Entry* e = FindEntry(id, attempt); e != nullptr) e->unread = false;
}

void Store::Enlist(Entry* e) {
  auto& list = ListOf(*e);
  e->lru = list.insert(list.end(), e);
  if (e->primary) primary_bytes_ += FootprintBytes(e->locator.size);
}

void Store::Unlist(Entry* e) {
  ListOf(*e).erase(e->lru);
  if (e->primary) primary_bytes_ -= FootprintBytes(e->locator.size);
}

std::vector<const Store::Entry*> Store::TakeToSpill(uint64_t bytes, size_t most) {
  std::vector<const Entry*> taken;
  uint64_t sum = 0;
  for (size_t looks = 2 * primaries_.size(); looks > 0 && sum < bytes && taken.size() < most; --looks) {
    Entry* e = primaries_.front();
    primaries_.splice(primaries_.end(), primaries_, primaries_.begin());
    const bool again = HeaderOf(*e)->referenced.exchange(0, std::memory_order_relaxed) != 0;
    if (again || e->spilling || InUse(*e)) continue;
    e->spilling = true;
    ++e->holds;
    taken.push_back(e);
    sum += FootprintBytes(e->locator.size);
  }
  return taken;
}

void Store::Spilled(const Entry* entry, bool written) {
  auto* e = const_cast<Entry*>(entry);  // as in Release
  e->spilling = false;
  if (written && !e->freed) {
    Unlist(e);
    e->primary = false;
    e->backed = true;
    e->lru = backed_.insert(backed_.begin(), e);
  }
  Release(e);
}

const Store::Entry* Store::Hold(const ObjectId& id, uint32_t attempt) {
  Entry* e = FindEntry(id, attempt);
  if (e == nullptr || !e->sealed) return nullptr;
  ++e->holds;
  HeaderOf(*e)->referenced.store(1, std::memory_order_relaxed);
  return e;
}

void Store::Release(const Entry* entry) {
  auto* e = const_cast<Entry*>(entry);  // entries are handed out const so that only the store changes them
  if (--e->holds > 0 || !e->freed || InUse(*e)) return;
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), e));
  Drop(e);
}

bool Store::InUse(const Entry& e) const {
  return e.holds > 0 || pins_->Pinned(PinTable::KeyOf(e.locator.segment, e.locator.offset));
}

// The turn of the eviction clock: a copy pinned since it last came by gets another round.
bool Store::MayGo(Entry* e) {
  if (e->holds > 0) return false;
  ObjectHeader* header = HeaderOf(*e);
  const bool referenced = header->referenced.exchange(0, std::memory_order_relaxed) != 0;
  if (e->unread) {
    e->unread = !referenced;
    return false;
  }
  if (referenced) return false;
  header->SetState(ObjectState::kEvicting);
  if (!InUse(*e)) return true;
  header->SetState(ObjectState::kSealed);
  return false;
}

// The least recently used copy that nobody looks at; one in use stays, at the far end of the line.
bool Store::EvictOneOf(std::list<Entry*>* list) {
  for (size_t looks = 2 * list->size(); looks > 0; --looks) {
    Entry* e = list->front();
    list->splice(list->end(), *list, list->begin());
    if (!MayGo(e)) continue;
    if (!e->backed) evicted_.push_back({{e->id, e->attempt}, e->owner});
    ++evicted_total_;
    Drop(e);
    return true;
  }
  return false;
}

void Store::RememberFreed(const Version& v) {
  if (!freed_early_.insert(v).second) return;
  freed_early_order_.push_back(v);
  if (freed_early_order_.size() <= kMaxFreedEarly) return;
  freed_early_.erase(freed_early_order_.front());
  freed_early_order_.pop_front();
}

void Store::Free(const ObjectId& id, uint32_t attempt) {
  std::vector<Entry*> found;  // a version may be here twice: produced here, and pulled before that
  bool known = false;
  auto [begin, end] = index_.equal_range(id);
  for (auto it = begin; it != end; ++it) {
    if (it->second.attempt != attempt) continue;
    known = true;
    if (!it->second.freed) found.push_back(&it->second);
  }
  for (Entry* e : found) FreeEntry(e);
  if (!known) RememberFreed({id, attempt});
}

void Store::FreeEntry(Entry* e) {
  e->freed = true;
  if (!e->sealed) return;  // SealCopy or AbortCopy ends it: the transfer is still writing there
  Unlist(e);
  HeaderOf(*e)->SetState(ObjectState::kDead);  // no new pin; who holds one may go on reading
  if (InUse(*e)) {
    waiting_.push_back(e);
  } else {
    Drop(e);
  }
}

void Store::Drop(Entry* e) {
  HeaderOf(*e)->SetState(ObjectState::kDead);
  const Range range = RangeOf(e->locator);
  allocator_.Free(range);
  if (e->sealed && !e->freed) Unlist(e);
  Lessee* creator = e->creator_generation == 0 ? nullptr : LesseeOf(e->creator_slot, e->creator_generation);
  if (creator != nullptr && range.bytes >= kRecentLeastBytes) {
    if (creator->recent.size() == kRecentRanges) creator->recent.pop_front();
    creator->recent.push_back(range);
  }
  auto [begin, end] = index_.equal_range(e->id);
  index_.erase(std::find_if(begin, end, [e](const auto& pair) { return &pair.second == e; }));
}

size_t Store::Sweep() {
  if (waiting_.empty()) return 0;
  return std::erase_if(waiting_, [this](Entry* e) {
    if (InUse(*e)) return false;
    Drop(e);
    return true;
  });
}

void Store::FreeIf(const std::function<bool(const Entry&)>& doomed) {
  std::vector<Entry*> found;
  for (auto& [id, e] : index_) {
    if (!e.freed && doomed(e)) found.push_back(&e);
  }
  for (Entry* e : found) FreeEntry(e);
}

void Store::FreeFrom(const TaskId& task, uint32_t attempt, uint32_t index) {
  FreeIf([&](const Entry& e) { return e.id.task == task && e.attempt == attempt && e.id.index >= index; });
}

void Store::OwnerGone(const Address& owner) {
  FreeIf([&owner](const Entry& e) { return e.owner == owner; });
}

void Store::NodeGone(uint32_t node) {
  FreeIf([node](const Entry& e) { return e.owner.node == node; });
}

Store::Stats Store::GetStats() const {
  Stats s{};
  s.capacity_bytes = allocator_.capacity_bytes();
  s.used_bytes = allocator_.used_bytes();
  s.cold_bytes = allocator_.cold_bytes();
  s.largest_free_bytes = allocator_.largest_free();
  s.waiting_for_unpin = waiting_.size();
  s.evicted_total = evicted_total_;
  for (const auto& [id, e] : index_) {
    if (!e.sealed) {
      ++s.creating;
    } else if (!e.freed) {
      ++(e.primary ? s.primaries : s.copies);
      s.backed += e.backed ? 1 : 0;
      (e.primary ? s.primary_bytes : s.copy_bytes) += FootprintBytes(e.locator.size);
    }
  }
  for (const auto& [slot, lessee] : lessees_) {
    s.leased_bytes += lessee.leased.bytes();
    s.clients.push_back({slot, lessee.generation, lessee.leased.bytes(), pins_->Live(slot)});
  }
  return s;
}

}  // namespace rmpi::objstore
