// SPDX-License-Identifier: Apache-2.0
// The arena against a model: several clients create, seal, pin, read, release and are killed at any of these;
// copies come and are evicted, objects go to disk and come back, writes fail, everything is freed at any
// moment. Whoever holds a pin reads the object's own bytes, whatever happened to it since; what is referenced
// is in memory or on disk; at the end not a byte is left.
//
// RAY_MPI_FUZZ_STEPS=1000000 makes a long run of it, RAY_MPI_FUZZ_SEED repeats another one's choices.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

#include "tests/spill/spill_fixture.h"

namespace rmpi::objstore::spill {
namespace {

constexpr uint16_t kClients = 4;
constexpr uint64_t kDefaultSteps = 20'000;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class SpillFuzz : public SpillTest {
 protected:
  struct Value {
    uint64_t size = 0;
    char fill = 0;
  };
  struct Pin {
    uint16_t slot = 0;
    Locator at;
    Value value;
  };
  using Alive = std::map<uint64_t, Value>;

  uint64_t Draw(uint64_t below) { return random_() % below; }
  uint64_t DrawSize() { return Draw(8) == 0 ? Draw(kMiB) : Draw(60 << 10); }
  Alive::iterator AnyAlive() {
    const auto it = alive_.lower_bound(Draw(next_));
    return it == alive_.end() ? alive_.begin() : it;
  }
  bool Holds(const Locator& at, const Value& value) const {
    const std::byte* bytes = arena_->data(at.offset);
    return std::all_of(bytes, bytes + value.size, [&](std::byte b) { return b == std::byte(value.fill); });
  }

  void CreateOne() {
    Client* client = clients_[1 + Draw(kClients)].get();
    const Value value{DrawSize(), static_cast<char>(Draw(256))};
    const ObjectId id = MakeId(next_++);
    const uint64_t how = Draw(20);
    if (how > 1) {
      if (Put(client, id, value.size, value.fill)) {
        alive_[next_ - 1] = value;
      } else {
        MakeRoom();
      }
      return;
    }
    const auto at = Create(client, id, value.size);  // it never gets further; the raylet knows nothing of it
    if (!at) return;
    if (how == 0) client->Seal(*at);
    Draw(2) == 0 ? Kill(client->slot()) : client->Abort(*at);
  }
  void MakeRoom() {
    for (auto& [slot, client] : clients_) {
      for (const Range& r : client->TakeUnusedExtents()) EXPECT_TRUE(store_->ReturnExtent(slot, 1, r));
    }
    manager_->Pump(2 * kMiB, now_);
    for (const Version& v : awaited_) store_->NoReader(v.id, v.attempt);
    awaited_.clear();
  }
  void Kill(uint16_t slot) {
    std::erase_if(pins_held_, [slot](const Pin& p) { return p.slot == slot; });
    store_->ClientGone(slot, 1);
    clients_[slot] = NewClient(slot);
  }

  // Of what is in memory: pin and look. Of the rest: begin to read it.
  void GetOne() {
    if (alive_.empty()) return;
    const auto& [n, value] = *AnyAlive();
    const ObjectId id = MakeId(n);
    if (const Store::Entry* e = store_->Find(id, 0)) {
      Client* client = clients_[1 + Draw(kClients)].get();
      const Locator at = e->locator;
      ASSERT_EQ(client->Pin(at, id, 0), Client::PinResult::kPinned);
      ASSERT_TRUE(Holds(at, value));
      pins_held_.push_back({client->slot(), at, value});
      return;
    }
    ASSERT_TRUE(manager_->Holds(id, 0)) << "object " << n << " is lost";
    const bool under_way = std::any_of(reading_.begin(), reading_.end(),
                                       [&](const auto& reading) { return reading.second.id == id; });
    if (under_way) return;
    std::vector<RestoreItem> items;
    const auto room = store_->CreateCopy(id, 0, value.size, id.owner());
    if (!room) return MakeRoom();
    items.push_back({next_request_, {id, 0}, room->offset});
    reading_[next_request_++] = {id, 0};
    for (const auto& [version, size] : manager_->ReadAhead({id, 0})) {
      const bool reads = std::any_of(reading_.begin(), reading_.end(),
                                     [&](const auto& reading) { return reading.second == version; });
      const auto spare =
          reads ? std::nullopt : store_->CreateSpareCopy(version.id, version.attempt, size, id.owner());
      if (!spare) continue;
      items.push_back({next_request_, version, spare->offset});
      reading_[next_request_++] = version;
    }
    manager_->Restore(items);
  }
  void FinishOneRead() {
    if (reads_.empty()) return;
    std::swap(reads_.back(), reads_[Draw(reads_.size())]);
    FinishRead(reads_.back());
    const auto found = reading_.extract(reads_.back().job.request);
    reads_.pop_back();
    const Version v = found.mapped();
    manager_->OnRead(v.id, v.attempt, Status::Ok());
    if (!store_->SealCopy(v.id, v.attempt, true) || Draw(2) == 0) return;
    store_->AwaitReader(v.id, v.attempt);
    awaited_.push_back(v);
  }

