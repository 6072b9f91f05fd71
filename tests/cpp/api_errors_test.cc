// SPDX-License-Identifier: Apache-2.0
// What goes wrong in a run, and the exception that says so: its class, and that it names function, type and
// place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/cpp/functions.h"

namespace test {

class OwnError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
struct NoError {};

int ThrowOwn(const std::string& text) { throw OwnError(text); }
int ThrowKind(int kind) {
  if (kind == 0) throw 5;                        // NOLINT
  if (kind == 1) throw "some text";              // NOLINT
  if (kind == 2) throw std::string("a string");  // NOLINT
  if (kind == 3) throw NoError();                // NOLINT
  return kind;
}
void ThrowNothing() { throw std::logic_error("no result either"); }
int End(int kind) {
  if (kind == 0) std::abort();
  if (kind == 1) ::_exit(9);
  return kind;
}
int GetInTask(const std::vector<ray::ObjectRef<int>>& refs) { return *refs.at(0).Get(); }
int CatchInTask() {
  try {
    ray::Get(ray::Task(ThrowOwn).Remote("inner"));
  } catch (const ray::RayTaskException& e) {
    return e.origin().message == "inner" ? 1 : 2;
  }
  return 3;
}
std::vector<ray::ObjectRef<int>> OwnAndEnd() {
  std::vector<ray::ObjectRef<int>> refs = {ray::Put(5)};
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ::_exit(0);
  }).detach();
  return refs;
}
struct Refusing {  // packs, or unpacks, never
  bool pack = false;
  Refusing() = default;
  explicit Refusing(bool p) : pack(p) {}
  template <typename Packer>
  void msgpack_pack(Packer& packer) const {
    if (!pack) throw std::length_error("will not be packed");
    packer.pack(1);
  }
  void msgpack_unpack(const msgpack::object&) { throw std::length_error("will not be unpacked"); }
};
Refusing MakeRefusing(bool pack) { return Refusing(pack); }
int TakeRefusing(const Refusing& r) { return r.pack ? 1 : 0; }
std::map<std::string, int> MakeMap() { return {{"a", 1}}; }

RAY_REMOTE(test::ThrowRange, test::ThrowOwn, test::ThrowKind, test::ThrowNothing, test::End, test::GetInTask);
RAY_REMOTE(test::CatchInTask, test::OwnAndEnd, test::MakeRefusing, test::TakeRefusing, test::MakeMap);

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// The exception of class E that the call throws.
template <typename E, typename Call>
E Thrown(Call&& call) {
  try {
    call();
  } catch (const E& e) {
    return e;
  } catch (const std::exception& e) {
    ADD_FAILURE() << "another exception: " << e.what();
    return E("another");
  }
  ADD_FAILURE() << "nothing was thrown";
  return E("nothing");
}

TEST(Errors, ATasksExceptionReachesItsGetterWhole) {
  const auto e = Thrown<ray::RayTaskException>([] { ray::Get(ray::Task(ThrowRange).Remote(3)); });
  EXPECT_EQ(e.origin().type, "std::out_of_range");
  EXPECT_EQ(e.origin().function, "test::ThrowRange");
  EXPECT_EQ(e.origin().message, "no such x: 3");
  EXPECT_EQ(e.origin().language, "C++");
  EXPECT_GT(e.origin().pid, 0);
  EXPECT_EQ(std::string(e.what()),
            "the task test::ThrowRange failed with std::out_of_range: no such x: 3 (process " +
                std::to_string(e.origin().pid) + " on " + e.origin().host + ")");
}

TEST(Errors, KeepTheUsersClassAndTheTasksName) {
  const auto e =
      Thrown<ray::RayTaskException>([] { ray::Get(ray::Task(ThrowOwn).SetName("step 7").Remote("own")); });
  EXPECT_EQ(e.origin().type, "test::OwnError");
  EXPECT_THAT(
      e.what(),
      StartsWith("the task step 7 (function test::ThrowOwn) failed with test::OwnError: own (process "));
}

