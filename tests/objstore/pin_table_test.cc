// SPDX-License-Identifier: Apache-2.0
#include "objstore/pin_table.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <random>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tests/objstore/store_fixture.h"

namespace rmpi::objstore {
namespace {

TEST(PinTableTest, AgreesWithAModelOverRandomOperations) {
  auto table = MakePinTable(4);
  for (uint16_t slot = 0; slot < 4; ++slot) table->Open(slot);
  std::vector<std::unordered_map<uint64_t, int>> model(4);
  std::mt19937 random(1);
  uint64_t live = 0;
  for (int i = 0; i < 200'000; ++i) {
    const auto slot = static_cast<uint16_t>(random() % 4);
    const uint64_t key = PinTable::KeyOf(random() % 2, 64 * (1 + random() % 3000));
    int& count = model[slot][key];
    if (random() % 2 == 0) {
      ASSERT_TRUE(table->Add(slot, key));
      ++count, ++live;
    } else if (count > 0) {
      table->Remove(slot, key);
      --count, --live;
    }
    bool pinned = false;
    for (auto& m : model) pinned |= m.contains(key) && m[key] > 0;
    ASSERT_EQ(table->Pinned(key), pinned);
  }
  uint64_t sum = 0;
  for (uint16_t slot = 0; slot < 4; ++slot) sum += table->Live(slot);
  EXPECT_EQ(sum, live);
}

TEST(PinTableTest, HoldsThousandsOfPinsThenSaysFullAndRecovers) {
  auto table = MakePinTable(1);
  table->Open(0);
  uint64_t pinned = 0;
  while (table->Add(0, PinTable::KeyOf(0, 64 * (pinned + 1)))) ++pinned;
  EXPECT_GE(pinned, 8192u);
  EXPECT_EQ(table->Live(0), pinned);
  for (uint64_t i = 1; i <= pinned; ++i) ASSERT_TRUE(table->Pinned(PinTable::KeyOf(0, 64 * i)));
  ASSERT_FALSE(table->Pinned(PinTable::KeyOf(0, 64 * (pinned + 1))));
  const uint64_t extra = PinTable::KeyOf(0, 64 * (pinned + 1));
  EXPECT_TRUE(table->AddTransient(0, extra));
  EXPECT_TRUE(table->Pinned(extra));
  table->RemoveTransient(0, extra);
  EXPECT_FALSE(table->Pinned(extra));
  for (uint64_t i = 1; i <= pinned; ++i) table->Remove(0, PinTable::KeyOf(0, 64 * i));
  EXPECT_EQ(table->Live(0), 0u);
  EXPECT_TRUE(table->Add(0, extra));
}

TEST(PinTableTest, TransientPinsRunOut) {
  auto table = MakePinTable(1);
  table->Open(0);
  const uint64_t key = PinTable::KeyOf(0, 64);
  for (size_t i = 0; i < PinTable::kTransient; ++i) ASSERT_TRUE(table->AddTransient(0, key));
  EXPECT_FALSE(table->AddTransient(0, key));
  for (size_t i = 0; i < PinTable::kTransient; ++i) {
    ASSERT_TRUE(table->Pinned(key));
    table->RemoveTransient(0, key);
  }
  EXPECT_FALSE(table->Pinned(key));
}

TEST(PinTableTest, ClearDropsOneSlotOnly) {
  auto table = MakePinTable(3);
  table->Open(1);
  table->Open(2);
  const uint64_t key = PinTable::KeyOf(0, 640), other = PinTable::KeyOf(0, 6400);
  ASSERT_TRUE(table->Add(1, key));
  ASSERT_TRUE(table->Add(1, other));
  ASSERT_TRUE(table->Add(2, key));
  table->Clear(1);
  EXPECT_EQ(table->Live(1), 0u);
  EXPECT_TRUE(table->Pinned(key));
  EXPECT_FALSE(table->Pinned(other));
  table->Open(1);  // the slot's next process
  EXPECT_FALSE(table->Pinned(other));
  EXPECT_TRUE(table->Add(1, other));
  EXPECT_TRUE(table->Pinned(other));
}

TEST(PinTableTest, APinHeldByOneThreadIsNeverMissedWhileOthersComeAndGo) {
  auto table = MakePinTable(1);
  table->Open(0);
  std::vector<uint64_t> keys;
  for (uint64_t i = 1; i <= 40; ++i) keys.push_back(PinTable::KeyOf(0, 64 * i));
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      while (!stop.load()) {
        const uint64_t key = keys[random() % keys.size()];
        EXPECT_TRUE(table->Add(0, key));
        EXPECT_TRUE(table->Pinned(key));
        table->Remove(0, key);
      }
    });
  }
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t key = keys[static_cast<size_t>(i) % keys.size()];
    EXPECT_TRUE(table->Add(0, key));
    for (int look = 0; look < 4; ++look) EXPECT_TRUE(table->Pinned(key));
    table->Remove(0, key);
  }
  stop = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(table->Live(0), 0u);
  for (uint64_t key : keys) EXPECT_FALSE(table->Pinned(key));
}

TEST(PinTableTest, RefusesWhatIsNoPinTable) {
  std::unique_ptr<PinTable> table;
  UniqueFd fd(memfd_create("x", 0));
  ASSERT_EQ(ftruncate(fd.get(), 1 << 20), 0);
  EXPECT_EQ(PinTable::Map(fd.get(), &table).code(), StatusCode::kInvalid);
  EXPECT_EQ(PinTable::CreateFd(0, &fd).code(), StatusCode::kInvalid);
}

}  // namespace
}  // namespace rmpi::objstore
