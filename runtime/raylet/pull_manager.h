// SPDX-License-Identifier: Apache-2.0
// PullManager: brings objects of other nodes, and those on this node's disk, into this node's store (PROTOCOL
// O5, O6, O8), and holds here what other nodes fetch. One transfer per version, however many processes wait
// for it. Pure logic but for the Host it acts through; owned by the raylet's control thread.
//
// pull_manager.cc   who wants what, room, what is read from disk
// pull_fetch.cc     asking for it: the places in turn, each of which may name a receiver to ask instead
// pull_serve.cc     the other side: what is held for others, what is passed on while it is still coming
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "objstore/spill/spill_manager.h"
#include "objstore/store.h"
#include "objstore/transfer/transfer.h"
#include "runtime/base/backoff.h"
#include "runtime/base/time.h"
#include "runtime/core/outbox.h"
#include "runtime/raylet/broadcast_trees.h"
#include "runtime/raylet/restored_copies.h"

namespace rmpi {

class PullManager {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    // Starts moving bytes; ends in OnFetched with the same number. `coming`: that node is still receiving it.
    virtual void Fetch(uint64_t request, uint32_t node, const ObjectId& id, uint32_t attempt,
                       uint64_t src_offset, uint64_t dst_offset, uint64_t bytes, bool coming) = 0;
    virtual void CancelFetch(uint64_t request) = 0;
    // It comes to `at`; if `open`, others may have what has come. Until Came: it is here, or will not be.
    virtual void Coming(const objstore::Version& version, const objstore::Locator& at, bool open) = 0;
    virtual void Came(const objstore::Version& version) = 0;
    virtual uint64_t ArrivedBytes(const objstore::Version& version) const = 0;  // without a gap
    virtual bool Reachable(uint32_t node) const = 0;
    // A sealed object stays in place while others fetch it: from now on, or no longer.
    virtual void Serving(const objstore::Store::Entry& entry, bool serving) = 0;
    // The store is full: others may have leased what they do not use.
    virtual void WantRoom() = 0;
    // This node has it on disk.
    virtual bool OnDisk(const ObjectId& id, uint32_t attempt) const = 0;
    virtual uint64_t DiskSize(const ObjectId& id, uint32_t attempt) const = 0;
    // What is likely to be wanted behind that.
    virtual std::vector<objstore::spill::SpillManager::Ahead> ReadAhead(const objstore::Version& version) = 0;
    // Starts reading these; each ends in OnRestored with its number.
    virtual void Restore(const std::vector<objstore::spill::RestoreItem>& items) = 0;
    // That node is dead, but what it had on disk may be read here. RestoreLeft ends in OnRestored.
    virtual bool LeftFiles(uint32_t node) const = 0;
    virtual void RestoreLeft(uint32_t node, const objstore::spill::RestoreItem& item, uint64_t size) = 0;
    // Since when nothing has made room; whoever waits for some gives up a while after that.
    virtual TimeNs RoomProgress() const = 0;
    virtual std::string StoreFullText(uint64_t wanted) const = 0;
  };

  PullManager(uint32_t node, objstore::Store* store, Outbox* outbox, Host* host,
              uint64_t chunk_bytes = Transfer::Options().chunk_bytes)
      : node_(node), store_(store), outbox_(outbox), host_(host), trees_(chunk_bytes) {}

  void OnPull(const Address& from, const Pull& m, TimeNs now);
  void OnPinned(const Address& from, const Pinned& m, TimeNs now);
  void OnFetched(uint64_t request, bool ok, const std::string& why, TimeNs now);
  void OnRestored(uint64_t request, bool ok, const std::string& why, TimeNs now);
  void OnClientGone(const Address& who);
  void OnNodeDead(uint32_t node, TimeNs now);
  // The source's side.
  void OnPin(const Address& from, const PinRequest& m, TimeNs now);
  void OnUnpin(const Address& from, const PinRequest& m, TimeNs now);
  // Who waits for room tries again in the next OnTimer.
  void OnRoom();
  void OnTimer(TimeNs now);
  TimeNs NextDeadline() const { return std::min({deadline_, look_at_, restored_.NextDeadline()}); }
  // That wait for room.
  uint64_t WaitingBytes() const;
  uint64_t moved_bytes() const { return moved_bytes_; }
  size_t active() const { return pulls_.size(); }
  size_t holding() const { return held_.size(); }  // for others
  size_t trees() const { return trees_.size(); }
  uint32_t ParentOf(const ObjectId& id, uint32_t attempt) const;  // for tests: 0: none