TEST(Errors, WhatIsNoStdExceptionHasAType) {
  const std::pair<const char*, const char*> kinds[] = {
      {"int", "(it is no std::exception, so it has no message)"},
      {"char const*", "some text"},
      {"std::string", "a string"},
      {"test::NoError", "(it is no std::exception, so it has no message)"}};
  for (int kind = 0; kind < 4; ++kind) {
    const auto e = Thrown<ray::RayTaskException>([&] { ray::Get(ray::Task(ThrowKind).Remote(kind)); });
    EXPECT_EQ(e.origin().type, kinds[kind].first);
    EXPECT_EQ(e.origin().message, kinds[kind].second);
    EXPECT_EQ(e.origin().function, "test::ThrowKind");
  }
}

TEST(Errors, ReachThroughEveryWay) {
  Thrown<ray::RayTaskException>([] { ray::Get(ray::Task(ThrowNothing).Remote()); });
  Thrown<ray::RayTaskException>([] { ray::Get(std::vector{ray::Task(ThrowNothing).Remote()}); });
  Thrown<ray::RayTaskException>([] { ray::Get(std::vector{ray::Put(1), ray::Task(ThrowKind).Remote(0)}); });
  Thrown<ray::RayTaskException>([] { ray::Task(ThrowOwn).Remote("x").Get(10'000); });
  Thrown<ray::internal::RayTaskException>([] { ray::Task(ThrowOwn).Remote("x").Get(); });  // Ray's name of it
  // The first error of a chain arrives at its end; the tasks between do not run.
  auto ref = ray::Task(ThrowOwn).Remote("the first");
  for (int i = 0; i < 3; ++i) ref = ray::Task(Plus).Remote(ref, 1);
  const auto e = Thrown<ray::RayTaskException>([&] { ray::Get(ref); });
  EXPECT_EQ(e.origin().function, "test::ThrowOwn");
  EXPECT_EQ(e.origin().message, "the first");
}

TEST(Errors, PassThroughTasksThatGetThem) {
  const std::vector inner = {ray::Task(ThrowOwn).Remote("deep inside")};
  const auto e = Thrown<ray::RayTaskException>([&] { ray::Get(ray::Task(GetInTask).Remote(inner)); });
  EXPECT_EQ(e.origin().function, "test::GetInTask");
  EXPECT_EQ(e.origin().type, "ray::RayTaskException");
  EXPECT_THAT(e.what(), AllOf(HasSubstr("test::OwnError: deep inside"), HasSubstr("test::ThrowOwn")));
  EXPECT_EQ(*ray::Get(ray::Task(CatchInTask).Remote()), 1);
}

TEST(Errors, ADeadWorkerIsItsTasksError) {
  const auto aborted =
      Thrown<ray::RayWorkerException>([] { ray::Get(ray::Task(End).SetMaxRetries(0).Remote(0)); });
  EXPECT_THAT(aborted.what(),
              AllOf(HasSubstr("test::End"), HasSubstr("signal 6"), HasSubstr("pid "), HasSubstr("node ")));
  const auto ended =
      Thrown<ray::internal::RayWorkerException>([] { ray::Get(ray::Task(End).SetMaxRetries(1).Remote(1)); });
  EXPECT_THAT(ended.what(), AllOf(HasSubstr("test::End"), HasSubstr("status 9")));
}

TEST(Errors, AnObjectIsGoneWithItsOwner) {
  const auto refs = ray::Get(ray::Task(OwnAndEnd).Remote());
  EXPECT_EQ(*refs->at(0).Get(), 5);
  const auto give_up_at = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const auto e = Thrown<ray::RayTaskException>([&] {
    while (std::chrono::steady_clock::now() < give_up_at) {  // the owner takes its time to end
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      // In a process that has no copy; in the owner it is lost and made again.
      ray::Get(ray::Task(GetInTask).Remote(*refs), 20'000);
    }
  });
  EXPECT_EQ(e.origin().type, "ray::UnreconstructableException");
  EXPECT_THAT(e.what(), HasSubstr("is lost with its owner"));
}

TEST(Errors, ValuesThatDoNotPackNameTheFunction) {
  const auto e = Thrown<ray::RayTaskException>([] { ray::Get(ray::Task(MakeRefusing).Remote(false)); });
  EXPECT_EQ(e.origin().function, "test::MakeRefusing");
  EXPECT_EQ(e.origin().type, "std::length_error");
  EXPECT_EQ(e.origin().message, "its result could not be packed: will not be packed");
  EXPECT_THROW(ray::Put(Refusing(false)), std::length_error);  // here it is the caller's own
}

TEST(Errors, ValuesThatDoNotUnpackNameFunctionTypeAndPlace) {
  const auto result = Thrown<ray::RayException>([] { ray::Get(ray::Task(MakeRefusing).Remote(true)); });
  EXPECT_THAT(
      result.what(),
      AllOf(StartsWith("the value of object "), HasSubstr("the result of test::MakeRefusing (RAY_REMOTE at "),
            HasSubstr("api_errors_test.cc:"),
            HasSubstr("cannot be read: as test::Refusing it throws std::length_error: will not be "
                      "unpacked")));
  const auto argument =
      Thrown<ray::RayTaskException>([] { ray::Get(ray::Task(TakeRefusing).Remote(Refusing(true))); });
  EXPECT_EQ(argument.origin().function, "test::TakeRefusing");
  EXPECT_THAT(argument.what(),
              HasSubstr("argument 1 cannot be read: as test::Refusing it throws std::length_error"));
  const auto map = ray::Task(MakeMap).Remote();
  const auto other = Thrown<ray::RayException>([&] { ray::Get(ray::ObjectRef<std::string>(map.ID())); });
  EXPECT_THAT(other.what(),
              HasSubstr("it is the msgpack value {\"a\":1}, which does not convert to std::string"));
}

TEST(Errors, ResourcesThatCannotBe) {
  const auto refused = [](auto&& set, const char* text) {
    const auto e = Thrown<ray::RayException>([&] { set(ray::Task(Plus)).Remote(1, 2); });
    EXPECT_THAT(e.what(), HasSubstr(text));
  };
  refused([](auto task) { return task.SetResource("CPU", 0); }, "CPU = 0.0");
  refused([](auto task) { return task.SetResource("", 1); }, "have a name");
  refused([](auto task) { return task.SetResources({{"GPU", -1}}); }, "GPU = -1.0");
  refused([](auto task) { return task.SetResource("CPU", 1.5); },
          "should be an integer if it is greater than 1.0");
  refused([](auto task) { return task.SetMaxRetries(-2); }, "SetMaxRetries: -2");
  // What nobody has is waited for: a node that has it may come.
  EXPECT_THROW(ray::Get(ray::Task(Plus).SetResource("moon", 1).Remote(1, 2), 300), ray::RayTimeoutException);
}

int NotRegistered(int x) { return x; }

TEST(Errors, AFunctionWithoutRayRemoteIsNamed) {
  const auto e = Thrown<ray::RayFunctionNotFound>([] { ray::Task(NotRegistered); });
  EXPECT_THAT(e.what(),
              AllOf(HasSubstr("use RAY_REMOTE"), HasSubstr("int (*)(int)"), HasSubstr("cpp_api_test")));
}

TEST(Errors, AllAreRayExceptions) {
  static_assert(std::is_base_of_v<std::exception, ray::RayException>);
  static_assert(std::is_base_of_v<ray::RayException, ray::RayTaskException>);
  static_assert(std::is_base_of_v<ray::RayException, ray::RayWorkerException>);
  static_assert(std::is_base_of_v<ray::RayException, ray::UnreconstructableException>);
  static_assert(std::is_base_of_v<ray::RayException, ray::RayFunctionNotFound>);
  static_assert(std::is_base_of_v<ray::RayException, ray::RayTimeoutException>);
  static_assert(std::is_base_of_v<ray::RayException, ray::RayObjectStoreFullException>);
  static_assert(std::is_base_of_v<ray::RayException, ray::RayTaskCancelledException>);
  static_assert(std::is_base_of_v<ray::RayException, ray::RayTaskUnschedulableException>);
  EXPECT_THROW(ray::Get(ray::Task(ThrowNothing).Remote()), ray::RayException);
}

}  // namespace
}  // namespace test
