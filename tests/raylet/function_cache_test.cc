// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/function_cache.h"

#include <gtest/gtest.h>

#include "tests/gcs/recorder.h"

namespace rmpi {
namespace {

Address Worker(uint16_t slot) { return {2, slot, 0, 1}; }

class FunctionCacheTest : public testing::Test {
 protected:
  void Ask(uint16_t slot, const std::string& key, uint64_t nonce) {
    KvRequest m;
    m.nonce = nonce;
    m.op = KvOp::kWaitGet;
    m.ns = "fun";
    m.key = key;
    cache_.OnRequest(Worker(slot), m);
  }
  // The head answers its newest question.
  void Reply(size_t bytes) {
    KvReply m;
    m.nonce = out_.Last<KvRequest>(MsgType::kKvRequest).nonce;
    m.found = true;
    m.value = Blob::Allocate(bytes);
    cache_.OnReply(m);
  }
  size_t Questions() const { return out_.Count(MsgType::kKvRequest); }
  size_t Answers() const { return out_.Count(MsgType::kKvReply); }

  Recorder out_;
  FunctionCache cache_{&out_, 1000};
};

TEST_F(FunctionCacheTest, SixtyFourWorkersAskTheHeadOnce) {
  for (uint16_t slot = 1; slot <= 64; ++slot) Ask(slot, "f", 100U + slot);
  ASSERT_EQ(Questions(), 1U);
  Address to;
  EXPECT_EQ(out_.Last<KvRequest>(MsgType::kKvRequest, &to).op, KvOp::kWaitGet);
  EXPECT_EQ(to, GcsAddress());
  EXPECT_EQ(Answers(), 0U);
  Reply(400);
  EXPECT_EQ(Answers(), 64U);
  const KvReply last = out_.Last<KvReply>(MsgType::kKvReply, &to);
  EXPECT_EQ(to, Worker(64));
  EXPECT_EQ(last.nonce, 164U);
  EXPECT_TRUE(last.found);
  EXPECT_EQ(last.value.size(), 400U);
  Ask(65, "f", 7);
  EXPECT_EQ(Questions(), 1U);
  EXPECT_EQ(Answers(), 65U);
}

TEST_F(FunctionCacheTest, StaysWithinItsBoundAndDropsWhatWasUsedLongestAgo) {
  for (const char* key : {"a", "b"}) {
    Ask(1, key, 1);
    Reply(400);
  }
  Ask(1, "a", 1);  // used again
  Ask(1, "c", 1);
  Reply(400);
  EXPECT_EQ(cache_.bytes(), 800U);
  EXPECT_EQ(Questions(), 3U);
  Ask(1, "a", 1);
  EXPECT_EQ(Questions(), 3U);
  Ask(1, "b", 1);
  EXPECT_EQ(Questions(), 4U);
}

TEST_F(FunctionCacheTest, AValueLargerThanTheBoundIsPassedOnAndNotKept) {
  Ask(1, "a", 1);
  Reply(1001);
  EXPECT_EQ(Answers(), 1U);
  EXPECT_EQ(cache_.bytes(), 0U);
  Ask(1, "a", 1);
  EXPECT_EQ(Questions(), 2U);
}

TEST_F(FunctionCacheTest, WhoDiedIsNotAnswered) {
  Ask(1, "a", 1);
  Ask(2, "a", 1);
  cache_.OnClientGone(Worker(1));
  Reply(10);
  Address to;
  out_.Last<KvReply>(MsgType::kKvReply, &to);
  EXPECT_EQ(Answers(), 1U);
  EXPECT_EQ(to, Worker(2));
  EXPECT_EQ(cache_.asked(), 0U);
}

TEST_F(FunctionCacheTest, AnAnswerToNothingIsIgnored) {
  KvReply m;
  m.nonce = 9;
  m.value = Blob::Allocate(10);
  cache_.OnReply(m);
  EXPECT_EQ(cache_.bytes(), 0U);
}

}  // namespace
}  // namespace rmpi
