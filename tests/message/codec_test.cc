// SPDX-License-Identifier: Apache-2.0
#include "runtime/message/codec.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <tuple>

#include "runtime/message/messages.h"

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 sees a vector freed from its middle in the inlined Fill; ASan does not.
#pragma GCC diagnostic ignored "-Wfree-nonheap-object"
#endif

namespace rmpi {
namespace {

// Walks a message's Fields as the codec does and fills each with something.
class Filler {
 public:
  explicit Filler(uint64_t seed) : random_(seed) {}
  template <class... T>
  void operator()(T&... v) {
    (Fill(v), ...);
  }

 private:
  size_t Few() { return random_() % 4; }
  void Fill(bool& v) { v = random_() % 2 != 0; }
  void Fill(ValueState& v) { v = static_cast<ValueState>(random_() % 3); }
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void Fill(T& v) { v = static_cast<T>(random_()); }
  void Fill(Address& a) {
    (*this)(a.node, a.slot, a.generation);
    a.node |= 1;
  }
  void Fill(JobId& j) { Fill(j.value); }
  void Fill(TaskId& t) { (*this)(t.job, t.owner, t.sequence); }
  void Fill(ObjectId& o) {
    Fill(o.task);
    Fill(o.index);
  }
  void Fill(std::string& s) {
    for (size_t n = Few() * 5; n > 0; --n) s.push_back(static_cast<char>(random_()));
  }
  void Fill(Blob& b) {
    std::string s;
    Fill(s);
    b = Blob::Copy({reinterpret_cast<const std::byte*>(s.data()), s.size()});
  }
  template <class A, class B>
  void Fill(std::pair<A, B>& p) {
    (*this)(p.first, p.second);
  }
  template <class T>
  void Fill(std::vector<T>& v) {
    v.resize(Few());
    for (T& x : v) Fill(x);
  }
  template <class T>
  requires requires(T t, Filler& f) { t.Fields(f); }
  void Fill(T& v) { v.Fields(*this); }

  std::mt19937_64 random_;
};

template <class M>
class MessageTest : public testing::Test {};

using Messages = testing::Types<Shape, LeaseRequest, Grant, LeaseReturn, Reclaim, Unschedulable, Place,
                                WireValue, WireTemplate, ResolvedArg, Push, Result, TaskRef, Revoke, Returned,
                                RefMessage, Location, ExtentRequest, ExtentReply, ExtentReturn, ObjectAt,
                                FreeObject, Pull, PullReply, PinRequest, Pinned, Blocked, KillTask, Exit,
                                LogLines, StatsReply, Nonce, Eof, NodeRecord, Join, Joined, Heartbeat, Demand,
                                HandedOff, Shutdown, JobMessage, KvRequest, KvReply, NodesReply>;

TYPED_TEST_SUITE(MessageTest, Messages);

TYPED_TEST(MessageTest, SurvivesARoundTrip) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    TypeParam in;
    Filler fill(seed);
    in.Fields(fill);
    Writer first;
    first(in);
    TypeParam out;
    Reader reader(first.bytes());
    reader(out);
    ASSERT_TRUE(reader.Done());
    Writer second;
    second(out);
    ASSERT_EQ(first.size(), second.size());
    ASSERT_EQ(std::memcmp(first.bytes().data(), second.bytes().data(), first.size()), 0);
  }
}

TYPED_TEST(MessageTest, EveryCutIsNoticed) {
  TypeParam in;
  Filler fill(7);
  in.Fields(fill);
  Writer whole;
  whole(in);
  for (size_t n = 0; n < whole.size(); ++n) {
    TypeParam out;
    Reader reader(whole.bytes().first(n));
    reader(out);
    EXPECT_FALSE(reader.Done()) << n << " of " << whole.size() << " bytes";
  }
}

// Damage may go unnoticed (a number is a number), but it must never read beyond the end; run under ASan this
// says more.
TYPED_TEST(MessageTest, DamageDoesNoHarm) {
  std::mt19937_64 random(3);
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    TypeParam in;
    Filler fill(seed);
    in.Fields(fill);
    Writer writer;
    writer(in);
    // A heap copy of the exact size, so that an overrun is seen.
    std::vector<std::byte> bytes(writer.bytes().begin(), writer.bytes().end());
    if (bytes.empty()) continue;
    for (int i = 0; i < 4; ++i) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    TypeParam out;
    Reader reader(bytes);
    reader(out);
    EXPECT_LE(reader.left(), bytes.size());
    EXPECT_TRUE(reader.ok() || reader.left() == 0);
  }
}

TEST(Reader, ALargeCountDoesNotAllocate) {
  // One MiB that says "a million nodes follow": the first one is damaged already.
  std::vector<std::byte> bytes(1 << 20, std::byte{0xFF});
  const uint64_t nonce = 1;
  const uint32_t count = 1'000'000;
  std::memcpy(bytes.data(), &nonce, sizeof nonce);
  std::memcpy(bytes.data() + sizeof nonce, &count, sizeof count);
  NodesReply reply;
  Reader reader(bytes);
  reader(reply);
  EXPECT_FALSE(reader.ok());
  EXPECT_LE(reply.nodes.capacity() * sizeof(NodeRecord), bytes.size() + sizeof(NodeRecord));
}

TEST(Reader, ACountBeyondTheEndIsRefused) {
  Writer writer;
  writer(uint32_t{0xFFFFFFFF});
  std::vector<Place> places;
  Reader reader(writer.bytes());
  reader(places);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(places.capacity(), 0U);
}

TEST(Reader, AfterAnOverrunEverythingIsZero) {
  const std::byte three[3] = {std::byte{1}, std::byte{2}, std::byte{3}};
  Reader reader(three);
  uint32_t a = 9;
  uint8_t b = 9;
  reader(a, b);
  EXPECT_EQ(a, 0U);
  EXPECT_EQ(b, 0U);
  EXPECT_FALSE(reader.Done());
}

}  // namespace
}  // namespace rmpi
