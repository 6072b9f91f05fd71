// SPDX-License-Identifier: Apache-2.0
// SpillIo: the threads that write and read spill files for one SpillManager. Each takes the next job, reads
// before writes; a file is made by the first job that writes to it. The threads are made with the first job
// and touch nothing but files and the ranges of the arena that their jobs name, which whoever queued them
// holds.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "objstore/arena.h"
#include "objstore/spill/left_files.h"
#include "objstore/spill/spill_file.h"
#include "objstore/spill/spill_manager.h"

namespace rmpi::objstore::spill {

class SpillIo {
 public:
  struct Options {
    std::vector<std::string> folders;  // made with the first file there
    std::string hdf5_plugin;
    uint32_t node = 0;
    uint64_t run = 0;
    Arena* arena = nullptr;
    size_t threads = 4;
    std::function<void()> wake;  // something is done; called by these threads
  };
  explicit SpillIo(Options options);
  ~SpillIo();  // waits for the jobs that run; drops the others
  SpillIo(const SpillIo&) = delete;
  SpillIo& operator=(const SpillIo&) = delete;

  void Write(WriteJob job);
  void Read(const std::vector<ReadJob>& jobs);  // the first one is told of at once
  void Remove(uint64_t file);                   // what runs on it goes on
  // Files of a dead node.
  void ListLeft(uint32_t node, const std::vector<std::string>& folders);
  void ReadLeft(const std::shared_ptr<const SpillFile>& file, const ReadJob& job);
  // What is written to this tier from now on survives this host: a write is done when it is on the disk.
  void SetShared(size_t tier) { shared_.at(tier) = true; }

  struct Written {
    WriteJob job;
    Status status;
  };
  struct Restored {
    uint64_t request = 0;
    Status status;
    bool left = false;  // from a file of a dead node
  };
  struct Listing {
    uint32_t node = 0;
    std::vector<LeftFile> files;
  };
  struct Done {
    std::vector<Written> written;
    std::vector<Restored> restored;
    std::vector<Listing> listings;
  };
  Done Take();  // since the last call

 private:
  struct OpenFile {
    std::mutex making;
    std::unique_ptr<SpillFile> file;  // null: not made yet
  };
  using Files = std::map<uint64_t, std::shared_ptr<OpenFile>>;

  void Queue(std::deque<std::function<void()>>* queue, std::function<void()> job);
  void Work();
  std::shared_ptr<OpenFile> FileOf(uint64_t number);
  Status MakeFile(const WriteJob& job, OpenFile* open);
  Status DoWrite(WriteJob* job);
  Status ReadMoved(const WriteJob& job, std::vector<std::byte>* bytes);
  // With the file as it was when the read was wanted: what lies there may have moved since.
  using Reading = std::pair<ReadJob, std::shared_ptr<OpenFile>>;
  Status DoRead(const Reading& reading);
  void ReadAll(const std::vector<Reading>& readings);

  void Tell(const std::function<void()>& note);

  const Options options_;
  std::vector<std::atomic<bool>> shared_;  // by tier
  Skeletons skeletons_;
  std::mutex making_skeleton_;  // HDF5 is called by one thread at a time
  std::mutex mutex_;            // all below
  std::condition_variable more_;
  std::deque<std::function<void()>> reads_, writes_;
  Files files_;
  Done done_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rmpi::objstore::spill
