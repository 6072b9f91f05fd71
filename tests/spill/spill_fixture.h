// SPDX-License-Identifier: Apache-2.0
// A store whose objects go to disk, in one process, with files that are maps. Writes and reads end when the
// test says so.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "objstore/spill/spill_manager.h"
#include "tests/objstore/store_fixture.h"

namespace rmpi::objstore::spill {

constexpr uint64_t kMiB = 1 << 20;

class SpillTest : public StoreTest, public SpillManager::Host {
 protected:
  void Begin(uint64_t store_bytes, SpillOptions options = {}) {
    Start(store_bytes);
    if (options.folders.empty()) options.folders = {"a"};
    manager_ = std::make_unique<SpillManager>(options, store_.get(), this);
    client_ = NewClient(1);
  }

  // ---- a disk: data by file and offset
  void Write(WriteJob job) override { writes_.push_back(std::move(job)); }
  // As in a file that is open: what is read stays readable, whatever becomes of the file.
  void Read(std::vector<ReadJob> jobs) override {
    for (const ReadJob& job : jobs) reads_.push_back({job, disk_.at(job.file).at(job.offset)});
  }
  void RemoveFile(uint64_t file) override {
    EXPECT_EQ(removed_.count(file), 0U);
    removed_.insert(file);
    disk_.erase(file);
  }
  bool NearlyFull(size_t tier) override { return nearly_full_.count(tier) != 0; }
  void Log(const std::string&) override {}

  // The oldest write happens, or fails.
  void FinishWrite(const Status& status = {}) {
    WriteJob job = writes_.front();
    writes_.erase(writes_.begin());
    uint64_t end = 0;
    for (size_t i = 0; i < job.items.size(); ++i) {
      WriteJob::Item& item = job.items[i];
      EXPECT_GE(item.offset, end) << "one behind the other";
      end = item.offset + item.size;
      EXPECT_LE(end, job.data_bytes);
      std::string bytes(reinterpret_cast<const char*>(arena_->data(item.arena_offset)), item.size);
      if (job.from_file != 0) bytes = disk_.at(job.from_file).at(job.from_offsets[i]);
      if (!status.ok()) continue;
      item.checksum = std::hash<std::string>()(bytes);
      EXPECT_TRUE(disk_[job.file.number].emplace(item.offset, bytes).second) << "a place is written once";
    }
    EXPECT_LE(job.first_record + job.items.size(), job.index_records);
    tiers_.push_back(job.file.tier);
    manager_->OnWritten(job, status, now_);
  }
  void FinishWrites() {
    while (!writes_.empty()) FinishWrite();
  }
  struct Reading {
    ReadJob job;
    std::string bytes;
  };
  void FinishRead(const Reading& r) {
    EXPECT_EQ(r.bytes.size(), r.job.size);
    EXPECT_EQ(r.job.checksum, std::hash<std::string>()(r.bytes));
    std::memcpy(arena_->data(r.job.arena_offset), r.bytes.data(), r.bytes.size());
  }
  // Brings an object back as the raylet does. False: no room.
  bool Restore(const ObjectId& id, uint64_t size) {
    const auto room = store_->CreateCopy(id, 0, size, id.owner());
    if (!room) return false;
    manager_->ReadAhead({id, 0});
    manager_->Restore({{1, {id, 0}, room->offset}});
    FinishRead(reads_.back());
    reads_.pop_back();
    manager_->OnRead(id, 0, Status::Ok());
    EXPECT_TRUE(store_->SealCopy(id, 0, true));
    return true;
  }
  void FreeBoth(const ObjectId& id) {
    store_->Free(id, 0);
    manager_->Free(id, 0);
  }
  bool InMemory(const ObjectId& id) const { return store_->Find(id, 0) != nullptr; }

  std::unique_ptr<SpillManager> manager_;
  std::unique_ptr<Client> client_;
  std::vector<WriteJob> writes_;
  std::vector<Reading> reads_;
  std::vector<size_t> tiers_;
  std::set<size_t> nearly_full_;
  std::set<uint64_t> removed_;
  std::map<uint64_t, std::map<uint64_t, std::string>> disk_;
  TimeNs now_ = kSecond;
};

}  // namespace rmpi::objstore::spill
