// SPDX-License-Identifier: Apache-2.0
#include "objstore/pin_table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <string>

namespace rmpi::objstore {
namespace {

constexpr uint64_t kMagic = 0x31304e4950504d52;  // "RMPPIN01"
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

uint64_t PinTable::BytesFor(uint16_t slots) {
  return RoundUp(sizeof(Shared) + sizeof(Head) * slots, 4096) + sizeof(Table) * slots;
}

Status PinTable::CreateFd(uint16_t slots, UniqueFd* fd) {
  if (slots == 0) return Status::Invalid("object store: a pin table for 0 slots");
  fd->reset(static_cast<int>(::memfd_create("ray-mpi-pins", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!fd->valid()) return Status::Io("object store: memfd_create of the pin table", errno);
  if (::ftruncate(fd->get(), static_cast<off_t>(BytesFor(slots))) != 0 ||
      ::fcntl(fd->get(), F_ADD_SEALS, kSeals) != 0) {
    return Status::Io("object store: sizing the pin table", errno);
  }
  const std::array<uint64_t, 2> head{kMagic, slots};
  if (::pwrite(fd->get(), head.data(), sizeof(head), 0) != sizeof(head)) {
    return Status::Io("object store: writing the pin table's head", errno);
  }
  return Status::Ok();
}

Status PinTable::Map(int fd, std::unique_ptr<PinTable>* table) {
  struct stat st;
  std::array<uint64_t, 2> head{};
  if (::fstat(fd, &st) != 0 || ::pread(fd, head.data(), sizeof(head), 0) < 0) {
    return Status::Io("object store: reading the pin table's head", errno);
  }
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || head[0] != kMagic || head[1] == 0 || head[1] > UINT16_MAX ||
      static_cast<uint64_t>(st.st_size) != BytesFor(static_cast<uint16_t>(head[1]))) {
    return Status::Invalid("object store: file descriptor " + std::to_string(fd) +
                           " is no pin table of this version; are two versions of ray-mpi mixed in one run?");
  }
  const auto bytes = static_cast<uint64_t>(st.st_size);
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (p == MAP_FAILED) return Status::Io("object store: mmap of the pin table", errno);
  ::madvise(p, bytes, MADV_DONTDUMP);
  table->reset(new PinTable(p, bytes, static_cast<uint16_t>(head[1])));
  return Status::Ok();
}

PinTable::PinTable(void* base, uint64_t bytes, uint16_t slots)
    : base_(base),
      bytes_(bytes),
      slots_(slots),
      shared_(static_cast<Shared*>(base)),
      heads_(reinterpret_cast<Head*>(shared_ + 1)),
      tables_(reinterpret_cast<Table*>(static_cast<char*>(base) +
                                       RoundUp(sizeof(Shared) + sizeof(Head) * slots, 4096))) {}

PinTable::~PinTable() { ::munmap(base_, bytes_); }

PinTable::Line* PinTable::Home(uint16_t slot, uint64_t key, size_t step) const {
  return &tables_[slot].lines[(Mix(key) + step) % kLines];
}

void PinTable::Open(uint16_t slot) { shared_->open[slot / 64].fetch_or(uint64_t{1} << (slot % 64)); }

// Everything here is sequentially consistent: the count, the overflow flag and the word must each be visible
// before the client looks at the object's state (client.cc), and in this order, or the raylet could stop
// looking too early.
bool PinTable::Add(uint16_t slot, uint64_t key) {
  heads_[slot].live.fetch_add(1);
  for (size_t step = 0; step < kProbeLines; ++step) {
    Line* line = Home(slot, key, step);
    Word* vacant = nullptr;
    for (Word& word : line->words) {
      uint64_t seen = word.load(std::memory_order_relaxed);
      while (seen >> kCountBits == key && (seen & kCountMask) != kCountMask) {
        if (word.compare_exchange_weak(seen, seen + 1)) return true;
      }
      if (seen == 0 && vacant == nullptr) vacant = &word;
    }
    // Two threads that pin one object at once may each take a word: both count.
    for (Word* word = vacant; word != nullptr && word != line->words.end(); ++word) {
      uint64_t empty = 0;
      if (word->compare_exchange_strong(empty, key << kCountBits | 1)) return true;
    }
    if (line->overflowed.load() == 0) line->overflowed.store(1);
  }
  heads_[slot].live.fetch_sub(1);
  return false;
}

void PinTable::Remove(uint16_t slot, uint64_t key) {
  for (size_t step = 0; step < kProbeLines; ++step) {
    for (Word& word : Home(slot, key, step)->words) {
      uint64_t seen = word.load(std::memory_order_relaxed);
      while (seen >> kCountBits == key && seen != 0) {
        const uint64_t less = (seen & kCountMask) == 1 ? 0 : seen - 1;
        if (!word.compare_exchange_weak(seen, less)) continue;
        heads_[slot].live.fetch_sub(1);
        return;
      }
    }
  }
}

bool PinTable::AddTransient(uint16_t slot, uint64_t key) {
  heads_[slot].transient.fetch_add(1);
  for (Word& word : tables_[slot].transient) {
    uint64_t empty = 0;
    if (word.compare_exchange_strong(empty, key << kCountBits | 1)) return true;
  }
  heads_[slot].transient.fetch_sub(1);
  return false;
}

void PinTable::RemoveTransient(uint16_t slot, uint64_t key) {
  for (Word& word : tables_[slot].transient) {
    uint64_t expected = key << kCountBits | 1;
    if (!word.compare_exchange_strong(expected, 0)) continue;
    heads_[slot].transient.fetch_sub(1);
    return;
  }
}

bool PinTable::PinnedBy(uint16_t slot, uint64_t key) const {
  if (heads_[slot].live.load() != 0) {
    for (size_t step = 0; step < kProbeLines; ++step) {
      const Line* line = Home(slot, key, step);
      for (const Word& word : line->words) {
        if (word.load() >> kCountBits == key) return true;
      }
      if (line->overflowed.load() == 0) break;
    }
  }
  if (heads_[slot].transient.load() == 0) return false;
  for (const Word& word : tables_[slot].transient) {
    if (word.load() >> kCountBits == key) return true;
  }
  return false;
}

bool PinTable::Pinned(uint64_t key) const {
  for (size_t i = 0; i * 64 < slots_; ++i) {
    for (uint64_t bits = shared_->open[i].load(); bits != 0; bits &= bits - 1) {
      const size_t slot = i * 64 + static_cast<size_t>(std::countr_zero(bits));
      if (slot < slots_ && PinnedBy(static_cast<uint16_t>(slot), key)) return true;
    }
  }
  return false;
}

uint64_t PinTable::Live(uint16_t slot) const {
  return heads_[slot].live.load() + heads_[slot].transient.load();
}

void PinTable::Clear(uint16_t slot) {
  shared_->open[slot / 64].fetch_and(~(uint64_t{1} << (slot % 64)));
  // Back to holes: the pages return to the system, and read as an empty table.
  ::madvise(&tables_[slot], sizeof(Table), MADV_REMOVE);
  heads_[slot].live.store(0);
  heads_[slot].transient.store(0);
}

}  // namespace rmpi::objstore
