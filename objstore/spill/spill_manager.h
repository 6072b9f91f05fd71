// SPDX-License-Identifier: Apache-2.0
// SpillManager: which objects of a node go to disk, where they lie there, and when a file goes (PROTOCOL O4,
// O6). Pure logic over the Store but for the Host that it acts through; owned by the raylet's control thread.
//
// An object on disk is still held by its node: its owner keeps listing the node as a place and is told
// nothing. Who does not find it in memory asks the raylet (PULL, PIN), which restores it. So no message can
// be lost between a write and the release of the memory, and FREE is all that ends it.
//
// Invariants: a version is on disk at one place at most. What is being written stays primary, and held, until
// the write has succeeded. A file is removed when nothing in it is live and nothing is being written to it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "objstore/store.h"
#include "runtime/base/status.h"
#include "runtime/base/time.h"

namespace rmpi::objstore::spill {

struct SpillOptions {
  // Tiers, the one to use first first; none: nothing is spilled. From one that is nearly full the oldest
  // objects move to the next.
  std::vector<std::string> folders;
  bool named = false;  // by the user, so other nodes may see them, too
  uint64_t least_write_bytes =
      100 << 20;             // fused into one write, if there is as much (and at most 1/8 of the store)
  size_t most_fused = 2000;  // objects of one write
  size_t most_writes = 4;    // at a time
  uint64_t file_bytes = 256 << 20;  // of the first files; larger when there are many
  bool keep_files = false;          // nothing is removed or compacted, and the keeper leaves the folders
  double threshold = 0.8;           // of the store: what is above is written ahead of need
};

struct FileId {
  uint64_t number = 0;
  size_t tier = 0;
};

// A version on disk whose bytes are to come to a place of the arena.
struct RestoreItem {
  uint64_t request = 0;
  Version version;
  uint64_t arena_offset = 0;
};
struct ReadJob {
  uint64_t request = 0;
  uint64_t file = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t checksum = 0;
  uint64_t arena_offset = 0;
};

// Objects to write to one file, one behind the other.
struct WriteJob {
  struct Item {
    Version version;
    uint64_t offset = 0;  // in the file's data
    uint64_t size = 0;
    uint64_t arena_offset = 0;  // where its bytes are
    uint64_t checksum = 0;      // of a move: what they must be; else the writer fills it in
  };
  uint64_t job = 0;
  FileId file;
  uint64_t data_bytes = 0;  // the file's shape, for whoever is the first to write to it
  uint32_t index_records = 0;
  uint32_t first_record = 0;
  uint64_t from_file = 0;  // a move: from this file at from_offset, not from the arena
  std::vector<Item> items;
  std::vector<uint64_t> from_offsets;
};

class SpillManager {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    // Ends in OnWritten with the same job, its checksums filled in.
    virtual void Write(WriteJob job) = 0;
    // Each ends in OnRestored with the same request. The first one is waited for.
    virtual void Read(std::vector<ReadJob> jobs) = 0;
    virtual void RemoveFile(uint64_t file) = 0;
    // Little is free in the file system of this tier's folder.
    virtual bool NearlyFull(size_t tier) = 0;
    virtual void Log(const std::string& text) = 0;
  };
  struct Stats {
    uint64_t objects = 0, bytes = 0;  // on disk now
    uint64_t written_bytes = 0, restored_bytes = 0;
    size_t files = 0;
  };

  SpillManager(SpillOptions options, Store* store, Host* host);

  // Writes what should be written: what is above the threshold, and more while somebody waits for `wanted`
  // bytes.
  void Pump(uint64_t wanted, TimeNs now);
  // By then Pump is to be called again, should nothing happen.
  TimeNs NextDeadline() const { return demoting_ != 0 ? kNever : demote_at_; }
  void OnWritten(const WriteJob& job, const Status& status, TimeNs now);

