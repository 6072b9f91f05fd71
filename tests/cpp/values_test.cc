// SPDX-License-Identifier: Apache-2.0
// How C++ types become bytes and come back, and what is said when they cannot. No runtime: the codec alone.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <complex>
#include <deque>
#include <list>
#include <memory>
#include <set>
#include <tuple>
#include <unordered_map>

#include "tests/cpp/functions.h"

namespace test {
namespace {

using ray::internal::Tag;

// As an object's memory is: aligned as the arena is.
struct Stored {
  std::vector<unsigned char> memory;
  size_t offset = 0, size = 0;
  const unsigned char* data() const { return memory.data() + offset; }
  ray::internal::Decoder decoder() const { return {data(), size, nullptr, nullptr}; }
  Tag tag() const { return static_cast<Tag>(*data()); }
};

Stored Finish(ray::internal::Encoder& encoder) {
  const auto in = encoder.Take();
  Stored s;
  s.size = encoder.size();
  s.memory.resize(s.size + 64);
  s.offset = (64 - reinterpret_cast<uintptr_t>(s.memory.data()) % 64) % 64;
  unsigned char* at = s.memory.data() + s.offset;
  for (uint64_t i = 0; i < in.piece_count; ++i) {
    if (in.pieces[i].size != 0) std::memcpy(at, in.pieces[i].data, in.pieces[i].size);
    at += in.pieces[i].size;
  }
  return s;
}

template <typename T>
Stored Write(const T& value) {
  ray::internal::Encoder encoder;
  ray::internal::Value<T>::Encode(encoder, value);
  return Finish(encoder);
}

template <typename To, typename From>
To Through(const From& value) {
  const Stored s = Write(value);
  auto decoder = s.decoder();
  To out = ray::internal::Value<To>::Decode(decoder);
  EXPECT_TRUE(decoder.at_end());
  return out;
}

template <typename To, typename From>
std::string Refusal(const From& value) {
  try {
    Through<To>(value);
  } catch (const ray::internal::ConversionError& e) {
    return e.what();
  }
  return "(none)";
}

template <typename T>
void RoundTrip(const T& value, Tag tag) {
  EXPECT_EQ(Write(value).tag(), tag) << ray::internal::TypeName<T>();
  EXPECT_EQ(Through<T>(value), value) << ray::internal::TypeName<T>();
}

TEST(Values, NumbersHaveTheirOwnForms) {
  RoundTrip(true, Tag::kTrue);
  RoundTrip(false, Tag::kFalse);
  RoundTrip(5, Tag::kInt8);
  RoundTrip(-128, Tag::kInt8);
  RoundTrip(128, Tag::kInt64);
  RoundTrip(std::numeric_limits<int64_t>::min(), Tag::kInt64);
  RoundTrip(static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), Tag::kInt64);
  RoundTrip(std::numeric_limits<uint64_t>::max(), Tag::kMsgpack);
  RoundTrip('x', Tag::kInt8);
  RoundTrip(static_cast<unsigned char>(255), Tag::kInt64);
  RoundTrip(2.5, Tag::kFloat);
  RoundTrip(2.5F, Tag::kFloat);
  EXPECT_TRUE(std::isnan(Through<double>(std::nan(""))));
}

TEST(Values, NumbersConvertWhereNothingIsLost) {
  EXPECT_EQ(Through<double>(3), 3.0);
  EXPECT_EQ(Through<float>(int64_t{300}), 300.0F);
  EXPECT_EQ(Through<int8_t>(uint64_t{127}), 127);
  EXPECT_EQ(Refusal<int8_t>(128), "it is 128, which does not fit signed char");
  EXPECT_EQ(Refusal<uint32_t>(-1), "it is -1, which does not fit unsigned int");
  EXPECT_EQ(Refusal<int64_t>(std::numeric_limits<uint64_t>::max()).substr(0, 28),
            "it is the msgpack value 1844");
  EXPECT_EQ(Refusal<int>(1.5), "it is a floating point number, which does not convert to int");
  EXPECT_EQ(Refusal<int>(true), "it is a bool, which does not convert to int");
  EXPECT_EQ(Refusal<bool>(1), "it is an integer, which does not convert to bool");
}

TEST(Values, TextAndBytes) {
  RoundTrip(std::string("h\xc3\xa9llo"), Tag::kStr);
  RoundTrip(std::string(), Tag::kStr);
  RoundTrip(std::string(100'000, 'x'), Tag::kStr);  // by reference
  RoundTrip(std::vector<char>{'a', 'b'}, Tag::kBytes);
  RoundTrip(std::vector<unsigned char>(5000, 7), Tag::kBytes);
  RoundTrip(std::vector<std::byte>{std::byte{1}}, Tag::kBytes);
  EXPECT_EQ(Through<std::string>(std::vector<char>{'a'}), "a");
  EXPECT_EQ(Through<std::vector<char>>(std::string("ab")), (std::vector<char>{'a', 'b'}));
  EXPECT_NE(Refusal<std::string>(5).find("an integer, which does not convert to std::"), std::string::npos);
}

TEST(Values, RowsOfNumbersAreArrays) {
  RoundTrip(std::vector<double>{1, 2, 3}, Tag::kArray);
  RoundTrip(std::vector<double>(10'000, 1.5), Tag::kArray);
  RoundTrip(std::vector<int>{}, Tag::kArray);
  RoundTrip(std::vector<signed char>{-1}, Tag::kArray);
  RoundTrip(std::vector<uint16_t>{65535}, Tag::kArray);
  RoundTrip(std::vector<long long>{-5}, Tag::kArray);
  RoundTrip(std::vector<std::complex<double>>{{1, 2}}, Tag::kArray);
  RoundTrip(std::vector<bool>{true, false}, Tag::kMsgpack);
  // Elements that convert.
  EXPECT_EQ(Through<std::vector<double>>(std::vector<int>{1, 2}), (std::vector<double>{1, 2}));
  EXPECT_EQ((Through<std::list<int>>(std::vector<int>{1, 2})), (std::list<int>{1, 2}));
  EXPECT_NE(Refusal<std::vector<int>>(std::vector<double>{1}).find("1-dimensional array of float64"),
            std::string::npos);
}

TEST(Values, DataStartsAtMultiplesOf64) {
  const Stored s = Write(std::vector<double>{1, 2});
  auto decoder = s.decoder();
  decoder.TakeTag();
  EXPECT_EQ((decoder.TakeArray().data - s.data()) % 64, 0);
}

TEST(Values, ViewsHaveShapes) {
  const std::vector<double> memory = {0, 1, 2, 3, 4, 5};
  const ray::View<double> matrix(memory.data(), 6, {2, 3}, nullptr);
  const auto back = Through<ray::View<double>>(matrix);
  EXPECT_EQ(back.shape(), (std::vector<size_t>{2, 3}));
  EXPECT_EQ(back[5], 5);
  EXPECT_EQ((Through<std::vector<std::vector<double>>>(matrix)),
            (std::vector<std::vector<double>>{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_NE(Refusal<std::vector<double>>(matrix).find("2-dimensional"), std::string::npos);
  EXPECT_EQ(Through<ray::View<double>>(std::vector<int>{7})[0], 7);  // converted, in memory of its own
  EXPECT_EQ(Through<ray::View<char>>(std::string("abc")).size(), 3U);
  EXPECT_TRUE(Through<ray::View<int>>(std::vector<int>{}).empty());
}

TEST(Values, ViewsOwnTheElementsThatTheyAreMadeOf) {
  std::vector<double> elements{1, 2, 3, 4, 5, 6};
  const double* const memory = elements.data();
  const ray::View<double> matrix(std::move(elements), {3, 2});
  EXPECT_EQ(matrix.data(), memory);  // moved, not copied
  const auto back = Through<ray::View<double>>(ray::View<double>(matrix));
  EXPECT_EQ(back.shape(), (std::vector<size_t>{3, 2}));
  EXPECT_EQ(back[5], 6);
  EXPECT_EQ(ray::View<double>(std::vector<double>{7, 8}).shape(), std::vector<size_t>{2});
  EXPECT_EQ(ray::View<double>(std::vector<double>{}, {0, 3}).shape(), (std::vector<size_t>{0, 3}));
  EXPECT_THROW(ray::View<double>(std::vector<double>{7, 8}, {3, 2}), ray::RayException);
}

TEST(Values, EverythingElseIsMsgpack) {
  RoundTrip(std::map<std::string, std::vector<int>>{{"a", {1}}}, Tag::kMsgpack);
  RoundTrip(std::tuple<int, std::string, double>{1, "x", 2.5}, Tag::kMsgpack);
  RoundTrip(std::optional<int>{}, Tag::kMsgpack);
  RoundTrip(std::optional<int>{5}, Tag::kMsgpack);
  RoundTrip(std::set<int>{1, 2}, Tag::kMsgpack);
  RoundTrip(std::deque<std::string>{"a"}, Tag::kMsgpack);
  RoundTrip(std::unordered_map<int, int>{{1, 2}}, Tag::kMsgpack);
  RoundTrip(std::array<int, 3>{1, 2, 3}, Tag::kMsgpack);
  RoundTrip(std::pair<int, bool>{1, true}, Tag::kMsgpack);
  RoundTrip(Color::kBlue, Tag::kMsgpack);
  EXPECT_EQ(*Through<std::shared_ptr<int>>(std::make_shared<int>(4)), 4);
  const Point p = Through<Point>(Point{1, 2, "n", {3}});
  EXPECT_EQ(p.name, "n");
  EXPECT_EQ(p.row, std::vector<double>{3});
  EXPECT_NE(Refusal<Point>(std::string("x")).find("it is text, which does not convert to test::Point"),
            std::string::npos);
  EXPECT_NE(Refusal<int>(std::vector<bool>{true}).find("the msgpack value [true]"), std::string::npos);
}

TEST(Values, WhatPythonWritesIsRead) {
  // [1, 2.5, None, "a"] as Python has it.
  ray::internal::Encoder encoder;
  encoder.PutTag(Tag::kList);
  encoder.Put(uint32_t{4});
  encoder.PutTag(Tag::kInt8);
  encoder.Put(int8_t{1});
  encoder.PutTag(Tag::kFloat);
  encoder.Put(2.5);
  encoder.PutTag(Tag::kNone);
  encoder.PutTag(Tag::kStr);
  encoder.Put(uint32_t{1});
  encoder.PutBytes("a", 1);
  const Stored s = Finish(encoder);
  auto decoder = s.decoder();
  using Row = std::tuple<int, double, std::optional<int>, std::string>;
  EXPECT_EQ(ray::internal::Value<Row>::Decode(decoder), Row(1, 2.5, std::nullopt, "a"));
}

TEST(Values, DamageIsSaid) {
  for (const Stored& whole :
       {Write(std::string("some text")), Write(std::vector<int>{1, 2, 3}), Write(Point{}), Write(12345)}) {
    for (size_t size = 0; size < whole.size; ++size) {
      Stored s = whole;
      s.size = size;
      auto decoder = s.decoder();
      EXPECT_THROW(ray::internal::Value<Point>::Decode(decoder), ray::RayException) << size;
    }
  }
  Stored s = Write(1);
  s.memory[s.offset] = 200;
  auto decoder = s.decoder();
  EXPECT_THROW(ray::internal::Value<int>::Decode(decoder), ray::internal::ConversionError);
}

TEST(Values, ManySmallOnesGrowTheBuffer) {
  ray::internal::Encoder encoder;
  for (int i = 0; i < 10'000; ++i) ray::internal::Value<int>::Encode(encoder, i);
  const Stored s = Finish(encoder);
  auto decoder = s.decoder();
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(ray::internal::Value<int>::Decode(decoder), i);
}

TEST(Api, BeforeInitEverythingSaysSo) {
  const auto wants_init = [](auto&& call) {
    try {
      call();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const ray::RayException& e) {
      EXPECT_NE(std::string(e.what()).find("ray::Init"), std::string::npos) << e.what();
    }
  };
  EXPECT_FALSE(ray::IsInitialized());
  wants_init([] { ray::Put(1); });
  wants_init([] { (void)ray::GetNamespace(); });
  wants_init([] { ray::Task(ray::PyFunction<int>{"m", "f"}).Remote(); });
  EXPECT_THROW(ray::Get(ray::ObjectRef<int>()), ray::RayException);  // empty
  EXPECT_EQ(ray::ObjectRef<int>().ID(), "");
  ray::Shutdown();  // nothing to end
}

TEST(Api, UnknownFunctionsAreSaidByTask) { EXPECT_THROW(ray::Task(Plus), ray::RayFunctionNotFound); }

}  // namespace
}  // namespace test
