// SPDX-License-Identifier: Apache-2.0
// Board: the shared memory of one node through which its processes talk. One memfd, made by the keeper and
// mapped by every process of the run on that host. Slot 0 is the raylet; workers and drivers take slots 1..
//
// The raylet alone opens and closes slots. A lane (one SPSC byte ring per sender and receiver) is made by its
// sender at the first message and has two ends; it returns to the pool when both ends are released: by the
// process that holds the end (Port::ForgetPeer, or Port::Drain once it has read everything a dead peer left),
// or by the raylet for a process whose slot it closes. A closed slot is given out again only when no lane of
// its former life is left, so a new generation never meets bytes of an old one.
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/base/unique_fd.h"
#include "runtime/lane/layout.h"

namespace rmpi::lane {

struct BoardOptions {
  uint16_t slots = 2048;             // at most kMaxSlots; what is never used costs address space only
  uint32_t ring_bytes = 256 * 1024;  // a power of two, 4 KiB to 64 MiB
  uint32_t max_lanes = 16384;
};

enum class SlotState : uint32_t { kFree, kLive, kDead };

struct Claim {
  TaskId task;
  uint32_t attempt = 0;
};

// One lane in one life of it.
struct LaneRef {
  uint32_t index = kNoLane;
  uint32_t tag = 0;
  bool valid() const { return index != kNoLane; }
};

class Board {
 public:
  // A memfd, close-on-exec, sealed against shrinking and growing (no peer can make our reads fault).
  static Status Create(const BoardOptions& options, UniqueFd* fd);
  // Maps it; the descriptor may be closed afterwards.
  static Status Map(int fd, std::unique_ptr<Board>* out);
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  uint16_t slots() const { return slots_; }
  uint32_t ring_bytes() const { return ring_bytes_; }

  // --- The raylet's side. One thread of the raylet calls these. ---
  // Picks a free slot >= 1 and gives it a generation that it never had before.
  Status OpenSlot(pid_t pid, uint16_t* slot, uint32_t* generation);
  uint32_t OpenRaylet(pid_t pid);
  void SetPid(uint16_t slot, pid_t pid);  // for a slot opened before its process existed
  // Its process is gone. Senders see it at once; what it had published stays readable. Everyone who shares a
  // lane with it is woken: the dead may have taken a bell and not lived to ring it.
  void MarkDead(uint16_t slot);
  // Releases the dead process's ends of all its lanes, and claims. The slot becomes kFree when the peers have
  // released theirs: now, or at a later OpenSlot.
  void CloseSlot(uint16_t slot);

  // --- Anyone ---
  SlotState state(uint16_t slot) const;
  uint32_t generation(uint16_t slot) const;
  pid_t pid(uint16_t slot) const;
  bool Live(uint16_t slot, uint32_t generation) const {
    // Acquire: who sees a process dead also sees every tail it had published (the raylet learnt of the death
    // from the kernel, after the process's last store).
    return slot < slots_ &&
           records_[slot].word.load(std::memory_order_acquire) == (uint64_t{generation} << 32 | kWordLive);
  }

  // --- Claims: which tasks a worker has claimed (user code may have started) and not yet answered, in
  // entries below kClaimCapacity that the worker gives out (ClaimWriter). The raylet reads them after its
  // death. ---
  void PutClaim(uint16_t slot, uint32_t entry, const Claim& claim);
  void DropClaim(uint16_t slot, uint32_t entry);       // it is answered, and that is flushed
  std::vector<Claim> ReadClaims(uint16_t slot) const;  // in no order

  // Lanes in use now, and ever used at once (each of the latter may hold ring_bytes of memory).
  uint32_t lanes_in_use() const;
  uint32_t lanes_touched() const { return header_->touched.load(std::memory_order_relaxed); }

 private:
  friend class Port;
  friend struct LaneTestAccess;  // tests damage a board on purpose
  static constexpr uint64_t kWordLive = 1, kWordDead = 2, kWordClosing = 4;  // all clear: free

  Board(std::byte* base, size_t size);

  // Lanes, for Port. TakeLane returns an invalid ref when the pool is empty or dst has died.
  LaneRef TakeLane(uint16_t src, uint32_t src_generation, uint16_t dst, uint32_t dst_generation);
  // The lane src -> dst, if its sender has published one that this generation of dst may read.
  LaneRef FindLane(uint16_t src, uint16_t dst, uint32_t dst_generation, uint32_t* src_generation) const;
  // The lane src -> dst in whatever state, for letting go of it.
  LaneRef PeekLane(uint16_t src, uint16_t dst) const;
  // Marks ends as released and returns the lane to the pool when both are. No effect on a later life of it.
  void ReleaseEnds(LaneRef lane, uint32_t ends);
  void FinishRelease(uint32_t index, uint64_t word);
  void SweepClosing();

  // Tells dst to look at src. A full barrier: what the caller stored before is visible to whoever takes the
  // bit.
  void MarkDirty(uint16_t dst, uint16_t src) {
    SlotRecord& r = records_[dst];
    r.groups[src / 64].fetch_or(uint64_t{1} << (src % 64), std::memory_order_seq_cst);
    if (src / 64u < kFlatGroups) return;
    // Not skipped on a non-zero old value of the group: its setter may have died before this line. When the
    // summary bit is already there, the receiver has yet to take it, and takes the group after it.
    const uint64_t group_bit = uint64_t{1} << (src / 64);
    if (!(r.summary.load(std::memory_order_seq_cst) & group_bit)) {
      r.summary.fetch_or(group_bit, std::memory_order_seq_cst);
    }
  }

  LaneEnds& ends(uint32_t lane) const { return ends_[lane]; }
  std::byte* ring(uint32_t lane) const { return rings_ + size_t{lane} * ring_bytes_; }
  std::atomic<uint64_t>& cell(uint16_t src, uint16_t dst) const { return cells_[size_t{dst} * slots_ + src]; }

  std::byte* base_;
  size_t size_;
  BoardHeader* header_;
  uint16_t slots_;
  uint32_t ring_bytes_;
  uint32_t max_lanes_;
  SlotRecord* records_;
  ClaimTable* claims_;
  std::atomic<uint64_t>* cells_;  // tag << 32 | lane + 1; 0: none
  std::atomic<uint64_t>* words_;
  LaneEnds* ends_;
  std::byte* rings_;
};

}  // namespace rmpi::lane