 private:
  // kClearing: it will be asked for elsewhere, or given up, as soon as nobody fetches it from here.
  static constexpr const char* kFreedOnItsWay = "it was freed while it was on its way";
  enum class Stage { kWaitRoom, kWaitPin, kMoving, kRestoring, kClearing };
  struct Waiter {  // one process can wait twice: its get, and a task of its that is to start
    Address who;
    PullPriority priority;
    bool operator==(const Waiter&) const = default;
  };
  struct Child {
    uint32_t node;
    uint64_t request;
    bool operator==(const Child&) const = default;
  };
  struct Active {
    uint64_t request = 0;
    ObjectId id;
    uint32_t attempt = 0;
    uint64_t size = 0;
    std::vector<Place> places;    // still to be tried; the last one first
    uint32_t holder = 0;          // the place that says whom to ask; 0: none
    uint32_t source = 0;          // who is asked, or sends: the holder, or who it named
    uint32_t turn = 0;            // of asking
    uint32_t reading = 0;         // the node whose files it is read from: this one, or a dead one
    uint32_t misses = 0;          // receivers that were named and had nothing for us
    TimeNs moved_at = 0;          // when `moved` became what it is
    uint64_t moved = 0;           // bytes
    std::vector<Child> children;  // who fetches it from here while it is coming
    std::vector<Waiter> waiters;
    uint32_t moves_from = 0;                           // a node that leaves: the copy is kept, as the primary
    std::vector<std::pair<Address, PinRequest>> pins;  // other nodes that wait for it to be restored
    Stage stage = Stage::kWaitRoom;
    bool incoming = false;  // counted in incoming_bytes_
    objstore::Locator target;
    TimeNs since = 0;
    std::string last_error;
    std::vector<uint32_t> gone;  // nodes that no longer hold it
  };

  Active* Begin(const ObjectId& id, uint32_t attempt, uint64_t size, TimeNs now);
  void Start(Active* p, TimeNs now);
  bool MayTakeRoom(const Active& p) const;
  // pull_fetch.cc
  void TryNext(Active* p, TimeNs now);
  void Ask(Active* p, uint32_t node, uint32_t avoid, TimeNs now);
  void AskAgain(Active* p, TimeNs now);
  void Unpin(const Active& p, uint32_t node, bool whole);
  void LeaveHolder(Active* p, bool whole);
  void FindStalled(TimeNs now);
  void LoseSource(uint32_t node, TimeNs now);
  // pull_serve.cc
  void PinAtReceiver(const Address& from, const PinRequest& m);
  void RemoveChildren(Active* p, const std::function<bool(const Child&)>& gone, TimeNs now);
  void ServeChildren(Active* p);
  void DropFreed(Active* p, TimeNs now);
  void HoldFor(const objstore::Store::Entry* e, uint32_t node, uint64_t request);

  void Finish(Active* p, PullReply reply, TimeNs now);
  void StartRestore(Active* p);
  void StartRestoreLeft(Active* p, uint32_t node);
  void TryFilesOf(uint32_t node);
  void Arrived(Active* p, bool restored, TimeNs now);
  void SendPinned(const Address& to, const PinRequest& m, const objstore::Store::Entry* e, uint32_t ask = 0);
  void ReplyLocal(const Address& to, const ObjectId& id, uint32_t attempt, const objstore::Locator& at);
  Active* Find(const ObjectId& id, uint32_t attempt);
  void TellOwner(const ObjectId& id, uint32_t attempt, const objstore::Locator& at, uint32_t moves_from);
  void LetGo(const objstore::Store::Entry* entry);

  static constexpr TimeNs kFirstRetry = 200 * kMicrosecond;
  static constexpr TimeNs kLastRetry = 10 * kMillisecond;

  uint32_t node_;
  objstore::Store* store_;
  Outbox* outbox_;
  Host* host_;
  uint64_t next_request_ = 1;
  std::unordered_map<uint64_t, Active> pulls_;
  std::unordered_map<objstore::Version, uint64_t, objstore::VersionHash> versions_;  // of pulls_
  struct HeldKey {
    uint32_t node;
    uint64_t request;
    bool operator==(const HeldKey&) const = default;
  };
  struct HeldHash {
    size_t operator()(const HeldKey& k) const { return Mix(k.request ^ uint64_t{k.node} << 40); }
  };
  std::unordered_map<HeldKey, const objstore::Store::Entry*, HeldHash> held_;  // for others' transfers
  RestoredCopies restored_{store_};
  Backoff retries_{kFirstRetry, kLastRetry};  // pins end without a word
  BroadcastTrees trees_;                      // of what is held here
  uint64_t moved_bytes_ = 0;
  uint64_t incoming_bytes_ = 0;  // room taken for what has still to come from other nodes
  TimeNs progress_ = 0;          // when one of these had come, or was given up
  TimeNs deadline_ = kNever;     // of who waits for room
  TimeNs look_at_ = kNever;      // for fetches that stand still
};

}  // namespace rmpi
