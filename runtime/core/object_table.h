// SPDX-License-Identifier: Apache-2.0
// The objects of one process: those it owns (by sequence number, in pages) and those it borrows (by id), and
// the reference protocol between them (PROTOCOL: R1 to R5, O1).
//
// Invariants: a hold or handle keeps an entry; an owned entry with borrowers is kept; a borrowed entry tells
// its owner once when it goes. Nobody frees an object that a live process can still reach.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/core/entry.h"
#include "runtime/core/outbox.h"

namespace rmpi::core {

// One sequence number of ours: a task's returns, or a put.
struct Record {
  Entry first;
  std::unique_ptr<Entry[]> more;  // returns 1..n-1
  Task* task = nullptr;           // until it is done, or its lineage is not needed any more
  uint32_t count = 0;             // entries of it that live
  uint32_t returns = 0;
  uint32_t stored_items = 0;                // those of them that are items (Details::stored_item)
  ErrorType final_loss = ErrorType::kNone;  // why its task does not run again, if there is none any more
};

class ObjectTable {
 public:
  // What the table tells the rest of the core.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnDependencyReady(Task* task) = 0;
    virtual void OnRegistrationsChanged() = 0;
    // This process lets go of an actor: as its owner, for good.
    virtual void OnActorReleased(const ObjectId& actor) = 0;
    // An owned object whose value is nowhere any more is wanted: make it again, or set its error (O7).
    virtual void OnLost(Entry* e, const std::string& why) = 0;
    // A return or item of this task, which is done, is gone.
    virtual void OnReturnReleased(Task* task) = 0;
  };

  ObjectTable(Outbox* outbox, Listener* listener) : outbox_(outbox), listener_(listener) {}
  void SetIdentity(const Address& self, JobId job);
  void SetEpoch(uint32_t epoch) { epoch_ = epoch; }

  const Address& self() const { return self_; }
  JobId job() const { return job_; }

  // ---- owned
  // A new sequence number with `returns` pending entries, each with one hold (the task's, or the putter's).
  Record* NewRecord(TaskKind kind, uint32_t returns);
  Record* FindRecord(uint64_t sequence);
  Entry* ReturnOf(Record* record, uint32_t index);
  // One more object of the record's task, pending, with one hold: an item of a stream. Not yet there.
  Entry* NewItem(Record* record, const ObjectId& id);
  // Drops the record's memory when none of its entries lives and it has no task.
  void MaybeDropRecord(uint64_t number);

  template <class F>
  void ForEachTask(F&& fn) {
    for (auto& page : pages_) {
      if (!page) continue;
      for (Record& r : page->records) {
        if (r.task != nullptr) fn(r.task);
      }
    }
  }
  // All that live, owned and borrowed. fn must not add or release any.
  template <class F>
  void ForEachEntry(F&& fn) {
    for (auto& page : pages_) {
      if (!page) continue;
      for (Record& r : page->records) {
        for (uint32_t i = 0; i < r.returns; ++i) {
          if (Entry* e = ReturnOf(&r, i); e->live) fn(e);
        }
      }
    }
    for (auto& [id, e] : items_) fn(e.get());
    for (auto& [id, e] : borrowed_) fn(e.get());
  }

  // ---- any
  Entry* Find(const ObjectId& id);
  // The entry for a ref that came in: ours, or a borrowed one, registered with its owner if it is new.
  // `outer` (may be null) protects it until then. Adds one hold. Null: we own it and it is gone.
  Entry* Borrow(const ObjectId& id, Entry* outer);
  void AddHold(Entry* e) { ++e->holds; }
  void DropHold(Entry* e);
  // The holds of lineage: the value may go, what is needed to make it again stays.
  void AddLineageHold(Entry* e);
  void DropLineageHold(Entry* e);
  // Makes a hold of a lineage hold.
  void TakeBack(Entry* e);
  void DropHandle(Entry* e);  // one user handle

  void SetInline(Entry* e, uint8_t kind, Blob value);
  void SetStored(Entry* e, uint8_t kind, uint32_t attempt, uint64_t size, std::vector<Place> places);
  void SetError(Entry* e, ErrorType type, const std::string& message);
  // Takes a value from who made it for us. The refs inside are borrowed now: the maker holds them until that
  // is acknowledged.
  void SetMade(Entry* e, const WireValue& value);
  // Takes the value of a borrowed one, or that it is gone. The refs inside are borrowed, under e's
  // protection, when somebody reads them.
  void SetWire(Entry* e, const WireValue& value);
  WireValue ToWire(const Entry& e) const;
  // Where its ref was made, in words, if that is recorded; kept as long as the entry.
  void NoteOrigin(const Entry& e, std::string text) { origins_[e.id] = std::move(text); }
  std::string OriginOf(const ObjectId& id) const;
  // Makes sure that a pending entry will become ready: asks its owner once, or has it made again.
  void Resolve(Entry* e);
  // The object was not found on a node. Owned: asks that node's raylet; borrowed: asks the owner again.
  // False: nothing new comes of it.
  bool MissedOn(Entry* e, uint32_t node);
  // A place that stands for files of a dead node.
  bool Left(const Place& place) const { return left_.contains(place.node); }
  // It was not found at its place on this node: its raylet is to be asked, which may have it on disk. False:
  // no such place is listed.
  bool NotInMemoryHere(Entry* e);
  // Where it is in this node's memory, as far as is known; node 0: nowhere.
  Place PlaceHere(const Entry& e) const;

