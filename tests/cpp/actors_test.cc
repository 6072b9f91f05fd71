// SPDX-License-Identifier: Apache-2.0
// Actors, as a program uses them.
#include "tests/cpp/actors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/cpp/api_main.h"
#include "tests/cpp/waiting.h"

#if __has_include(<boost/optional.hpp>)
#include <boost/optional.hpp>
#endif

namespace test {

int AddOnce(ray::ActorHandle<Counter> counter, int n) {
  return *ray::Get(counter.Task(RAY_FUNC(&Counter::Add, int)).Remote(n));
}
int AddAll(const Team& team) {
  int sum = AddOnce(team.first, 1);
  for (const auto& other : team.others) sum += AddOnce(other, 1);
  return sum;
}

RAY_REMOTE(RAY_FUNC(Counter::Create), RAY_FUNC(Counter::Create, int), Counter::CreateBad,
           Counter::CreateNothing, Counter::CreateExiting);
RAY_REMOTE(RAY_FUNC(&Counter::Add, int), RAY_FUNC(&Counter::Add, int, int), &Counter::Value, &Counter::Reset,
           &Counter::AddMany, &Counter::SumView, &Counter::Ones, &Counter::Throw, &Counter::ThrowUntil,
           &Counter::Pid, &Counter::Sleep, &Counter::Exit, &Counter::Die, &Counter::DieOnce,
           &Counter::RestartedWhenMade, &Counter::Restarted, &Counter::Node, &Counter::AddTo,
           &Counter::MakeChild, &Counter::MakeDetached, &Counter::Keep, &Counter::AddToKept,
           &Counter::Forget);
RAY_REMOTE(Noted::Create, &Noted::Five, &Noted::Slow);
RAY_REMOTE(Meeting::Create, &Meeting::Meet, &Meeting::Most, &Meeting::Nested, Meeting::Seven);
RAY_REMOTE(Both::Create, &Both::Name, &Both::AddBase, &Both::Twice, &Adding::Twice);
RAY_REMOTE(AddOnce, AddAll);

int Counter::AddTo(ray::ActorHandle<Counter> other, int n) { return AddOnce(other, n); }
ray::ActorHandle<Counter> Counter::MakeChild(const std::string& name) {
  return ray::Actor(RAY_FUNC(Counter::Create, int)).SetName(name).Remote(100);
}
void Counter::MakeDetached(const std::string& name) {
  ray::Actor(RAY_FUNC(Counter::Create, int))
      .SetName(name)
      .SetLifetime(ray::ActorLifetime::DETACHED)
      .Remote(200);
}
int Counter::AddToKept(int n) { return AddOnce(kept_, n); }

namespace {

using testing::AllOf;
using testing::HasSubstr;

ray::ActorHandle<Counter> Make(int start = 0) {
  return ray::Actor(RAY_FUNC(Counter::Create, int)).Remote(start);
}

const auto kAdd = RAY_FUNC(&Counter::Add, int);

bool Exists(const std::filesystem::path& file) { return std::filesystem::exists(file); }

TEST(Actors, KeepTheirState) {
  const auto counter = Make(10);
  EXPECT_EQ(*ray::Get(counter.Task(kAdd).Remote(5)), 15);
  EXPECT_EQ(*counter.Task(RAY_FUNC(&Counter::Add, int, int)).Remote(2, 3).Get(), 21);
  EXPECT_EQ(*counter.Task(&Counter::Value).Remote().Get(), 21);
  counter.Task(&Counter::Reset).Remote().Get();
  EXPECT_EQ(*counter.Task(&Counter::Value).SetName("the value").SetResources({{"CPU", 1}}).Remote().Get(), 0);
  const auto other = ray::Actor(RAY_FUNC(Counter::Create)).Remote();
  EXPECT_EQ(*other.Task(kAdd).Remote(1).Get(), 1);
  EXPECT_NE(*other.Task(&Counter::Pid).Remote().Get(), *counter.Task(&Counter::Pid).Remote().Get());
  EXPECT_NE(other, counter);
  EXPECT_EQ(other, ray::ActorHandle<Counter>(other));
  EXPECT_EQ(other.ID().size(), 28U);
  EXPECT_EQ(ray::ActorHandle<Counter>().ID(), "");
  EXPECT_TRUE(ray::ActorHandle<Counter>::IsActorHandle());
}

TEST(Actors, CallsRunInTheOrderOfTheirCaller) {
  const auto counter = Make();
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 1; i <= 2000; ++i) refs.push_back(counter.Task(kAdd).Remote(1));
  int calls = 0;
  for (const auto& value : ray::Get(refs)) EXPECT_EQ(*value, ++calls);
  // Also if an earlier one waits for its argument.
  const auto slow = Make().Task(&Counter::Sleep).Remote(200);
  const auto first = counter.Task(kAdd).Remote(slow);
  const auto second = counter.Task(&Counter::Value).Remote();
  EXPECT_EQ(*second.Get(), 2001);
  EXPECT_EQ(*first.Get(), 2001);
}

TEST(Actors, TakeRefsAndLargeValues) {
  const auto counter = Make();
  const auto one = counter.Task(kAdd).Remote(1);
  EXPECT_EQ(*Make().Task(kAdd).Remote(one).Get(), 1);
  EXPECT_EQ(*counter.Task(kAdd).Remote(ray::Put(4)).Get(), 5);
  EXPECT_EQ(*counter.Task(&Counter::AddMany).Remote(std::vector<int>(50'000, 1)).Get(), 50'005);
  const auto large = counter.Task(&Counter::Ones).Remote(200'000);
  EXPECT_EQ(*Make().Task(&Counter::SumView).Remote(large).Get(), 200'000);
  EXPECT_EQ(*counter.Task(&Counter::SumView).Remote(std::vector<double>{1, 2}).Get(), 3);
}

TEST(Actors, HandlesTravel) {
  const auto counter = Make();
  EXPECT_EQ(*ray::Get(ray::Task(AddOnce).Remote(counter, 1)), 1);
  EXPECT_EQ(*ray::Get(ray::Task(AddAll).Remote(Team{counter, {Make(10), Make(100)}})), 2 + 11 + 101);
  const auto stored = ray::Put(Team{counter, {}});
  EXPECT_EQ(*ray::Get(ray::Task(AddAll).Remote(stored)), 3);
  EXPECT_EQ(*ray::Get(ray::Task(AddOnce).Remote(ray::Put(counter), 1)), 4);
  EXPECT_EQ(*Make().Task(&Counter::AddTo).Remote(counter, 6).Get(), 10);
  const auto child = ray::Get(Make().Task(&Counter::MakeChild).Remote(RandomName("child")));
  (void)child;  // its maker has ended, and so has it
  const auto maker = Make();
  const std::string name = RandomName("child");
  const auto living = maker.Task(&Counter::MakeChild).Remote(name).Get();
  EXPECT_EQ(*living->Task(kAdd).Remote(1).Get(), 101);
  const auto found = ray::GetActor<Counter>(name);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found->Task(kAdd).Remote(1).Get(), 102);
}

TEST(Actors, KeepEachOther) {
  const auto keeper = Make();
  {
    const auto kept = Make(7);
    keeper.Task(&Counter::Keep).Remote(kept).Get();
  }
  EXPECT_EQ(*keeper.Task(&Counter::AddToKept).Remote(1).Get(), 8);
  EXPECT_EQ(*keeper.Task(&Counter::AddToKept).Remote(1).Get(), 9);
}

TEST(Actors, EndWithTheirLastHandleAfterPendingCalls) {
  const auto folder = SharedFolder("ends");
  const auto file = (folder / "deleted").string();
  ray::ObjectRef<int> slow;
  {
    const auto noted = ray::Actor(Noted::Create).Remote(file);
    EXPECT_EQ(*noted.Task(&Noted::Five).Remote().Get(), 5);
    EXPECT_FALSE(Exists(file));
    slow = noted.Task(&Noted::Slow).Remote();
  }
  EXPECT_EQ(*slow.Get(), 6);
  EXPECT_TRUE(Soon([&] { return Exists(file); }));  // it was deleted
  std::filesystem::remove_all(folder);
}

TEST(Actors, HaveNames) {
  const std::string name = RandomName("counter");
  EXPECT_FALSE(ray::GetActor<Counter>(name));
  EXPECT_FALSE(ray::GetActor<Counter>(""));
  const auto counter = ray::Actor(RAY_FUNC(Counter::Create)).SetName(name).SetMaxRestarts(0).Remote();
  auto found = ray::GetActor<Counter>(name);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, counter);
  EXPECT_EQ(*(*found).Task(kAdd).Remote(2).Get(), 2);
  EXPECT_EQ(*counter.Task(&Counter::Value).Remote().Get(), 2);
  try {
    ray::Actor(RAY_FUNC(Counter::Create)).SetName(name).Remote();
    ADD_FAILURE() << "the name was taken";
  } catch (const ray::RayException& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("The name " + name), HasSubstr("is already taken")));
  }
  // Another namespace is another place.
  EXPECT_FALSE(ray::GetActor<Counter>(name, "elsewhere"));
  const auto elsewhere = ray::Actor(RAY_FUNC(Counter::Create, int)).SetName(name, "elsewhere").Remote(50);
  EXPECT_EQ(*ray::GetActor<Counter>(name, "elsewhere")->Task(&Counter::Value).Remote().Get(), 50);
  EXPECT_EQ(*ray::GetActor<Counter>(name, ray::GetNamespace())->Task(&Counter::Value).Remote().Get(), 2);
#if __has_include(<boost/optional.hpp>)
  const boost::optional<ray::ActorHandle<Counter>> as_in_ray = ray::GetActor<Counter>(name);
  ASSERT_TRUE(as_in_ray);
  EXPECT_EQ(*as_in_ray, counter);
  const boost::optional<ray::ActorHandle<Counter>> nobody = ray::GetActor<Counter>("nobody");
  EXPECT_FALSE(nobody);
#endif
  found->Kill();
  EXPECT_TRUE(Soon([&] { return !ray::GetActor<Counter>(name); }));
}

TEST(Actors, RunOnEveryNode) {
  std::vector<ray::ActorHandle<Counter>> counters;
  for (int i = 0; i < Given().nodes; ++i) {
    counters.push_back(ray::Actor(RAY_FUNC(Counter::Create)).SetResource("CPU", 2).Remote());
  }
  std::set<std::string> nodes;
  for (const auto& counter : counters) nodes.insert(*counter.Task(&Counter::Node).Remote().Get(30'000));
  EXPECT_EQ(nodes.size(), static_cast<size_t>(Given().nodes));
}

TEST(Actors, HoldWhatTheyAskForForLife) {
  const auto make = [](double gpus) {
    return ray::Actor(RAY_FUNC(Counter::Create)).SetResource("GPU", gpus).Remote();
  };
  {
    std::vector<ray::ActorHandle<Counter>> all;  // of each node
    for (int i = 0; i < Given().nodes; ++i) {
      all.push_back(make(2));
      all.back().Task(&Counter::Value).Remote().Get();
    }
    const auto waiting = make(1);
    EXPECT_THROW(waiting.Task(&Counter::Value).Remote().Get(300), ray::RayTimeoutException);
  }
  EXPECT_EQ(*make(2).Task(&Counter::Value).Remote().Get(30'000), 0);
}

TEST(Actors, RunSeveralCallsAtOnce) {
  const auto meeting = ray::Actor(Meeting::Create).SetMaxConcurrency(3).Remote();
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(meeting.Task(&Meeting::Meet).Remote(3));
  for (const auto& there : ray::Get(refs, 30'000)) EXPECT_EQ(*there, 3);
  refs.clear();
  for (int i = 0; i < 12; ++i) refs.push_back(meeting.Task(&Meeting::Most).Remote(20));
  for (const auto& most : ray::Get(refs, 30'000)) EXPECT_LE(*most, 3);
  EXPECT_EQ(*meeting.Task(&Meeting::Most).Remote(0).Get(), 3);
  refs.clear();
  for (int i = 0; i < 6; ++i) refs.push_back(meeting.Task(&Meeting::Nested).Remote());
  for (const auto& seven : ray::Get(refs, 30'000)) EXPECT_EQ(*seven, 7);
  // One by default.
  const auto single = ray::Actor(Meeting::Create).Remote();
  refs.clear();
  for (int i = 0; i < 3; ++i) refs.push_back(single.Task(&Meeting::Most).Remote(10));
  for (const auto& most : ray::Get(refs, 30'000)) EXPECT_EQ(*most, 1);
}

TEST(Actors, WithSeveralThreadsDoNotWaitForEarlierArguments) {
  const auto meeting = ray::Actor(Meeting::Create).SetMaxConcurrency(2).Remote();
  const auto sleeper = Make();
  const auto late = meeting.Task(&Meeting::Most).Remote(sleeper.Task(&Counter::Sleep).Remote(3000));
  EXPECT_EQ(*meeting.Task(&Meeting::Most).Remote(0).Get(2500), 1);
  EXPECT_EQ(*late.Get(), 1);
}

TEST(Actors, AreOfClassesWithBases) {
  const auto both = ray::Actor(Both::Create).Remote();
  EXPECT_EQ(*both.Task(&Both::Name).Remote().Get(), "both");
  EXPECT_EQ(*both.Task(&Both::AddBase).Remote(1).Get(), 1001);
  EXPECT_EQ(*both.Task(&Both::Twice).Remote(4).Get(), 8);
  EXPECT_EQ(*both.Task(&Adding::Twice).Remote(5).Get(), 10);
}

// ---- errors and ends --------------------------------------------------------------------------------------

TEST(Actors, TellWhatTheirMethodsThrow) {
  const auto counter = Make();
  const auto failed = counter.Task(&Counter::Throw).SetName("thrower").Remote("the reason");
  try {
    failed.Get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const ray::RayTaskException& e) {
    EXPECT_EQ(e.origin().type, "std::out_of_range");
    EXPECT_EQ(e.origin().message, "the reason");
    EXPECT_EQ(e.origin().function, "Counter::Throw");
    EXPECT_EQ(e.origin().pid, *counter.Task(&Counter::Pid).Remote().Get());
    EXPECT_THAT(e.what(), HasSubstr("thrower"));
  }
  EXPECT_THROW(counter.Task(kAdd).Remote(ray::ObjectRef<int>(failed)).Get(), ray::RayTaskException);
  EXPECT_EQ(*counter.Task(&Counter::Value).Remote().Get(), 0);  // it lives
  EXPECT_EQ(*counter.Task(&Counter::ThrowUntil).SetRetryExceptions(true).SetMaxRetries(3).Remote(3).Get(), 3);
  EXPECT_THROW(counter.Task(&Counter::ThrowUntil).SetMaxRetries(3).Remote(100).Get(), ray::RayTaskException);
}

TEST(Actors, AreDeadWhenTheirFactoryThrows) {
  const auto bad = ray::Actor(Counter::CreateBad).Remote("a bad start");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(ActorError(bad.Task(&Counter::Value).Remote()),
                AllOf(HasSubstr("the actor is dead: its constructor Counter::CreateBad failed with "
                                "std::invalid_argument: a bad start"),
                      HasSubstr("(process ")));
  }
  const auto nothing = ray::Actor(Counter::CreateNothing).Remote();
  EXPECT_THAT(ActorError(nothing.Task(&Counter::Value).Remote()),
              HasSubstr("returned nullptr instead of an actor"));
  const auto exiting = ray::Actor(Counter::CreateExiting).Remote();
  EXPECT_THAT(ActorError(exiting.Task(&Counter::Value).Remote()), HasSubstr("ray::ExitActor()"));
}

TEST(Actors, ExitOnPurpose) {
  const auto counter = ray::Actor(RAY_FUNC(Counter::Create)).SetMaxRestarts(5).Remote();
  const int pid = *counter.Task(&Counter::Pid).Remote().Get();
  (void)pid;
  const auto exit = counter.Task(&Counter::Exit).Remote();
  const auto after = counter.Task(&Counter::Value).Remote();
  EXPECT_THAT(ActorError(exit), HasSubstr("it ended itself with ray::ExitActor()"));
  EXPECT_THAT(ActorError(after), HasSubstr("exited on purpose"));
  EXPECT_THROW(ray::ExitActor(), ray::RayException);  // in a driver
  EXPECT_FALSE(ray::WasCurrentActorRestarted());
}

TEST(Actors, AreKilled) {
  const auto counter = ray::Actor(RAY_FUNC(Counter::Create)).SetMaxRestarts(1).Remote();
  EXPECT_FALSE(*counter.Task(&Counter::RestartedWhenMade).Remote().Get());
  EXPECT_FALSE(*counter.Task(&Counter::Restarted).Remote().Get());
  const int pid = *counter.Task(&Counter::Pid).Remote().Get();
  EXPECT_EQ(*counter.Task(kAdd).Remote(5).Get(), 5);
  auto mine = counter;
  mine.Kill(false);
  EXPECT_TRUE(Soon([&] {
    try {
      return *counter.Task(&Counter::Pid).Remote().Get(20'000) != pid;
    } catch (const ray::RayActorException&) {
      return false;  // it was running the call
    }
  }));
  EXPECT_EQ(*counter.Task(&Counter::Value).Remote().Get(), 0);  // a new one
  EXPECT_TRUE(*counter.Task(&Counter::RestartedWhenMade).Remote().Get());
  EXPECT_TRUE(*counter.Task(&Counter::Restarted).Remote().Get());
  mine.Kill();
  EXPECT_TRUE(Soon([&] {
    return ActorError(counter.Task(&Counter::Value).Remote()).find("killed") != std::string::npos;
  }));
  EXPECT_THROW(ray::ActorHandle<Counter>().Kill(), ray::RayException);
  EXPECT_THROW(ray::ActorHandle<Counter>().Task(&Counter::Value), ray::RayException);
}

TEST(Actors, SayHowTheirProcessDied) {
  const auto counter = ray::Actor(RAY_FUNC(Counter::Create)).Remote();
  const auto text = ActorError(counter.Task(&Counter::Die).Remote());
  EXPECT_THAT(text, HasSubstr("class_name: test::Counter"));
  EXPECT_THAT(text, HasSubstr("signal 9"));
  EXPECT_THAT(ActorError(counter.Task(&Counter::Value).Remote()), HasSubstr("test::Counter"));
}

TEST(Actors, RestartAndRetry) {
  const auto folder = SharedFolder("retry");
  const auto counter = ray::Actor(RAY_FUNC(Counter::Create, int)).SetMaxRestarts(2).Remote(10);
  // Without retries the running call is lost, those behind it are not.
  const auto lost = counter.Task(&Counter::DieOnce).Remote((folder / "first").string());
  const auto behind = counter.Task(kAdd).Remote(1);
  EXPECT_THAT(ActorError(lost), HasSubstr("unavailable"));
  EXPECT_EQ(*behind.Get(), 11);
  // With retries it is made again.
  EXPECT_EQ(*counter.Task(&Counter::DieOnce).SetMaxRetries(1).Remote((folder / "second").string()).Get(), 11);
  // That was the second restart; the third death is the last.
  EXPECT_THAT(ActorError(counter.Task(&Counter::Die).SetMaxRetries(-1).Remote()), HasSubstr("died"));
  std::filesystem::remove_all(folder);
}

TEST(Actors, RefuseWhatCannotBe) {
  EXPECT_THROW(ray::Actor(RAY_FUNC(Counter::Create)).SetMaxRestarts(-2), ray::RayException);
  EXPECT_THROW(ray::Actor(RAY_FUNC(Counter::Create)).SetMaxConcurrency(0), ray::RayException);
  EXPECT_THROW(ray::Actor(RAY_FUNC(Counter::Create)).SetResource("CPU", 1.5).Remote(), ray::RayException);
  const auto counter = Make();
  EXPECT_THROW(counter.Task(&Counter::Value).SetResource("CPU", 0).Remote(), ray::RayException);
  EXPECT_THROW(counter.Task(&Counter::Value).SetMaxRetries(-2), ray::RayException);
  // A name leads to whatever actor has it.
  const std::string name = RandomName("other");
  const auto both = ray::Actor(Both::Create).SetName(name).Remote();
  const auto wrong = *ray::GetActor<Counter>(name);
  try {
    wrong.Task(&Counter::Value).Remote().Get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const ray::RayTaskException& e) {
    EXPECT_THAT(e.what(), HasSubstr("it is a method of test::Counter, but the actor is a test::Both"));
  }
}

}  // namespace
}  // namespace test
