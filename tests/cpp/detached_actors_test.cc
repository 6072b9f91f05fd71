// SPDX-License-Identifier: Apache-2.0
// Detached actors, as one program uses them. (tests/launcher/test_serve_cpp.py has several programs.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cpp/actors.h"
#include "tests/cpp/waiting.h"

namespace test {
namespace {

using testing::HasSubstr;

const auto kAdd = RAY_FUNC(&Counter::Add, int);

auto Detached(const std::string& name) {
  return ray::Actor(RAY_FUNC(Counter::Create, int)).SetName(name).SetLifetime(ray::ActorLifetime::DETACHED);
}

TEST(DetachedActors, LiveWithoutHandlesUntilTheyAreKilled) {
  const std::string name = RandomName("detached"), other = RandomName("mine");
  {
    const auto detached = Detached(name).Remote(10);
    const auto mine = ray::Actor(RAY_FUNC(Counter::Create, int)).SetName(other).Remote(20);
    EXPECT_EQ(*detached.Task(kAdd).Remote(1).Get(), 11);
    EXPECT_EQ(*mine.Task(kAdd).Remote(1).Get(), 21);
    EXPECT_THROW(Detached(name).Remote(0), ray::RayException);  // the name is taken
  }
  EXPECT_TRUE(Soon([&] { return !ray::GetActor<Counter>(other); }));  // that one had its last handle
  auto found = ray::GetActor<Counter>(name);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found->Task(kAdd).Remote(1).Get(), 12);
  found->Kill();
  EXPECT_TRUE(Soon([&] { return !ray::GetActor<Counter>(name); }));
  EXPECT_THAT(ActorError(found->Task(&Counter::Value).Remote()), HasSubstr("killed"));
}

TEST(DetachedActors, OutliveTheActorThatMadeThem) {
  const std::string name = RandomName("detached"), child = RandomName("child");
  const auto maker = Detached(name).Remote(0);
  maker.Task(&Counter::MakeDetached).Remote(child).Get();
  EXPECT_THAT(ActorError(maker.Task(&Counter::Exit).Remote()), HasSubstr("ray::ExitActor()"));
  EXPECT_TRUE(Soon([&] { return !ray::GetActor<Counter>(name); }));
  auto found = ray::GetActor<Counter>(child);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found->Task(kAdd).Remote(1).Get(), 201);
  found->Kill();
}

TEST(DetachedActors, AreRestartedFromTheArgumentsThatTheHeadKeeps) {
  const std::string name = RandomName("detached");
  const auto counter = Detached(name).SetMaxRestarts(1).Remote(ray::Put(40));
  EXPECT_EQ(*counter.Task(kAdd).Remote(1).Get(), 41);
  EXPECT_THAT(ActorError(counter.Task(&Counter::Die).Remote()), HasSubstr("unavailable"));
  EXPECT_EQ(*counter.Task(&Counter::Value).Remote().Get(30'000), 40);
  EXPECT_TRUE(*counter.Task(&Counter::RestartedWhenMade).Remote().Get());
  EXPECT_THAT(ActorError(counter.Task(&Counter::Die).Remote()), HasSubstr("test::Counter"));
  EXPECT_TRUE(Soon([&] { return !ray::GetActor<Counter>(name); }));
}

TEST(DetachedActors, AreDeadWhenTheirFactoryThrows) {
  const auto bad =
      ray::Actor(Counter::CreateBad).SetLifetime(ray::ActorLifetime::DETACHED).Remote("a bad start");
  EXPECT_THAT(ActorError(bad.Task(&Counter::Value).Remote()), HasSubstr("a bad start"));
}

}  // namespace
}  // namespace test
