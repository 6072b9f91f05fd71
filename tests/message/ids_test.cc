// SPDX-License-Identifier: Apache-2.0
#include "runtime/ids/ids.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace rmpi {
namespace {

template <class Array>
std::string_view View(const Array& a) {
  return {reinterpret_cast<const char*>(a.data()), a.size()};
}

TaskId SomeTask() { return {JobId{3}, Address{5, 6, 0, 7}, TaskId::Sequence(TaskKind::kPut, 123456789)}; }

TEST(Ids, PublicIdsHaveTheLengthsOfRay) {
  EXPECT_EQ(ToBinary(SomeTask()).size(), 24U);
  EXPECT_EQ(ToBinary(ObjectId{SomeTask(), 2, 0}).size(), 28U);
  EXPECT_EQ(Hex(SomeTask()).size(), 48U);
  EXPECT_EQ(Hex(ObjectId{SomeTask(), 2, 0}).size(), 56U);
  EXPECT_EQ(Hex(JobId{3}).size(), 8U);
  EXPECT_EQ(NodeHex(1, 2).size(), 56U);
}

TEST(Ids, BinaryFormsComeBack) {
  TaskId task;
  ASSERT_TRUE(FromBinary(View(ToBinary(SomeTask())), &task));
  EXPECT_EQ(task, SomeTask());
  const ObjectId object{SomeTask(), 41, 0};
  ObjectId back;
  ASSERT_TRUE(FromBinary(View(ToBinary(object)), &back));
  EXPECT_EQ(back, object);
}

TEST(Ids, WhatIsNoIdIsRefused) {
  TaskId task;
  EXPECT_FALSE(FromBinary(std::string(23, 'x'), &task));
  EXPECT_FALSE(FromBinary(std::string(24, '\0'), &task)) << "nobody owns it";
  ObjectId object;
  EXPECT_FALSE(FromBinary(std::string(27, 'x'), &object));
  auto bytes = ToBinary(ObjectId{SomeTask(), 0, 0});
  bytes[24] = 0;  // returns count from 1
  EXPECT_FALSE(FromBinary(View(bytes), &object));
}

TEST(Ids, IdsOfOneJobEndAlike) {
  const std::string a = Hex(SomeTask());
  const std::string b = Hex(TaskId{JobId{3}, Address{1, 2, 0, 3}, 77});
  EXPECT_EQ(a.substr(40), b.substr(40));
}

TEST(Ids, SequenceCarriesItsKind) {
  EXPECT_EQ(SomeTask().kind(), TaskKind::kPut);
  EXPECT_EQ(SomeTask().number(), 123456789U);
}

TEST(Ids, ConsecutiveTasksSpreadOverBuckets) {
  std::unordered_set<size_t> low;
  for (uint64_t n = 0; n < 1024; ++n) {
    low.insert(std::hash<TaskId>()(TaskId{JobId{1}, Address{1, 2, 0, 3}, n}) % 1024);
  }
  EXPECT_GT(low.size(), 500U);  // about 647 of 1024 for a random function
}

}  // namespace
}  // namespace rmpi