  void ReleaseOne() {
    if (pins_held_.empty()) return;
    std::swap(pins_held_.back(), pins_held_[Draw(pins_held_.size())]);
    const Pin p = pins_held_.back();
    pins_held_.pop_back();
    ASSERT_TRUE(Holds(p.at, p.value)) << "it changed under a pin";
    clients_[p.slot]->Unpin(p.at);
  }
  void FreeOne() {
    if (alive_.empty()) return;
    const auto it = AnyAlive();
    FreeBoth(MakeId(it->first));
    alive_.erase(it);
  }
  // Of another node's object: it may go at any time, and then its owner is told.
  void CopyOne() {
    const ObjectId id = MakeId(next_++);
    const auto at = store_->CreateCopy(id, 0, DrawSize(), id.owner());
    if (!at) return;
    if (Draw(4) == 0) return store_->AbortCopy(id, 0);
    EXPECT_TRUE(store_->SealCopy(id, 0));
    copies_.insert(id);
  }
  void NoteEvicted() {
    for (const Store::Evicted& e : store_->TakeEvicted()) {
      EXPECT_EQ(copies_.erase(e.version.id), 1U) << "only what is elsewhere, too";
    }
  }
  void WriteOne() {
    if (writes_.empty()) return;
    std::swap(writes_.front(), writes_[Draw(writes_.size())]);
    FinishWrite(Draw(10) == 0 ? Status::OutOfDisk("full") : Status::Ok());
  }

  void Step() {
    now_ += Draw(50) * kMillisecond;
    const uint64_t what = Draw(100);
    if (what < 30) return CreateOne();
    if (what < 50) return GetOne();
    if (what < 64) return FinishOneRead();
    if (what < 78) return ReleaseOne();
    if (what < 84) return FreeOne();
    if (what < 87) return CopyOne();
    if (what < 95) return WriteOne();
    if (what == 95) return Kill(static_cast<uint16_t>(1 + Draw(kClients)));
    if (what == 96) {
      store_->Sweep();
      return;
    }
    if (Draw(4) == 0) nearly_full_.empty() ? void(nearly_full_.insert(0)) : nearly_full_.clear();
    manager_->Pump(0, now_);
  }
  void End() {
    while (!pins_held_.empty() && !HasFatalFailure()) ReleaseOne();
    while (!reads_.empty()) FinishOneRead();
    while (!alive_.empty()) FreeOne();
    while (!writes_.empty()) FinishWrite();
    EXPECT_NE(std::find(tiers_.begin(), tiers_.end(), 1U), tiers_.end());
    NoteEvicted();
    for (const ObjectId& id : copies_) store_->Free(id, 0);
    for (uint16_t slot = 1; slot <= kClients; ++slot) Kill(slot);
    store_->Sweep();
    EXPECT_EQ(store_->used_bytes(), 0U);
    EXPECT_EQ(store_->primary_bytes(), 0U);
    EXPECT_EQ(manager_->GetStats().objects, 0U);
    EXPECT_EQ(manager_->GetStats().bytes, 0U);
    EXPECT_EQ(manager_->GetStats().files, 0U);
    EXPECT_TRUE(disk_.empty());
  }

  std::mt19937_64 random_;
  Alive alive_;
  std::set<ObjectId> copies_;
  std::vector<Pin> pins_held_;
  std::vector<Version> awaited_;
  std::map<uint64_t, Version> reading_;
  std::map<uint16_t, std::unique_ptr<Client>> clients_;
  uint64_t next_ = 1, next_request_ = 1;
};

TEST_F(SpillFuzz, NothingIsLostOrReadWrongly) {
  const uint64_t seed = FromEnvironment("RAY_MPI_FUZZ_SEED", 1);
  const uint64_t steps = FromEnvironment("RAY_MPI_FUZZ_STEPS", kDefaultSteps);
  random_.seed(seed);
  SpillOptions options;
  options.folders = {"a", "b"};
  options.file_bytes = 2 * kMiB;
  options.most_fused = 1 + Draw(30);
  Begin(8 * kMiB, options);
  for (uint16_t slot = 1; slot <= kClients; ++slot) clients_[slot] = NewClient(slot);
  for (uint64_t step = 0; step < steps; ++step) {
    Step();
    NoteEvicted();
    if (HasFailure()) FAIL() << "RAY_MPI_FUZZ_SEED=" << seed << ", step " << step;
  }
  const auto disk = manager_->GetStats();
  EXPECT_GT(disk.written_bytes, 0U);
  EXPECT_GT(disk.restored_bytes, 0U);
  End();
}

}  // namespace
}  // namespace rmpi::objstore::spill