  bool Holds(const ObjectId& id, uint32_t attempt) const { return index_.count({id, attempt}) != 0; }
  // REQUIRES: Holds(id, attempt).
  uint64_t SizeOf(const ObjectId& id, uint32_t attempt) const { return index_.at({id, attempt}).size; }
  // REQUIRES: Holds() them.
  void Restore(const std::vector<RestoreItem>& items);
  // What will be wanted next, if objects are read in the order in which they were written: those behind
  // this one in its file, more each time. REQUIRES: Holds(version), which is to be restored.
  struct Ahead {
    Version version;
    uint64_t size;
  };
  std::vector<Ahead> ReadAhead(const Version& version);
  // How that read went: an object that cannot be read is no longer held.
  void OnRead(const ObjectId& id, uint32_t attempt, const Status& status);

  // All versions on disk, and their sizes.
  template <class F>
  void ForEach(F&& fn) const {
    for (const auto& [version, at] : index_) fn(version, at.size);
  }

  void Free(const ObjectId& id, uint32_t attempt);
  void FreeFrom(const TaskId& task, uint32_t attempt, uint32_t index);
  void OwnerGone(const Address& owner);
  void NodeGone(uint32_t node);

  uint64_t writing_bytes() const { return writing_; }
  // The latest success of a write: what waits for room may go on waiting.
  TimeNs progress() const { return progress_; }
  // Why nothing could be written, anywhere, the last time it was tried. OK: something could.
  Status Blocked() const;
  Stats GetStats() const;

 private:
  struct Place {
    uint64_t file = 0;
    uint64_t offset = 0;
    uint64_t size = 0;
    uint64_t checksum = 0;
  };
  struct File {
    size_t tier = 0;
    uint64_t data_bytes = 0, used_bytes = 0, live_bytes = 0;
    uint32_t records = 0, used_records = 0;
    std::map<uint64_t, Version> live;  // by offset
    uint32_t jobs = 0;                 // that write to it, or move from it
    bool filled = false;               // it takes space
    bool open = true;                  // more may be written to it
    bool compacting = false;           // what lives in it is on its way elsewhere, or cannot be read
  };
  struct Tier {
    uint64_t current = 0;  // the file that is written to; 0: none
    TimeNs retry_at = 0;   // nothing fits before that
    Status failed;         // why
  };

  std::optional<size_t> UsableTier(TimeNs now) const;
  // Places the items in a file of the tier and fills in the rest of the job.
  void Plan(WriteJob* job, size_t tier);
  bool StartWrite(uint64_t bytes, TimeNs now);
  void Adopt(const WriteJob& job, const WriteJob::Item& item);
  void OnMoved(const WriteJob& job, const Status& status);
  void Forget(std::unordered_map<Version, Place, VersionHash>::iterator it);
  void FreeIf(const std::function<bool(const Version&)>& doomed);
  void Settle(uint64_t number);
  void Compact(TimeNs now);
  void Demote(TimeNs now);
  void StartDemotion(std::map<uint64_t, File>::iterator from, size_t tier);
  WriteJob MoveFrom(std::map<uint64_t, File>::iterator from, uint64_t most_bytes);

  const SpillOptions options_;
  Store* const store_;
  Host* const host_;
  std::vector<Tier> tiers_;
  std::map<uint64_t, File> files_;
  std::unordered_map<Version, Place, VersionHash> index_;
  std::unordered_map<uint64_t, std::vector<const Store::Entry*>> jobs_;  // what each write holds
  uint64_t next_file_ = 1, next_job_ = 1;
  uint64_t writing_ = 0;  // bytes
  TimeNs progress_ = 0;
  bool compaction_due_ = false;  // something was freed since the last look
  uint64_t demoting_ = 0;        // the job that moves objects to the next tier; 0: none
  TimeNs demote_at_ = kNever;    // when to look whether that is due
  struct {
    uint64_t file = 0, end = 0;  // up to there objects were restored one behind the other
    uint64_t ahead = 0;          // bytes to read beyond what is wanted
  } reading_;
  Stats stats_;
};

}  // namespace rmpi::objstore::spill
