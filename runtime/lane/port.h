// SPDX-License-Identifier: Apache-2.0
// Port: one process's end of the board: send, flush, drain, sleep.
//
// Not thread safe: the caller holds its process's core lock. Exceptions, which any thread of the process may
// call at any time: HasMail, Publish, Sleep, Park, Kick (async-signal-safe too) and Spin.
//
// Sends are invisible until Flush. FIFO per sender and receiver. What did not fit its lane waits in a private
// log and is moved by later Flush and Drain calls; the receiver rings us when there is room again.
//
// Sleeping. Each process has one `asleep` word that names who is to be woken, and a futex word for each of
// its two threads. A sender's Flush: store the tails, mark the lanes dirty (a full barrier), and where
// `asleep` is not kAwake, take it (exchange with kAwake) and wake that sleeper, once. While a thread drives
// the port it keeps `asleep` at kAwake, and no sender makes a system call.
//   main enters get():        Publish(kAwake); Drain, Spin, Sleep(kMain) until its answer is there
//   main returns to the user: Publish(kBackground): rings the background thread if there is mail already
//   background, main drives:  Park(kBackground): waits to be rung, without touching the word
//   raylet, before epoll:     if (Publish(kEventFd)) there is mail: do not wait
#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/base/time.h"
#include "runtime/lane/board.h"
#include "runtime/lane/overflow_log.h"
#include "runtime/lane/peer_table.h"

namespace rmpi::lane {

// kEventFd is for slot 0, whose eventfd every port has.
enum class Sleeper : uint32_t { kAwake = 0, kMain = 1, kBackground = 2, kEventFd = 3 };
// kMail: HasMail(). kSignal: a signal handler ran. kKicked: Kick(), or rung for mail that is handled already.
enum class Wake { kMail, kTimeout, kSignal, kKicked };

struct Peer {
  uint16_t slot = 0;
  uint32_t generation = 0;
};

class Port {
 public:
  // `raylet_eventfd` is rung to wake slot 0 out of epoll (slot 0 passes its own); not owned.
  Port(Board* board, uint16_t slot, uint32_t generation, int raylet_eventfd);
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  uint16_t slot() const { return slot_; }
  uint32_t generation() const { return generation_; }

  // When the pool of lanes is empty the message waits in the log until one is free; Sleep and Park then
  // return kKicked every 10 ms, so that the caller flushes again.
  //
  // Queues one message, the concatenation of `parts`, at most kMaxMessageBytes. Never blocks. False when no
  // process of that generation lives in the slot: nothing was queued.
  bool Send(uint16_t dst_slot, uint32_t dst_generation, std::span<const Bytes> parts);
  // The same in place: `size` bytes, 8-byte aligned, to be filled before Commit(). Null instead of false.
  // Between the two no other call on this port.
  std::byte* Reserve(uint16_t dst_slot, uint32_t dst_generation, size_t size);
  void Commit();
  // Publishes what was sent and wakes the receivers that sleep.
  void Flush();
  size_t backlog_bytes(uint16_t dst) const {
    const Out* out = outs_.Find(dst);
    return out == nullptr ? 0 : out->log.bytes();
  }
  size_t total_backlog_bytes() const;

  // Calls handler(uint16_t src_slot, uint32_t src_generation, Bytes message) for up to `max_messages`, round
  // robin between senders. Returns how many. The bytes are valid during the call (and not after a ForgetPeer
  // of their sender); the handler may send, flush and ForgetPeer, but not Drain, and does not throw. The
  // bytes come from another process: decode them with checks.
  template <class F>
  size_t Drain(F&& handler, size_t max_messages);
  bool HasMail() const { return pending_count_.load(std::memory_order_relaxed) != 0 || Marked(); }
  // After the announced death of src: nothing of that generation is left to read.
  bool DrainedFrom(uint16_t src, uint32_t generation) const;
  // Lets go of a dead peer: its log, its unread mail, both lanes. Its slot can be given out again once all
  // peers have done so (Drain does it by itself for a dead peer of which nothing is left to read).
  void ForgetPeer(uint16_t slot, uint32_t generation);
  // A peer whose lane holds garbage, once per peer: it is not read any more. Treat it as dead (and kill it).
  std::optional<Peer> TakeCorruptPeer();

  // Says who is to be woken from now on. True when mail is there already: then, for a thread, it was rung at
  // once, and for kEventFd, the caller must not sleep.
  bool Publish(Sleeper who);
  // Publishes `who`, the calling thread, and waits unless there is mail. Deadline on CLOCK_MONOTONIC, or
  // kNever.
  Wake Sleep(Sleeper who, TimeNs deadline_ns);
  // Waits to be rung or kicked, whoever is published. A ring since the thread's last wait is not lost.
  Wake Park(Sleeper who, TimeNs deadline_ns);
  // Wakes a thread of our own, mail or not.
  void Kick(Sleeper who);
  // Waits up to `spin_ns` for mail without sleeping; not at all when all peers we last spoke with run on our
  // CPU.
  bool Spin(TimeNs spin_ns);

 private:
  struct Out {
    uint16_t dst = 0;
    uint32_t generation = 0;
    bool connected = false;  // generation is valid and the peer was alive
    bool queued = false;     // in dirty_
    LaneRef lane;            // invalid: the pool was empty, all goes to the log until a lane is free
    LaneEnds* ends = nullptr;
    std::byte* ring = nullptr;
    uint64_t tail = 0;       // written up to here
    uint64_t published = 0;  // the receiver knows
    uint64_t head = 0;       // last seen of the receiver's
    size_t front_sent = 0;   // of the log's first message
    OverflowLog log;
  };
  struct In {
    LaneRef lane;
    uint32_t generation = 0;
    bool corrupt = false;
    LaneEnds* ends = nullptr;
    const std::byte* ring = nullptr;
    uint64_t head = 0;
    uint64_t published = 0;  // the sender knows
    size_t total = 0;        // of the message being put together
    std::vector<std::byte> partial;
  };
  enum class Step { kMessage, kNothing, kCorrupt };

