// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/spill_manager.h"

#include <algorithm>

#include "objstore/spill/format.h"

namespace rmpi::objstore::spill {
namespace {

constexpr TimeNs kTierRetry = 1 * kSecond;
constexpr uint64_t kBytesPerRecord = 64 << 10;
constexpr size_t kFilesPerDoubling = 16;
constexpr size_t kMostDoublings = 6;
constexpr uint64_t kLiveShare = 4;  // a file with less than a quarter alive is compacted

constexpr uint64_t kDemotionBytes = 32 << 20;          // at a time,
constexpr TimeNs kDemotionPause = 100 * kMillisecond;  // and not sooner after it
constexpr uint64_t kFirstAhead = 1 << 20;
constexpr uint64_t kMostAhead = 16 << 20;
constexpr size_t kMostObjectsAhead = 128;
constexpr uint64_t kReadingGap = 1 << 20;  // what was freed, or is in memory

// Two objects never lie at one place, even if they have no bytes.
uint64_t Spread(uint64_t size) { return RoundUp(std::max<uint64_t>(size, 1), kObjectAlignment); }

}  // namespace

SpillManager::SpillManager(SpillOptions options, Store* store, Host* host)
    : options_(std::move(options)), store_(store), host_(host), tiers_(options_.folders.size()) {}

std::optional<size_t> SpillManager::UsableTier(TimeNs now) const {
  for (size_t i = 0; i < tiers_.size(); ++i) {
    if (now >= tiers_[i].retry_at) return i;
  }
  return std::nullopt;
}

Status SpillManager::Blocked() const {
  if (tiers_.empty()) return Status::Unavailable("no folder for objects that do not fit into memory");
  for (const Tier& t : tiers_) {
    if (t.failed.ok()) return t.failed;
  }
  return tiers_.back().failed;
}

void SpillManager::Pump(uint64_t wanted, TimeNs now) {
  if (tiers_.empty()) return;
  const auto limit =
      static_cast<uint64_t>(options_.threshold * static_cast<double>(store_->capacity_bytes()));
  while (jobs_.size() < options_.most_writes) {
    const uint64_t kept = store_->primary_bytes() - std::min(store_->primary_bytes(), writing_);
    const uint64_t ahead = kept > limit ? kept - limit : 0;
    const uint64_t missing = wanted > writing_ ? wanted - writing_ : 0;
    const uint64_t need = std::max(ahead, missing);
    if (need == 0 || !StartWrite(need, now)) break;
  }
  if (compaction_due_) Compact(now);
  Demote(now);
}

// One fused write. False: there is nothing to write, or nowhere to write it to.
bool SpillManager::StartWrite(uint64_t bytes, TimeNs now) {
  const auto tier = UsableTier(now);
  if (!tier) return false;
  const uint64_t most = std::min(options_.least_write_bytes, store_->capacity_bytes() / 8);
  const std::vector<const Store::Entry*> taken =
      store_->TakeToSpill(std::max<uint64_t>(std::min(bytes, most), most / 2), options_.most_fused);
  if (taken.empty()) return false;
  WriteJob job;
  job.job = next_job_++;
  for (const Store::Entry* e : taken) {
    job.items.push_back({{e->id, e->attempt}, 0, e->locator.size, e->locator.offset, 0});
    writing_ += FootprintBytes(e->locator.size);
  }
  Plan(&job, *tier);
  jobs_[job.job] = taken;
  host_->Write(std::move(job));
  return true;
}

void SpillManager::Plan(WriteJob* job, size_t tier) {
  uint64_t bytes = 0;
  for (const WriteJob::Item& item : job->items) bytes += Spread(item.size);
  bytes = RoundUp(std::max<uint64_t>(bytes, 1), kGroupAlignment);
  const auto count = static_cast<uint32_t>(job->items.size());
  Tier& t = tiers_[tier];
  auto it = files_.find(t.current);
  if (it != files_.end() && (it->second.data_bytes - it->second.used_bytes < bytes ||
                             it->second.records - it->second.used_records < count)) {
    it->second.open = false;
    Settle(t.current);
    it = files_.end();
  }
  if (it == files_.end()) {
    const size_t doublings = std::min(files_.size() / kFilesPerDoubling, kMostDoublings);
    t.current = next_file_++;
    it = files_.emplace(t.current, File{}).first;
    it->second.tier = tier;
    it->second.data_bytes = std::max(options_.file_bytes << doublings, bytes);
    it->second.records = static_cast<uint32_t>(
        std::min<uint64_t>(std::max<uint64_t>(it->second.data_bytes / kBytesPerRecord, count), kMaxRecords));
  }
  File& f = it->second;
  job->file = {it->first, tier};
  job->data_bytes = f.data_bytes;
  job->index_records = f.records;
  job->first_record = f.used_records;
  uint64_t offset = f.used_bytes;
  for (WriteJob::Item& item : job->items) {
    item.offset = offset;
    offset += Spread(item.size);
  }
  f.used_bytes += bytes;
  f.used_records += count;
  ++f.jobs;
}

void SpillManager::Adopt(const WriteJob& job, const WriteJob::Item& item) {
  index_[item.version] = {job.file.number, item.offset, item.size, item.checksum};
  File& f = files_.at(job.file.number);
  f.filled = true;
  f.live[item.offset] = item.version;
  f.live_bytes += Spread(item.size);
  ++stats_.objects;
  stats_.bytes += item.size;
}

void SpillManager::OnWritten(const WriteJob& job, const Status& status, TimeNs now) {
  File& f = files_.at(job.file.number);
  --f.jobs;
  Tier& tier = tiers_[job.file.tier];
  if (!status.ok()) {
    // What is in the file stays readable; nothing more is written to it.
    f.open = false;
    if (tier.current == job.file.number) tier.current = 0;
    tier.retry_at = now + kTierRetry;
    if (tier.failed.ok()) host_->Log("nothing more is spilled there for now: " + status.message());
    tier.failed = status;
  } else {
    tier.failed = Status::Ok();
    progress_ = now;
  }
  const bool demotion = job.job == demoting_;
  if (demotion) demoting_ = 0;
  if (!options_.keep_files && (demotion || job.file.tier + 1 < tiers_.size()))
    demote_at_ = std::min(demote_at_, demotion ? now + (status.ok() ? kDemotionPause : kTierRetry) : now);
  if (job.from_file != 0) {
    OnMoved(job, status);
  } else {
    const auto held = jobs_.extract(job.job);
    for (size_t i = 0; i < job.items.size(); ++i) {
      const Store::Entry* e = held.mapped()[i];
      writing_ -= FootprintBytes(job.items[i].size);
      if (status.ok()) stats_.written_bytes += job.items[i].size;
      if (status.ok() && !e->freed) Adopt(job, job.items[i]);
      store_->Spilled(e, status.ok());
    }
  }
  Settle(job.file.number);
}

void SpillManager::Restore(const std::vector<RestoreItem>& items) {
  std::vector<ReadJob> jobs;
  for (const RestoreItem& item : items) {
    const Place& at = index_.at(item.version);
    jobs.push_back({item.request, at.file, at.offset, at.size, at.checksum, item.arena_offset});
  }
  host_->Read(std::move(jobs));
}

std::vector<SpillManager::Ahead> SpillManager::ReadAhead(const Version& version) {
  const Place& at = index_.at(version);
  const bool next_file = at.file == reading_.file + 1 && at.offset == 0;
  const bool behind =
      at.file == reading_.file && at.offset >= reading_.end && at.offset - reading_.end <= kReadingGap;
  const uint64_t most = std::min(kMostAhead, store_->capacity_bytes() / 8);
  reading_.ahead = next_file || behind ? std::min(std::max(reading_.ahead * 2, kFirstAhead), most) : 0;
  reading_.file = at.file;
  reading_.end = at.offset + Spread(at.size);
  std::vector<Ahead> found;
  const auto& live = files_.at(at.file).live;
  uint64_t left = reading_.ahead;
  for (auto it = live.upper_bound(at.offset); it != live.end() && found.size() < kMostObjectsAhead; ++it) {
    const Place& place = index_.at(it->second);
    if (FootprintBytes(place.size) > left) break;
    left -= FootprintBytes(place.size);
    reading_.end = place.offset + Spread(place.size);
    if (store_->Find(it->second.id, it->second.attempt) == nullptr) found.push_back({it->second, place.size});
  }
  return found;
}

void SpillManager::OnRead(const ObjectId& id, uint32_t attempt, const Status& status) {
  const auto it = index_.find({id, attempt});
  if (it == index_.end()) return;  // freed meanwhile
  if (status.ok()) {
    stats_.restored_bytes += it->second.size;
    return;
  }
  host_->Log("an object is lost from disk: " + status.message());
  Forget(it);
}

void SpillManager::Forget(std::unordered_map<Version, Place, VersionHash>::iterator it) {
  const Place at = it->second;
  index_.erase(it);
  --stats_.objects;
  stats_.bytes -= at.size;
  File& f = files_.at(at.file);
  f.live.erase(at.offset);
  f.live_bytes -= Spread(at.size);
  compaction_due_ = true;
  Settle(at.file);
}

void SpillManager::Free(const ObjectId& id, uint32_t attempt) {
  if (const auto it = index_.find({id, attempt}); it != index_.end()) Forget(it);
}

void SpillManager::FreeIf(const std::function<bool(const Version&)>& doomed) {
  std::vector<Version> found;
  for (const auto& [version, place] : index_) {
    if (doomed(version)) found.push_back(version);
  }
  for (const Version& v : found) Free(v.id, v.attempt);
}

void SpillManager::FreeFrom(const TaskId& task, uint32_t attempt, uint32_t index) {
  FreeIf([&](const Version& v) { return v.id.task == task && v.attempt == attempt && v.id.index >= index; });
}

void SpillManager::OwnerGone(const Address& owner) {
  FreeIf([&](const Version& v) { return v.id.owner() == owner; });
}

void SpillManager::NodeGone(uint32_t node) {
  FreeIf([&](const Version& v) { return v.id.owner().node == node; });
}

// A file in which nothing lives goes, also the one that is written to: its space comes back.
void SpillManager::Settle(uint64_t number) {
  const auto it = files_.find(number);
  if (it == files_.end() || it->second.jobs != 0 || !it->second.live.empty()) return;
  // Nothing was written yet, or all of it is freed: the next write begins a new one.
  Tier& tier = tiers_[it->second.tier];
  if (tier.current == number) tier.current = 0;
  if (it->second.filled) tier.retry_at = 0;  // if it was full, it is not any more
  files_.erase(it);
  if (!options_.keep_files) host_->RemoveFile(number);
}

// One file at a time: what lives in it is written behind what comes now, and then it goes.
void SpillManager::Compact(TimeNs now) {
  const auto sparse = [](const auto& file) {
    const File& f = file.second;
    return !f.open && !f.compacting && f.jobs == 0 && f.live_bytes < f.used_bytes / kLiveShare;
  };
  const bool running = std::any_of(files_.begin(), files_.end(), [](const auto& file) {
    return file.second.compacting && file.second.jobs != 0;
  });
  const auto it = std::find_if(files_.begin(), files_.end(), sparse);
  if (running) return;
  compaction_due_ = false;
  if (it == files_.end() || options_.keep_files) return;
  const auto tier = UsableTier(now);
  if (!tier) return;
  WriteJob job = MoveFrom(it, UINT64_MAX);
  it->second.compacting = true;
  ++it->second.jobs;
  Plan(&job, *tier);
  host_->Write(std::move(job));
}

// What lives in the file, or the first part of it.
WriteJob SpillManager::MoveFrom(std::map<uint64_t, File>::iterator from, uint64_t most_bytes) {
  WriteJob job;
  job.job = next_job_++;
  job.from_file = from->first;
  uint64_t bytes = 0;
  for (const auto& [offset, version] : from->second.live) {
    const Place& at = index_.at(version);
    if (bytes != 0 && bytes + at.size > most_bytes) break;
    bytes += at.size;
    job.items.push_back({version, 0, at.size, 0, at.checksum});
    job.from_offsets.push_back(offset);
  }
  return job;
}

// The oldest objects of a tier that is nearly full go to the next one, ahead of need, a little at a time.
void SpillManager::Demote(TimeNs now) {
  if (demoting_ != 0 || now < demote_at_) return;
  demote_at_ = kNever;
  for (size_t tier = 0; tier + 1 < tiers_.size(); ++tier) {
    const auto it = std::find_if(files_.begin(), files_.end(), [tier](const auto& file) {
      return file.second.tier == tier && !file.second.compacting && !file.second.live.empty();
    });
    if (it == files_.end() || !host_->NearlyFull(tier)) continue;
    for (size_t next = tier + 1; next < tiers_.size(); ++next) {
      if (now >= tiers_[next].retry_at) return StartDemotion(it, next);
    }
    demote_at_ = now + kTierRetry;
  }
}

void SpillManager::StartDemotion(std::map<uint64_t, File>::iterator from, size_t tier) {
  from->second.open = false;
  Tier& old = tiers_[from->second.tier];
  if (old.current == from->first) old.current = 0;
  WriteJob job = MoveFrom(from, kDemotionBytes);
  ++from->second.jobs;
  demoting_ = job.job;
  Plan(&job, tier);
  host_->Write(std::move(job));
}

// Of a move: what was not freed meanwhile is at its new place now.
void SpillManager::OnMoved(const WriteJob& job, const Status& status) {
  File& from = files_.at(job.from_file);
  --from.jobs;
  if (!status.ok()) from.compacting = status.code() != StatusCode::kOutOfDisk;  // full: later, then
  for (size_t i = 0; status.ok() && i < job.items.size(); ++i) {
    const auto it = index_.find(job.items[i].version);
    if (it == index_.end() || it->second.file != job.from_file || it->second.offset != job.from_offsets[i])
      continue;
    Forget(it);
    Adopt(job, job.items[i]);
  }
  Settle(job.from_file);
}

SpillManager::Stats SpillManager::GetStats() const {
  Stats s = stats_;
  s.files = files_.size();
  return s;
}

}  // namespace rmpi::objstore::spill
