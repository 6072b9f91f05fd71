// SPDX-License-Identifier: Apache-2.0
// Tasks, as a program uses them. The program is driver and, started again, its workers.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "tests/cpp/api_main.h"
#include "tests/cpp/functions.h"

RAY_REMOTE(test::Plus, test::PlusOne, test::Nothing, test::Greet, test::SumView, test::SumVector, test::Ones);
RAY_REMOTE(test::Move, test::Other, test::ReadRef, test::ReadHolder, test::MakeRefs, test::Fib)
RAY_REMOTE(RAY_FUNC(test::Over), RAY_FUNC(test::Over, int), RAY_FUNC(test::Over, const std::string&));
RAY_REMOTE(test::Shape::Area);

namespace test {

std::string Variable(const std::string& name) {
  const char* const text = std::getenv(name.c_str());
  return text == nullptr ? "(unset)" : text;
}

// Ends when `count` of its kind run at the same time; says which node runs it.
std::string Meet(const std::string& folder, int count) {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const std::string node = host + ("-" + Variable("RAY_MPI_KEEPER_PID"));
  std::ofstream(folder + "/" + node) << "here";
  const auto begin = std::chrono::steady_clock::now();
  const auto there = [&] {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  };
  while (there() < count) {
    if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(30))
      throw std::runtime_error("alone");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return node;
}

std::string EnvironmentOfChildren() {
  std::string text;
  FILE* const pipe = ::popen("env", "r");
  if (pipe == nullptr) throw std::runtime_error("popen");
  char part[4096];
  for (size_t n = 0; (n = std::fread(part, 1, sizeof part, pipe)) > 0;) text.append(part, n);
  ::pclose(pipe);
  return text;
}

std::string NamespaceInTask() {
  ray::Init();  // does nothing here, as does Shutdown
  ray::Shutdown();
  return ray::IsInitialized() ? ray::GetNamespace() : "(not initialized)";
}

size_t Consume(std::vector<double>&& v) { return std::vector<double>(std::move(v)).size(); }
int Change(std::string& s) {
  s += "!";
  return static_cast<int>(s.size());
}
int Unused(const int) { return 5; }
int TakeMany(int a, long b, unsigned char c, float d, const std::string& e, std::optional<int> f, bool g) {
  return a + static_cast<int>(b) + c + static_cast<int>(d) + static_cast<int>(e.size()) + f.value_or(100) +
         (g ? 1000 : 0);
}

RAY_REMOTE(Variable, Meet, EnvironmentOfChildren, NamespaceInTask, Consume, Change, Unused, TakeMany);

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

TEST(Tasks, TakeEveryKindOfParameter) {
  EXPECT_EQ(*ray::Get(ray::Task(Consume).Remote(std::vector<double>(3))), 3U);
  EXPECT_EQ(*ray::Get(ray::Task(Change).Remote("four")), 5);
  EXPECT_EQ(*ray::Get(ray::Task(Unused).Remote(7)), 5);
  const std::string e = "12345";
  EXPECT_EQ(*ray::Get(ray::Task(TakeMany).Remote(1, 2, 3, 4.5, e, std::optional<int>(), true)), 1115);
  EXPECT_EQ(*ray::Get(ray::Task(TakeMany).Remote('\1', ray::Put(2L), 3, 4, ray::Put(e), 6, false)), 21);
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
  const auto p =
      ray::Get(ray::Task(Move).Remote(Point{1, 2.5, "p", {}}, 3, std::map<std::string, int>{{"k", 9}}));
  EXPECT_EQ(p->x, 4);
  EXPECT_EQ(p->name, "pk9");
  EXPECT_EQ(p->row, std::vector<double>{2.5});
  EXPECT_EQ(*ray::Get(ray::Task(Other).Remote(Color::kRed)), Color::kBlue);
}

TEST(Tasks, RefsInsideValues) {
  const auto one = ray::Put(1);
  EXPECT_EQ(*ray::Get(ray::Task(ReadRef).Remote(one)), 1);
  EXPECT_EQ(*ray::Get(ray::Task(ReadHolder).Remote(Holder{one, {ray::Put(2), ray::Task(Plus).Remote(1, 2)}})),
            6);
  const auto stored = ray::Put(Holder{one, {ray::Put(10)}});
  EXPECT_EQ(*ray::Get(ray::Task(ReadHolder).Remote(stored)), 11);
  int sum = 0;
  const auto refs = ray::Get(ray::Task(MakeRefs).Remote(5));  // owned by the worker
  for (const auto& ref : *refs) sum += *ref.Get();
  EXPECT_EQ(sum, 10);
}

TEST(Tasks, RunOnEveryNode) {
  const std::filesystem::path folder = SharedFolder("meet");
  std::vector<ray::ObjectRef<std::string>> refs;
  // Each holds all CPUs of its node, so no two of them can be on one.
  for (int i = 0; i < Given().nodes; ++i) {
    refs.push_back(
        ray::Task(Meet).SetResource("CPU", 2).SetName("meet").Remote(folder.string(), Given().nodes));
  }
  std::set<std::string> nodes;
  for (const auto& node : ray::Get(refs, 40'000)) nodes.insert(*node);
  EXPECT_EQ(nodes.size(), static_cast<size_t>(Given().nodes));
  std::filesystem::remove_all(folder);
}

TEST(Tasks, HoldDevices) {
  const auto visible = [](double gpus) {
    return *ray::Get(
        ray::Task(Variable).SetResources({{"GPU", gpus}, {"CPU", 1}}).Remote("CUDA_VISIBLE_DEVICES"), 20'000);
  };
  EXPECT_EQ(visible(2), "0,1");
  const std::string one = visible(1);
  EXPECT_TRUE(one == "0" || one == "1") << one;
  const std::string half = visible(0.5);
  EXPECT_TRUE(half == "0" || half == "1") << half;
}

TEST(Tasks, HaveThreadsForTheirCpus) {
  EXPECT_EQ(*ray::Get(ray::Task(Variable).Remote("OMP_NUM_THREADS")), "1");
  EXPECT_EQ(*ray::Get(ray::Task(Variable).SetResource("CPU", 2).Remote("OMP_NUM_THREADS")), "2");
  EXPECT_EQ(*ray::Get(ray::Task(Variable).SetResources({{"CPU", 0.25}}).Remote("OMP_NUM_THREADS")), "1");
}

// What a task starts is no worker, and cannot pass for one; nor is it a rank of our launch.
TEST(Tasks, KeepTheirPlaceFromWhatTheyStart) {
  const std::string text = "\n" + *ray::Get(ray::Task(EnvironmentOfChildren).Remote());
  EXPECT_NE(text.find("\nPATH="), std::string::npos);
  for (const char* name : {"RAY_MPI_WORKER_TOKEN", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    EXPECT_EQ(text.find("\n" + std::string(name) + "="), std::string::npos) << name;
  }
}

TEST(Tasks, KnowTheNamespaceAndCannotEndTheSession) {
  EXPECT_TRUE(ray::IsInitialized());
  EXPECT_FALSE(ray::GetNamespace().empty());
  EXPECT_EQ(*ray::Get(ray::Task(NamespaceInTask).Remote()), ray::GetNamespace());
}

}  // namespace
}  // namespace test