  // Sending (port_send.cc).
  bool Connect(uint16_t dst, uint32_t generation);
  void Attach(Out* out);
  std::byte* Place(Out* out, size_t size);  // room for a record of `size` bytes in the ring, or null
  void PutHeader(std::byte* payload, size_t size, RecordKind kind, size_t total) const;
  void Pump(Out* out);
  void PumpAndAsk(Out* out);
  void PublishTail(Out* out, uint16_t dst);
  void Queue(uint16_t dst);
  void Ring(uint16_t dst);
  void NoteActive(uint16_t peer);

  // Receiving (port_receive.cc).
  bool Marked() const {  // some lane is dirty
    for (size_t g = 0; g < kFlatGroups; ++g) {
      if (me_->groups[g].load(std::memory_order_seq_cst) != 0) return true;
    }
    return me_->summary.load(std::memory_order_seq_cst) != 0;
  }
  void Collect();
  int NextPending();
  void ClearPending(uint16_t src);
  bool AttachIn(uint16_t src);
  // Decodes the record at in->head; `*taken` is how far the head moves.
  Step Next(In* in, uint64_t tail, size_t* taken, Bytes* message);
  void PublishHead(In* in);
  void EndVisit(uint16_t src, uint64_t tail, uint64_t seen);
  void MarkCorrupt(uint16_t src);
  template <class F>
  size_t Visit(uint16_t src, F&& handler, size_t max_messages);

  // Sleeping (port_sleep.cc).
  void Withdraw(Sleeper who);
  uint32_t PublishCpu();
  bool PeersShareCpu(uint32_t cpu_plus_1) const;

  static constexpr size_t kVisitBatch = 32;  // messages of one sender before the next one's turn

  Board* board_;
  SlotRecord* me_;
  const uint16_t slot_;
  const uint32_t generation_;
  const int raylet_eventfd_;
  const size_t ring_bytes_;
  const size_t max_payload_;  // of one record
  PeerTable<Out> outs_;
  PeerTable<In> ins_;
  std::vector<uint16_t> dirty_;  // destinations with something unpublished or a backlog
  std::vector<uint16_t> bells_;
  std::vector<Peer> corrupt_;
  Out* reserved_ = nullptr;
  uint16_t reserved_dst_ = 0;
  std::byte* reserved_at_ = nullptr;
  size_t reserved_size_ = 0;
  bool reserved_in_ring_ = false;
  bool draining_ = false;
  std::vector<uint64_t> pending_;  // dirty bits taken from the board and not yet served
  uint16_t cursor_ = 0;
  std::atomic<uint32_t> pending_count_{0};
  std::atomic<bool> starved_{false};  // a backlog waits for a free lane: nobody will ring us for that
  std::atomic<uint64_t> active_{0};   // up to four peers we last spoke with: 16 bits each, slot + 1
  uint32_t seen_[2];                  // futex value at the thread's last wake; each used by its own thread
  std::atomic<bool> kicked_[2]{};
};

template <class F>
size_t Port::Drain(F&& handler, size_t max_messages) {
  if (draining_) return 0;  // from inside a handler
  draining_ = true;
  size_t handled = 0;
  // Peers that keep marking lanes without mail in them must not hold us here.
  size_t visits_left = max_messages + pending_.size() * 64;
  while (handled < max_messages && visits_left-- > 0) {
    Collect();  // each time: a sender who never pauses must not hide the others
    const int src = NextPending();
    if (src < 0) break;
    const size_t room = max_messages - handled;
    const size_t n = Visit(static_cast<uint16_t>(src), handler, room < kVisitBatch ? room : kVisitBatch);
    if (n != 0) {
      if (handled == 0) active_.store(0, std::memory_order_relaxed);
      NoteActive(static_cast<uint16_t>(src));
    }
    handled += n;
  }
  draining_ = false;
  return handled;
}

template <class F>
size_t Port::Visit(uint16_t src, F&& handler, size_t max_messages) {
  In& in = ins_[src];
  if (!AttachIn(src)) {
    EndVisit(src, 0, 0);
    return 0;
  }
  // Acquire: the bytes below the tail are the sender's finished writes. The dirty bit was taken before this
  // load, so a tail that we miss here comes with a new bit.
  const uint64_t tail = in.ends->tail.load(std::memory_order_acquire);
  const uint64_t seen = tail - in.head;
  if (seen > ring_bytes_ || tail % 8 != 0) {
    MarkCorrupt(src);
    return 0;
  }
  const LaneRef lane = in.lane;
  size_t handled = 0;
  while (in.head != tail && handled < max_messages) {
    size_t taken;
    Bytes message;
    const Step step = Next(&in, tail, &taken, &message);
    if (step == Step::kCorrupt) {
      MarkCorrupt(src);
      return handled;
    }
    if (step == Step::kMessage) {
      ++handled;
      handler(src, in.generation, message);
      if (in.lane.index != lane.index || in.lane.tag != lane.tag)
        return handled;  // the handler forgot the peer
    }
    in.head += taken;
    if (in.head - in.published >= ring_bytes_ / 8) PublishHead(&in);
  }
  EndVisit(src, tail, seen);
  return handled;
}

}  // namespace rmpi::lane
