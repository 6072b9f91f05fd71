// SPDX-License-Identifier: Apache-2.0
// Spiller: a raylet's objects on disk, and those that dead nodes have left there: the logic (SpillManager,
// LeftFiles), the threads that do it (SpillIo), and the bell by which they tell. Owned by the control thread,
// but for the bell.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "objstore/arena.h"
#include "objstore/spill/left_files.h"
#include "objstore/spill/spill_io.h"
#include "objstore/spill/spill_manager.h"
#include "runtime/base/unique_fd.h"

namespace rmpi {

class Spiller : public objstore::spill::SpillManager::Host, public objstore::spill::LeftFiles::Host {
 public:
  using RestoredFn = std::function<void(uint64_t request, const Status& status)>;
  Spiller(objstore::spill::SpillOptions options, const std::string& hdf5_plugin, uint32_t node, uint64_t run,
          objstore::Arena* arena, objstore::Store* store, RestoredFn restored);

  int event_fd() const { return bell_.get(); }
  // What the threads have done since. True: some was written, so there may be room.
  bool OnEvent(TimeNs now);
  objstore::spill::SpillManager& manager() { return manager_; }
  const objstore::spill::SpillManager& manager() const { return manager_; }
  objstore::spill::LeftFiles& left() { return left_; }
  const objstore::spill::LeftFiles& left() const { return left_; }
  // Others see these folders of ours.
  void SetShared(const std::vector<std::string>& folders);
  // Brings objects that are on disk to places in the arena; each ends in `restored`.
  void Restore(const std::vector<objstore::spill::RestoreItem>& items);

 private:
  void Write(objstore::spill::WriteJob job) override { io_.Write(std::move(job)); }
  void Read(std::vector<objstore::spill::ReadJob> jobs) override { io_.Read(jobs); }
  void RemoveFile(uint64_t file) override { io_.Remove(file); }
  bool NearlyFull(size_t tier) override;
  void Log(const std::string& text) override;
  void ListLeft(uint32_t node, const std::vector<std::string>& folders) override {
    io_.ListLeft(node, folders);
  }
  void ReadLeft(const std::shared_ptr<const objstore::spill::SpillFile>& file,
                const objstore::spill::ReadJob& job) override {
    io_.ReadLeft(file, job);
  }
  void Restored(uint64_t request, const Status& status) override { restored_(request, status); }

  const std::vector<std::string> folders_;
  UniqueFd bell_;
  const RestoredFn restored_;
  objstore::spill::SpillManager manager_;
  objstore::spill::LeftFiles left_{this};
  std::unordered_map<uint64_t, objstore::Version> reading_;
  objstore::spill::SpillIo io_;  // last: its threads ring the bell
};

}  // namespace rmpi
