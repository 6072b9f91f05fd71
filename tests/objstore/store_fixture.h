// SPDX-License-Identifier: Apache-2.0
// A node's store in one process: arena, pin table, the raylet's Store, and clients that reach it by direct
// calls.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "objstore/client.h"
#include "objstore/store.h"

namespace rmpi::objstore {

constexpr uint32_t kNode = 7;

inline ObjectId MakeId(uint64_t n, uint16_t owner_slot = 1) {
  ObjectId id;
  id.task.job.value = 1;
  id.task.owner = {kNode, owner_slot, 0, 1};
  id.task.sequence = TaskId::Sequence(TaskKind::kPut, n);
  return id;
}

inline std::unique_ptr<Arena> MakeArena(uint64_t bytes) {
  UniqueFd fd;
  Status s = Arena::CreateFd({bytes, false, ""}, &fd);
  EXPECT_TRUE(s.ok()) << s.message();
  std::unique_ptr<Arena> arena;
  s = Arena::Map(fd.get(), 0, &arena);
  EXPECT_TRUE(s.ok()) << s.message();
  return arena;
}

inline std::unique_ptr<PinTable> MakePinTable(uint16_t slots) {
  UniqueFd fd;
  Status s = PinTable::CreateFd(slots, &fd);
  EXPECT_TRUE(s.ok()) << s.message();
  std::unique_ptr<PinTable> table;
  s = PinTable::Map(fd.get(), &table);
  EXPECT_TRUE(s.ok()) << s.message();
  return table;
}

class StoreTest : public testing::Test {
 protected:
  void Start(uint64_t bytes, uint16_t slots = 8) {
    arena_ = MakeArena(bytes);
    pins_ = MakePinTable(slots);
    store_ = std::make_unique<Store>(arena_.get(), pins_.get(), kNode);
  }
  std::unique_ptr<Client> NewClient(uint16_t slot) {
    return std::make_unique<Client>(arena_.get(), pins_.get(), kNode, slot);
  }

  // Create with the raylet's part done at once. Nothing: the store is full.
  std::optional<Locator> Create(Client* c, const ObjectId& id, uint64_t size, uint32_t attempt = 0) {
    for (int tries = 0; tries < 3; ++tries) {
      Locator locator;
      uint64_t extent_bytes = 0;
      if (c->Create(id, attempt, size, &locator, &extent_bytes) == Client::CreateResult::kOk) return locator;
      for (const Range& r : c->TakeRetired()) EXPECT_TRUE(store_->ReturnExtent(c->slot(), 1, r));
      if (auto extent = store_->LeaseExtent(c->slot(), 1, extent_bytes)) {
        c->AddExtent(*extent);
      } else {
        c->ExtentRefused();
      }
    }
    return std::nullopt;
  }
  // Create, fill with `fill`, seal, announce.
  std::optional<Locator> Put(Client* c, const ObjectId& id, uint64_t size, char fill = 'x',
                             uint32_t attempt = 0) {
    auto locator = Create(c, id, size, attempt);
    if (!locator) return std::nullopt;
    std::memset(arena_->data(locator->offset), fill, size);
    c->Seal(*locator);
    EXPECT_TRUE(store_->OnSealed(c->slot(), 1, id, attempt, *locator, id.owner()));
    return locator;
  }
  std::optional<Locator> PutCopy(const ObjectId& id, uint64_t size) {
    auto locator = store_->CreateCopy(id, 0, size, id.owner());
    EXPECT_TRUE(!locator || store_->SealCopy(id, 0));
    return locator;
  }

  std::unique_ptr<Arena> arena_;
  std::unique_ptr<PinTable> pins_;
  std::unique_ptr<Store> store_;
};

}  // namespace rmpi::objstore
