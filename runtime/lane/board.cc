// SPDX-License-Identifier: Apache-2.0
#include "runtime/lane/board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/lane/futex.h"

namespace rmpi::lane {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t AlignPage(size_t n) { return (n + kPage - 1) & ~(kPage - 1); }

struct Layout {
  size_t slots, claims, cells, words, ends, rings, total;
  Layout(size_t n, size_t ring_bytes, size_t max_lanes) {
    slots = kPage;
    claims = AlignPage(slots + n * sizeof(SlotRecord));
    cells = AlignPage(claims + n * sizeof(ClaimTable));
    words = AlignPage(cells + n * n * sizeof(uint64_t));
    ends = AlignPage(words + max_lanes * sizeof(uint64_t));
    rings = AlignPage(ends + max_lanes * sizeof(LaneEnds));
    total = rings + max_lanes * ring_bytes;
  }
};

bool Sane(size_t slots, size_t ring_bytes, size_t max_lanes) {
  return slots >= 2 && slots <= kMaxSlots && std::has_single_bit(ring_bytes) && ring_bytes >= kPage &&
         ring_bytes <= (size_t{64} << 20) && max_lanes >= 1 && max_lanes <= (1u << 20);
}

}  // namespace

Status Board::Create(const BoardOptions& options, UniqueFd* fd) {
  if (!Sane(options.slots, options.ring_bytes, options.max_lanes)) {
    return Status::Invalid(
        "lane board: " + std::to_string(options.slots) + " slots, rings of " +
        std::to_string(options.ring_bytes) + " bytes, " + std::to_string(options.max_lanes) +
        " lanes: need 2 to 4096 slots, a power of two from 4 KiB to 64 MiB, 1 to 2^20 lanes");
  }
  UniqueFd memfd(memfd_create("ray-mpi-board", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd.valid()) return Status::Io("lane board: memfd_create", errno);
  const Layout at(options.slots, options.ring_bytes, options.max_lanes);
  if (ftruncate(memfd.get(), static_cast<off_t>(at.total)) != 0)
    return Status::Io("lane board: ftruncate", errno);
  if (fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Status::Io("lane board: sealing the memfd", errno);
  }
  BoardHeader header{};
  header.magic = kBoardMagic;
  header.version = kBoardVersion;
  header.slots = options.slots;
  header.ring_bytes = options.ring_bytes;
  header.max_lanes = options.max_lanes;
  header.total_bytes = at.total;
  if (pwrite(memfd.get(), &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header))) {
    return Status::Io("lane board: writing the header (is there memory left in the cgroup?)", errno);
  }
  *fd = std::move(memfd);
  return Status::Ok();
}

Status Board::Map(int fd, std::unique_ptr<Board>* out) {
  struct stat st;
  if (fstat(fd, &st) != 0) return Status::Io("lane board: fstat", errno);
  const size_t size = static_cast<size_t>(st.st_size);
  if (size < kPage) return Status::Invalid("lane board: the descriptor is no board (too short)");
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (base == MAP_FAILED) {
    return Status::Io("lane board: mmap of " + std::to_string(size) + " bytes of address space", errno);
  }
  const auto* h = static_cast<const BoardHeader*>(base);
  std::string wrong;
  if (h->magic != kBoardMagic) {
    wrong = "the descriptor is no board (wrong magic)";
  } else if (h->version != kBoardVersion) {
    wrong = "version " + std::to_string(h->version) + ", this program speaks " +
            std::to_string(kBoardVersion) + ": keeper and worker come from different builds";
  } else if (!Sane(h->slots, h->ring_bytes, h->max_lanes) || h->total_bytes != size ||
             Layout(h->slots, h->ring_bytes, h->max_lanes).total != size) {
    wrong = "the header does not agree with the size of " + std::to_string(size) + " bytes";
  }
  if (!wrong.empty()) {
    munmap(base, size);
    return Status::Invalid("lane board: " + wrong);
  }
  out->reset(new Board(static_cast<std::byte*>(base), size));
  return Status::Ok();
}

Board::Board(std::byte* base, size_t size)
    : base_(base), size_(size), header_(reinterpret_cast<BoardHeader*>(base)) {
  slots_ = static_cast<uint16_t>(header_->slots);
  ring_bytes_ = header_->ring_bytes;
  max_lanes_ = header_->max_lanes;
  const Layout at(slots_, ring_bytes_, max_lanes_);
  records_ = reinterpret_cast<SlotRecord*>(base + at.slots);
  claims_ = reinterpret_cast<ClaimTable*>(base + at.claims);
  cells_ = reinterpret_cast<std::atomic<uint64_t>*>(base + at.cells);
  words_ = reinterpret_cast<std::atomic<uint64_t>*>(base + at.words);
  ends_ = reinterpret_cast<LaneEnds*>(base + at.ends);
  rings_ = base + at.rings;
}

Board::~Board() { munmap(base_, size_); }

SlotState Board::state(uint16_t slot) const {
  if (slot >= slots_) return SlotState::kFree;
  const uint64_t word = records_[slot].word.load(std::memory_order_acquire);
  return word & kWordLive ? SlotState::kLive : word & kWordDead ? SlotState::kDead : SlotState::kFree;
}

uint32_t Board::generation(uint16_t slot) const {
  return slot < slots_ ? static_cast<uint32_t>(records_[slot].word.load(std::memory_order_acquire) >> 32) : 0;
}

pid_t Board::pid(uint16_t slot) const {
  return slot < slots_ ? records_[slot].pid.load(std::memory_order_relaxed) : 0;
}

