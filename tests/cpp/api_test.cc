// SPDX-License-Identifier: Apache-2.0
// Tasks, objects and their errors, as a program uses them. The program is driver and, started again, its workers.
#include <gtest/gtest.h>

#include <chrono>
#include <list>
#include <set>
#include <thread>

#include "tests/cpp/functions.h"

RAY_REMOTE(test::Plus, test::PlusOne, test::Nothing, test::Greet, test::SumView, test::SumVector, test::Ones);
RAY_REMOTE(test::Move, test::Other, test::ReadRef, test::ReadHolder, test::MakeRefs, test::Fib)
RAY_REMOTE(RAY_FUNC(test::Over), RAY_FUNC(test::Over, int), RAY_FUNC(test::Over, const std::string&));
RAY_REMOTE(test::Shape::Area, test::ThrowRange, test::ThrowInt);

namespace test {

int Fib(int n) {
  if (n < 2) return n;
  const auto a = ray::Task(Fib).Remote(n - 1), b = ray::Task(Fib).Remote(n - 2);
  return *a.Get() + *b.Get();
}

namespace {

TEST(Tasks, TakeAndReturnValues) {
  EXPECT_EQ(*ray::Get(ray::Task(Plus).Remote(2, 40)), 42);
  EXPECT_EQ(*ray::Task(PlusOne).Remote('a').Get(), 'b');
  EXPECT_EQ(*ray::Get(ray::Task(Greet).Remote("you")), "hello you");
  EXPECT_EQ(*ray::Get(ray::Task(Shape::Area).Remote(2, 3.5)), 7.0);
  ray::Get(ray::Task(Nothing).Remote());
}

TEST(Tasks, TakeRefsAmongValues) {
  const ray::ObjectRef<int> sum = ray::Task(Plus).Remote(1, 2);
  EXPECT_EQ(*ray::Get(ray::Task(Plus).Remote(sum, 4)), 7);
  EXPECT_EQ(*ray::Get(ray::Task(Plus).Remote(sum, ray::Put(5))), 8);
}

TEST(Tasks, NestAndWait) { EXPECT_EQ(*ray::Get(ray::Task(Fib).Remote(8)), 21); }

TEST(Tasks, OverloadsHaveNames) {
  EXPECT_EQ(*ray::Get(ray::Task(RAY_FUNC(Over)).Remote()), 7);
  EXPECT_EQ(*ray::Get(ray::Task(RAY_FUNC(Over, int)).Remote(3)), 4);
  EXPECT_EQ(*ray::Get(ray::Task(RAY_FUNC(Over, const std::string&)).Remote("hm")), "hm!");
}

TEST(Tasks, RowsTravelWithoutMsgpack) {
  const ray::ObjectRef<std::vector<double>> large = ray::Task(Ones).Remote(1 << 20);
  EXPECT_EQ(*ray::Get(ray::Task(SumView).Remote(large)), 1 << 20);
  EXPECT_EQ(*ray::Get(ray::Task(SumVector).Remote(large)), 1 << 20);
  EXPECT_EQ(*ray::Get(ray::Task(SumView).Remote(std::vector<double>(50'000, 2))), 100'000);  // put by Remote
  EXPECT_EQ(*ray::Get(ray::Task(SumView).Remote(std::vector<double>{1, 2})), 3);
}

TEST(Tasks, ValuesThroughMsgpack) {
  const auto p = ray::Get(ray::Task(Move).Remote(Point{1, 2.5, "p", {}}, 3, std::map<std::string, int>{{"k", 9}}));
  EXPECT_EQ(p->x, 4);
  EXPECT_EQ(p->name, "pk9");
  EXPECT_EQ(p->row, std::vector<double>{2.5});
  EXPECT_EQ(*ray::Get(ray::Task(Other).Remote(Color::kRed)), Color::kBlue);
}

TEST(Tasks, RefsInsideValues) {
  const auto one = ray::Put(1);
  EXPECT_EQ(*ray::Get(ray::Task(ReadRef).Remote(one)), 1);
  EXPECT_EQ(*ray::Get(ray::Task(ReadHolder).Remote(Holder{one, {ray::Put(2), ray::Task(Plus).Remote(1, 2)}})), 6);
  const auto stored = ray::Put(Holder{one, {ray::Put(10)}});
  EXPECT_EQ(*ray::Get(ray::Task(ReadHolder).Remote(stored)), 11);
  int sum = 0;
  const auto refs = ray::Get(ray::Task(MakeRefs).Remote(5));  // owned by the worker
  for (const auto& ref : *refs) sum += *ref.Get();
  EXPECT_EQ(sum, 10);
}

TEST(Errors, ATasksExceptionReachesItsGetter) {
  try {
    ray::Get(ray::Task(ThrowRange).Remote(3));
    FAIL() << "nothing was thrown";
  } catch (const ray::RayTaskException& e) {
    EXPECT_EQ(e.origin().type, "std::out_of_range");
    EXPECT_EQ(e.origin().function, "test::ThrowRange");
    EXPECT_EQ(e.origin().message, "no such x: 3");
    EXPECT_EQ(e.origin().language, "C++");
    EXPECT_GT(e.origin().pid, 0);
    EXPECT_NE(std::string(e.what()).find("no such x: 3"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find(e.origin().host), std::string::npos) << e.what();
  }
}

TEST(Errors, WhatIsNoStdExceptionHasAType) {
  try {
    ray::Get(ray::Task(ThrowInt).Remote());
    FAIL() << "nothing was thrown";
  } catch (const ray::internal::RayTaskException& e) {
    EXPECT_EQ(e.origin().type, "int");
  }
}

}  // namespace
}  // namespace test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  ray::RayConfig config;
  config.head_args = {"--num-cpus", "2", "--object-store-memory", "256M"};
  ray::Init(config, argc, argv);
  const int failed = RUN_ALL_TESTS();
  ray::Shutdown();
  return failed;
}
