// SPDX-License-Identifier: Apache-2.0
// Put, Get, Wait, refs and views: every form of every call, small and large values, near and far.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <unordered_map>

#include "tests/cpp/functions.h"

namespace test {

int Later(int value, int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  return value;
}
void LaterNothing(int ms) { Later(0, ms); }
int Fail(const std::string& text) { throw std::runtime_error(text); }
std::vector<double> LargeRow(size_t n, double x) { return std::vector<double>(n, x); }
double Largest(ray::View<double> v) { return *std::max_element(v.begin(), v.end()); }
RAY_REMOTE(test::Later, test::LaterNothing, test::Fail, test::LargeRow, test::Largest);

namespace {

using Clock = std::chrono::steady_clock;

TEST(Put, KeepsSmallAndLargeValues) {
  EXPECT_EQ(*ray::Get(ray::Put(std::string("small"))), "small");
  EXPECT_EQ(*ray::Get(ray::Put(std::string(1 << 20, 'x'))), std::string(1 << 20, 'x'));
  const std::map<std::string, std::vector<int>> map = {{"a", std::vector<int>(100'000, 7)}};
  EXPECT_EQ(*ray::Get(ray::Put(map)), map);
  EXPECT_EQ(*ray::Get(ray::Put(Point{1, 2, "n", {3}}))->name.c_str(), 'n');
  std::vector<int> mine = {1, 2};
  const auto ref = ray::Put(mine);
  mine[0] = 9;  // a copy was stored
  EXPECT_EQ(ray::Get(ref)->at(0), 1);
}

TEST(Get, HasOneFormForEachNeed) {
  const auto ref = ray::Put(5);
  const auto later = ray::Task(Later).Remote(6, 50);
  EXPECT_EQ(*ray::Get(ref), 5);
  EXPECT_EQ(*ray::Get(ref, 0), 5);
  EXPECT_EQ(*ray::Get(later, 20'000), 6);
  EXPECT_EQ(*later.Get(), 6);
  EXPECT_EQ(*later.Get(-1), 6);
  const auto both = ray::Get(std::vector{ref, later});
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(*both[0] + *both[1], 11);
  EXPECT_EQ(*ray::Get(std::vector{later, ref}, 20'000)[1], 5);
  EXPECT_EQ(*ray::Get<int>(std::vector<std::string>{later.ID(), ref.ID()})[0], 6);
  EXPECT_EQ(*ray::Get<int>(std::vector<std::string>{ref.ID()}, 100)[0], 5);
  EXPECT_TRUE(ray::Get(std::vector<ray::ObjectRef<int>>()).empty());
  const auto values = ray::Get(std::vector{ref, ref});  // one object twice
  EXPECT_EQ(*values[0], *values[1]);
  EXPECT_NE(values[0], values[1]);  // each caller has a value of its own
}

TEST(Get, WaitsForTasksWithoutResults) {
  const ray::ObjectRef<void> nothing = ray::Task(LaterNothing).Remote(20);
  ray::Get(nothing);
  nothing.Get();
  nothing.Get(10'000);
  ray::Get(nothing, 10'000);
  ray::Get(std::vector{nothing, ray::Task(LaterNothing).Remote(1)});
  const std::vector slow = {ray::Task(LaterNothing).Remote(500)};
  EXPECT_THROW(ray::Get(slow, 20), ray::RayTimeoutException);
  ray::Get(slow);  // the CPU is free for the next test
}

TEST(Get, GivesUpInTime) {
  const auto begin = Clock::now();
  const auto slow = ray::Task(Later).Remote(1, 2'000);
  EXPECT_THROW(ray::Get(slow, 0), ray::RayTimeoutException);
  EXPECT_THROW(slow.Get(30), ray::RayTimeoutException);
  try {
    ray::Get(std::vector{ray::Put(1), slow}, 30);
    FAIL() << "nothing was thrown";
  } catch (const ray::internal::RayTimeoutException& e) {  // Ray's name of it
    EXPECT_STREQ(e.what(), "Get timed out after 30 ms: 1 of 2 object(s) not ready.");
  }
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(1'900));
  EXPECT_EQ(*ray::Get(slow), 1);
}

TEST(Get, SaysAnErrorBeforeTheOthersAreThere) {
  const auto begin = Clock::now();
  const std::vector refs = {ray::Task(Later).Remote(1, 2'000), ray::Task(Fail).Remote("early")};
  EXPECT_THROW(ray::Get(refs), ray::RayTaskException);
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(1'900));
  EXPECT_EQ(*ray::Get(refs[0]), 1);
}

TEST(Wait, SplitsInTheOrderGiven) {
  const auto slow = ray::Task(Later).Remote(1, 2'000), quick = ray::Task(Later).Remote(2, 1),
             there = ray::Put(3);
  const std::vector refs = {slow, quick, there};
  const ray::WaitResult<int> two = ray::Wait(refs, 2, 20'000);
  EXPECT_THAT(two.ready, testing::ElementsAre(quick, there));
  EXPECT_THAT(two.unready, testing::ElementsAre(slow));
  const ray::WaitResult<int> one = ray::Wait(refs, 1, -1);  // at most as many as asked for
  EXPECT_THAT(one.ready, testing::ElementsAre(quick));
  EXPECT_THAT(one.unready, testing::ElementsAre(slow, there));
  const ray::WaitResult<int> look = ray::Wait(refs, 3, 0);
  EXPECT_EQ(look.ready.size(), 2U);
  EXPECT_EQ(*ray::Get(slow), 1);
  EXPECT_EQ(ray::Wait(refs, 3, 0).ready.size(), 3U);
}

TEST(Wait, CountsFailedTasksAsReady) {
  const auto failed = ray::Task(Fail).Remote("x");
  const auto result = ray::Wait(std::vector{failed}, 1, 20'000);
  EXPECT_THAT(result.ready, testing::ElementsAre(failed));
  const ray::ObjectRef<void> nothing = ray::Task(LaterNothing).Remote(1);
  EXPECT_EQ(ray::Wait(std::vector{nothing}, 1, 20'000).ready.size(), 1U);
}

TEST(Wait, RefusesWhatCannotBe) {
  const auto ref = ray::Put(1);
  EXPECT_THROW(ray::Wait(std::vector{ref}, 0, 0), ray::RayException);
  EXPECT_THROW(ray::Wait(std::vector{ref}, -1, 0), ray::RayException);
  EXPECT_THROW(ray::Wait(std::vector{ref}, 2, 0), ray::RayException);
  EXPECT_THROW(ray::Wait(std::vector{ref, ref}, 1, 0), ray::RayException);
  EXPECT_THROW(ray::Wait(std::vector<ray::ObjectRef<int>>(1), 1, 0), ray::RayException);  // an empty one
}

TEST(ObjectRef, IsACountedName) {
  ray::ObjectRef<int> empty;
  EXPECT_EQ(empty.ID(), "");
  EXPECT_TRUE(ray::ObjectRef<int>::IsObjectRef());
  EXPECT_THROW(empty.Get(), ray::RayException);
  EXPECT_THROW(ray::Task(Plus).Remote(empty, 1), ray::RayException);
  const auto a = ray::Put(1), b = ray::Put(1);
  EXPECT_EQ(a.ID().size(), 28U);
  EXPECT_NE(a, b);
  auto moved = a;
  EXPECT_EQ(moved, a);
  empty = std::move(moved);
  EXPECT_EQ(empty, a);
  const ray::ObjectRef<int> by_id(a.ID());
  EXPECT_EQ(*by_id.Get(), 1);
  EXPECT_EQ(ray::ObjectRef<int>(std::string()).ID(), "");
  EXPECT_THROW(ray::ObjectRef<int>("short"), ray::RayException);
}

TEST(ObjectRef, TravelsInPackingsOfTheUsersOwn) {
  msgpack::sbuffer buffer;
  {
    const Holder holder{ray::Put(5), {ray::Put(6), ray::ObjectRef<int>()}};
    msgpack::pack(buffer, holder);
  }  // held until the job ends: nobody can know how long the bytes live
  Holder back;
  msgpack::unpack(buffer.data(), buffer.size()).get().convert(back);
  EXPECT_EQ(*back.one.Get() + *back.many.at(0).Get(), 11);
  EXPECT_EQ(back.many.at(1).ID(), "");
}

TEST(ObjectRef, MayBeDroppedByAnyThread) {
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back(
        [ref = ray::Put(t), task = ray::Task(Plus).Remote(t, 1), &sum] { sum += *ref.Get() + *task.Get(); });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sum, 6 + 10);
}

TEST(Buffer, IsMadeAndReadInPlace) {
  double* made = nullptr;
  const auto row = ray::PutBuffer<double>(100'000, [&made](double* memory, size_t count) {
    made = memory;
    for (size_t i = 0; i < count; ++i) memory[i] = static_cast<double>(i);
  });
  const ray::View<double> view = ray::GetView(row);
  EXPECT_EQ(view.data(), made);  // no copy, neither in nor out
  EXPECT_EQ(reinterpret_cast<uintptr_t>(made) % 64, 0U);
  EXPECT_EQ(view.size(), 100'000U);
  EXPECT_EQ(view[99'999], 99'999.0);
  EXPECT_EQ(*ray::Get(ray::Task(Largest).Remote(row)), 99'999.0);
}

TEST(Buffer, OfBytes) {
  for (const size_t size : {0, 1, 3000, 1 << 20}) {
    const ray::ObjectRef<ray::Buffer> ref = ray::PutBuffer(
        size, [](std::byte* memory, size_t count) { std::fill_n(memory, count, std::byte{7}); });
    const std::shared_ptr<ray::Buffer> bytes = ray::Get(ref);
    ASSERT_EQ(bytes->size(), size);
    EXPECT_EQ(std::count(bytes->begin(), bytes->end(), std::byte{7}), static_cast<std::ptrdiff_t>(size));
  }
}

TEST(Buffer, AnExceptionOfFillIsThrownOn) {
  for (const size_t size : {8, 1 << 20}) {
    EXPECT_THROW(ray::PutBuffer(size, [](std::byte*, size_t) { throw std::out_of_range("no more input"); }),
                 std::out_of_range);
  }
  EXPECT_EQ(*ray::Get(ray::Put(1)), 1);
}

TEST(View, ReadsInPlace) {
  const auto row = ray::Put(std::vector<double>(100'000, 2.5));
  const ray::View<double> view = ray::GetView(row);
  EXPECT_EQ(view.size(), 100'000U);
  EXPECT_EQ(view.front() + view.back() + view[5], 7.5);
  EXPECT_EQ(view.shape(), std::vector<size_t>{100'000});
  EXPECT_FALSE(view.empty());
  EXPECT_EQ(row.View().data(), view.data());  // the same memory
  EXPECT_EQ(ray::GetView(row, 0).data(), view.data());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data()) % 64, 0U);
  const auto text = ray::Put(std::string("text"));
  const ray::View<char> letters = text.View();
  EXPECT_EQ(std::string(letters.begin(), letters.end()), "text");
  const auto far = ray::Task(LargeRow).Remote(200'000U, 1.5);
  EXPECT_EQ(far.View(20'000)[199'999], 1.5);
  EXPECT_EQ(*ray::Get(ray::Task(Largest).Remote(far)), 1.5);
  const auto slow = ray::Task(Later).Remote(1, 300);
  EXPECT_THROW(ray::GetView(ray::ObjectRef<std::vector<double>>(slow.ID()), 10), ray::RayTimeoutException);
  EXPECT_EQ(*ray::Get(slow), 1);
}

TEST(View, StoresMemoryThatIsNoVector) {
  const double rows[2][3] = {{1, 2, 3}, {4, 5, 6}};
  const auto ref = ray::Put(ray::View<double>(&rows[0][0], 6, {2, 3}, nullptr));
  const auto back = ray::Get(ref);
  EXPECT_EQ(back->shape(), (std::vector<size_t>{2, 3}));
  EXPECT_EQ((*back)[5], 6);
  EXPECT_EQ(*ray::Get(ray::Task(Largest).Remote(ref)), 6);
}

TEST(Values, GoThroughTasksAndObjects) {
  const auto through = [](const auto& value) { EXPECT_EQ(*ray::Get(ray::Put(value)), value); };
  through(true);
  through('x');
  through(static_cast<unsigned char>(200));
  through(static_cast<short>(-5));
  through(std::numeric_limits<uint64_t>::max());
  through(std::numeric_limits<int64_t>::min());
  through(2.5F);
  through(-0.125);
  through(std::string("\0\1", 2));
  through(std::vector<std::string>{"a", ""});
  through(std::vector<bool>{true, false});
  through(std::vector<std::byte>{std::byte{1}});
  through(std::set<int>{3, 4});
  through(std::unordered_map<std::string, double>{{"a", 1.5}});
  through(std::tuple<int, std::string>{1, "b"});
  through(std::optional<std::string>());
  through(std::optional<std::string>("c"));
  through(Color::kBlue);
  through(std::map<std::string, std::map<int, std::vector<float>>>{{"d", {{1, {2.F}}}}});
}

}  // namespace
}  // namespace test