void Board::SetPid(uint16_t slot, pid_t pid) { records_[slot].pid.store(pid, std::memory_order_relaxed); }

uint32_t Board::OpenRaylet(pid_t pid) {
  SlotRecord& r = records_[0];
  const uint64_t generation = (r.word.load(std::memory_order_relaxed) >> 32) + 1;
  r.pid.store(pid, std::memory_order_relaxed);
  r.word.store(generation << 32 | kWordLive, std::memory_order_seq_cst);
  return static_cast<uint32_t>(generation);
}

Status Board::OpenSlot(pid_t pid, uint16_t* slot, uint32_t* generation) {
  SweepClosing();
  for (uint16_t s = 1; s < slots_; ++s) {  // lowest first: its pages are warm
    SlotRecord& r = records_[s];
    const uint64_t old = r.word.load(std::memory_order_relaxed);
    const uint64_t next = (old >> 32) + 1;
    if ((old & UINT32_MAX) != 0 || next > UINT32_MAX) continue;  // taken, or out of generations for good
    // Nobody rings a free slot, except a peer that saw the former process alive a moment ago; a stray dirty
    // bit costs the new process one look at an empty cell.
    r.asleep.store(0, std::memory_order_relaxed);
    r.summary.store(0, std::memory_order_relaxed);
    for (auto& group : r.groups) group.store(0, std::memory_order_relaxed);
    for (uint32_t i = 0; i < std::min<uint32_t>(claims_[s].high, kClaimCapacity); ++i) DropClaim(s, i);
    claims_[s].high.store(0, std::memory_order_relaxed);
    r.pid.store(pid, std::memory_order_relaxed);
    r.word.store(next << 32 | kWordLive, std::memory_order_seq_cst);
    *slot = s;
    *generation = static_cast<uint32_t>(next);
    return Status::Ok();
  }
  return Status::Unavailable(
      "lane board: all " + std::to_string(slots_ - 1) +
      " process slots of this node are taken (workers, drivers, and dead ones whose peers "
      "have not let go of them): start fewer workers per node");
}

void Board::MarkDead(uint16_t slot) {
  SlotRecord& r = records_[slot];
  const uint64_t word = r.word.load(std::memory_order_relaxed);
  if (!(word & kWordLive)) return;
  // Before the scan, in the total order: a sender that takes a lane to it after our scan will find it dead.
  r.word.store((word & ~kWordLive) | kWordDead, std::memory_order_seq_cst);
  const uint32_t touched = header_->touched.load(std::memory_order_seq_cst);
  for (uint32_t i = 0; i < touched && i < max_lanes_; ++i) {
    const uint64_t w = words_[i].load(std::memory_order_seq_cst);
    if (!(w & kLanePublished) || (LaneSrc(w) != slot && LaneDst(w) != slot)) continue;
    const uint16_t peer = LaneSrc(w) == slot ? LaneDst(w) : LaneSrc(w);
    if (peer == slot || peer >= slots_) continue;
    // It may have died between publishing a tail and marking it, or between taking a sleeper's `asleep` word
    // and waking it: do both on its behalf.
    MarkDirty(peer, slot);
    records_[peer].asleep.store(0, std::memory_order_seq_cst);
    for (auto& word_of_thread : records_[peer].futex) {
      word_of_thread.fetch_add(1, std::memory_order_release);
      FutexWake(&word_of_thread);
    }
  }
}

void Board::CloseSlot(uint16_t slot) {
  SlotRecord& r = records_[slot];
  MarkDead(slot);
  const uint64_t word = r.word.load(std::memory_order_relaxed);
  if (!(word & kWordDead)) return;
  r.word.store(word | kWordClosing, std::memory_order_seq_cst);
  SweepClosing();
}

void Board::PutClaim(uint16_t slot, uint32_t entry, const Claim& claim) {
  ClaimTable& table = claims_[slot];
  uint64_t words[3];
  std::memcpy(words, &claim.task, sizeof(claim.task));
  for (int i = 0; i < 3; ++i) table.claims[entry].words[i].store(words[i], std::memory_order_relaxed);
  if (entry >= table.high.load(std::memory_order_relaxed))
    table.high.store(entry + 1, std::memory_order_release);
  // Hands the entry to the reader.
  table.claims[entry].words[3].store(claim.attempt | kClaimed, std::memory_order_release);
}

void Board::DropClaim(uint16_t slot, uint32_t entry) {
  // Release: a reader that finds it dropped also finds the tail that published its result.
  claims_[slot].claims[entry].words[3].store(0, std::memory_order_release);
}

std::vector<Claim> Board::ReadClaims(uint16_t slot) const {
  const ClaimTable& table = claims_[slot];
  const uint32_t high = std::min<uint32_t>(table.high.load(std::memory_order_acquire), kClaimCapacity);
  std::vector<Claim> out;
  for (uint32_t entry = 0; entry < high; ++entry) {
    const ClaimRecord& record = table.claims[entry];
    const uint64_t state = record.words[3].load(std::memory_order_acquire);
    if ((state & kClaimed) == 0) continue;
    uint64_t words[3];
    for (int i = 0; i < 3; ++i) words[i] = record.words[i].load(std::memory_order_acquire);
    // Of a live worker: it may have dropped this one meanwhile, and used the entry again under our eyes.
    if (record.words[3].load(std::memory_order_acquire) != state) continue;
    Claim& claim = out.emplace_back();
    std::memcpy(&claim.task, words, sizeof(claim.task));
    claim.attempt = static_cast<uint32_t>(state);
  }
  return out;
}

}  // namespace rmpi::lane
