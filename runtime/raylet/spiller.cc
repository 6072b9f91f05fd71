// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/spiller.h"

#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

namespace rmpi {

namespace spill = objstore::spill;

namespace {

constexpr uint64_t kFreePart = 8;  // of a file system: less than this part of it is little

}  // namespace

Spiller::Spiller(spill::SpillOptions options, const std::string& hdf5_plugin, uint32_t node, uint64_t run,
                 objstore::Arena* arena, objstore::Store* store, RestoredFn restored)
    : folders_(options.folders),
      bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      restored_(std::move(restored)),
      manager_(options, store, this),
      io_({options.folders, hdf5_plugin, node, run, arena, options.most_writes, [bell = bell_.get()] {
             const uint64_t one = 1;
             [[maybe_unused]] const ssize_t n = write(bell, &one, sizeof one);
           }}) {}

void Spiller::Restore(const std::vector<spill::RestoreItem>& items) {
  for (const auto& item : items) reading_[item.request] = item.version;
  manager_.Restore(items);
}

bool Spiller::OnEvent(TimeNs now) {
  uint64_t n;
  [[maybe_unused]] const ssize_t r = read(bell_.get(), &n, sizeof n);
  const spill::SpillIo::Done done = io_.Take();
  for (const auto& w : done.written) manager_.OnWritten(w.job, w.status, now);
  for (const auto& listing : done.listings) left_.OnListed(listing.node, listing.files);
  for (const auto& r : done.restored) {
    if (r.left) {
      left_.OnLeftRead(r.request, r.status);
      continue;
    }
    const auto version = reading_.extract(r.request);
    manager_.OnRead(version.mapped().id, version.mapped().attempt, r.status);
    restored_(r.request, r.status);
  }
  return !done.written.empty();
}

void Spiller::SetShared(const std::vector<std::string>& folders) {
  for (size_t tier = 0; tier < folders_.size(); ++tier) {
    if (std::find(folders.begin(), folders.end(), folders_[tier]) != folders.end()) io_.SetShared(tier);
  }
}

// The last tier, perhaps a slow file system of a whole cluster, is never asked.
bool Spiller::NearlyFull(size_t tier) {
  struct statvfs space {};
  if (statvfs(folders_[tier].c_str(), &space) != 0) return false;  // not made yet
  return space.f_bavail < space.f_blocks / kFreePart;
}

void Spiller::Log(const std::string& text) { spdlog::warn("{}", text); }

}  // namespace rmpi
