// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/kv_store.h"

#include <gtest/gtest.h>

#include "tests/gcs/recorder.h"

namespace rmpi {
namespace {

const Address kAlice{1, 1, 0, 1};
const Address kBob{1, 2, 0, 1};

class KvStoreTest : public testing::Test {
 protected:
  void Ask(const Address& who, KvOp op, const std::string& key, const std::string& value = "",
           bool overwrite = true) {
    KvRequest m;
    m.nonce = ++nonce_;
    m.op = op;
    m.ns = "ns";
    m.key = key;
    m.overwrite = overwrite;
    m.value = Blob::Copy({reinterpret_cast<const std::byte*>(value.data()), value.size()});
    kv_.OnRequest(who, m);
  }
  KvReply Reply() { return out_.Last<KvReply>(MsgType::kKvReply, &to_); }
  std::string ReplyText() {
    const KvReply r = Reply();
    return {reinterpret_cast<const char*>(r.value.data()), r.value.size()};
  }

  Recorder out_;
  KvStore kv_{&out_};
  uint64_t nonce_ = 0;
  Address to_;
};

TEST_F(KvStoreTest, PutSaysWhetherItIsNew) {
  Ask(kAlice, KvOp::kPut, "k", "one");
  EXPECT_TRUE(Reply().found);
  Ask(kAlice, KvOp::kPut, "k", "three");
  EXPECT_FALSE(Reply().found);
  EXPECT_EQ(kv_.bytes(), 5U);
  Ask(kBob, KvOp::kGet, "k");
  EXPECT_EQ(ReplyText(), "three");
  EXPECT_EQ(to_, kBob);
}

TEST_F(KvStoreTest, WithoutOverwriteTheOldValueStays) {
  Ask(kAlice, KvOp::kPut, "k", "one");
  Ask(kAlice, KvOp::kPut, "k", "two", false);
  EXPECT_FALSE(Reply().found);
  Ask(kAlice, KvOp::kGet, "k");
  EXPECT_EQ(ReplyText(), "one");
}

TEST_F(KvStoreTest, AWaiterIsAnsweredByThePut) {
  Ask(kBob, KvOp::kWaitGet, "f");
  const uint64_t asked = nonce_;
  EXPECT_TRUE(out_.sent.empty());
  KvRequest put;  // an export wants no reply
  put.op = KvOp::kPut;
  put.ns = "ns";
  put.key = "f";
  put.value = Blob::Allocate(3);
  kv_.OnRequest(kAlice, put);
  ASSERT_EQ(out_.sent.size(), 1U);
  EXPECT_EQ(Reply().nonce, asked);
  EXPECT_EQ(to_, kBob);
}

TEST_F(KvStoreTest, ADeadWaiterIsForgotten) {
  Ask(kBob, KvOp::kWaitGet, "f");
  kv_.OnEof(kBob);
  Ask(kAlice, KvOp::kPut, "f", "x");
  ASSERT_EQ(out_.sent.size(), 1U);
  Reply();
  EXPECT_EQ(to_, kAlice);
}

TEST_F(KvStoreTest, DeleteAndKeys) {
  for (const char* k : {"a1", "a2", "b1"}) Ask(kAlice, KvOp::kPut, k, "x");
  Ask(kAlice, KvOp::kKeys, "a");
  EXPECT_EQ(Reply().keys, (std::vector<std::string>{"a1", "a2"}));
  Ask(kAlice, KvOp::kDelete, "a1");
  EXPECT_TRUE(Reply().found);
  Ask(kAlice, KvOp::kDelete, "a1");
  EXPECT_FALSE(Reply().found);
  Ask(kAlice, KvOp::kKeys, "");
  EXPECT_EQ(Reply().keys, (std::vector<std::string>{"a2", "b1"}));
  EXPECT_EQ(kv_.bytes(), 2U);
}

}  // namespace
}  // namespace rmpi