  // ---- messages
  void OnRegister(const Address& from, const RefMessage& m);
  // As if `to` had registered: it learns of this object of ours by what it is sent next.
  void Lend(Entry* e, const Address& to);
  void OnRegisterReply(const RefMessage& m);
  void OnUnregister(const Address& from, const RefMessage& m);
  void OnLocate(const Address& from, const RefMessage& m);
  void OnLocation(const Location& m);
  void OnLocationAdd(const ObjectAt& m);
  void OnPrimaryMoved(const PrimaryMoved& m);
  void OnLocationDelete(uint32_t node, const LocationDelete& m);
  void OnLocationChecked(uint32_t node, const LocationCheck& m);
  void OnEof(const Eof& eof);
  // left_files: what it had on disk may be found there by every node.
  void OnNodeDead(uint32_t node, const std::string& reason, bool left_files);

  // Registrations sent and not yet acknowledged, to owners other than `except`, made before nonce `upto`.
  bool Unacknowledged(const Address& except, uint64_t upto) const;
  uint64_t last_nonce() const { return next_nonce_; }
  // Runs (and removes) what became due: callbacks of OnReady. The caller runs them without the lock.
  std::vector<std::function<void()>> TakeCallbacks() { return std::move(due_callbacks_); }
  bool has_callbacks() const { return !due_callbacks_.empty(); }
  // The runtime is gone: nothing becomes ready any more. All callbacks are due.
  void ReleaseCallbacks();
  // Grows when an object that somebody may wait for becomes ready, or errs.
  uint64_t changes() const { return changes_; }
  uint64_t errors() const { return errors_; }
  void NoteError() { ++errors_; }
  void AddCallback(Entry* e, std::function<void()> fn);
  // Told of each error that a task of ours raised and nobody looked at, when its last ref goes.
  void OnUnreadError(std::function<void(const Blob&)> fn) { on_unread_error_ = std::move(fn); }
  void AddDue(std::function<void()> fn) { due_callbacks_.push_back(std::move(fn)); }

  size_t owned_count() const { return owned_count_; }
  size_t borrowed_count() const { return borrowed_.size(); }
  size_t unacknowledged_count() const { return pending_registrations_.size(); }
  // For the simulator's checks.
  const std::unordered_map<ObjectId, std::unique_ptr<Entry>>& borrowed() const { return borrowed_; }

 private:
  static constexpr uint64_t kPageRecords = 256;
  struct Page {
    Record records[kPageRecords];
    uint32_t used = 0;  // records in use
  };

  void DropPageIfUnused(uint64_t page);
  void MadeReady(Entry* e);
  void MaybeRelease(Entry* e);
  void LetGo(Entry* e);
  void ReleaseOwned(Entry* e);
  void ReleaseBorrowed(Entry* e);
  void Evaporate(Entry* e);
  void Park(Entry* e);
  void Register(Entry* e);
  void FreePlaces(const Entry& e);
  void CountStoredItem(Entry* e, bool stored);
  void SendGone(const ObjectId& id, Details& d);
  void SendLocation(const Address& to, Entry* e);
  Entry* FindStored(const ObjectId& id, uint32_t attempt);
  bool DoubtPlace(Entry* e, uint32_t node, const Address& asker);
  void SettleDoubts(Entry* e, uint32_t node);
  void DropPlace(Entry* e, uint32_t node, const std::string& why);
  void LosePlacesOn(uint32_t node, const std::string& reason);
  void LeaveOnDisk(Entry* e, uint32_t node);
  void KeepFirst(const Entry& e);

  Outbox* outbox_;
  Listener* listener_;
  Address self_;
  JobId job_;
  uint32_t epoch_ = 0;
  uint64_t next_number_ = 1;
  uint64_t page_base_ = 0;  // number of the first page of pages_
  std::deque<std::unique_ptr<Page>> pages_;
  size_t owned_count_ = 0;
  std::unordered_map<ObjectId, std::unique_ptr<Entry>> items_;  // owned: of streams
  std::unordered_map<ObjectId, std::unique_ptr<Entry>> borrowed_;
  // Dead nodes whose spill files others see. As a place of an object such a node is the last one, and stands
  // for what may be in its files: whoever wants the object looks, and tells the owner if it is not.
  std::unordered_set<uint32_t> left_;
  std::unordered_map<ObjectId, std::string> origins_;  // empty unless they are recorded
  std::unordered_map<Address, std::unordered_set<Entry*>> by_borrower_;
  std::unordered_map<uint64_t, ObjectId> pending_registrations_;  // nonce -> what
  std::set<uint64_t> pending_nonces_;
  uint64_t next_nonce_ = 1;
  std::vector<std::function<void()>> due_callbacks_;
  std::function<void(const Blob&)> on_unread_error_;
  uint64_t changes_ = 0;
  uint64_t errors_ = 0;
  std::vector<Entry*> release_queue_;  // breaks the recursion of nested objects
  bool releasing_ = false;
};

// Encoded form of SystemError (core_worker.h).
Blob EncodeSystemError(uint8_t type, const std::string& message, const std::string& context);

}  // namespace rmpi::core
