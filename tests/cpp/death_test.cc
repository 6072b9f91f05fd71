// SPDX-License-Identifier: Apache-2.0
// What dies under a C++ program from outside: workers, actors' workers, and a node (its raylet); what is made
// again, and what says why it is not. All processes are of this host. Each NodeDeath test needs a run of its
// own, on three nodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <set>
#include <sstream>

#include "tests/cpp/actors.h"
#include "tests/cpp/api_main.h"
#include "tests/cpp/waiting.h"

namespace test {
namespace fs = std::filesystem;
using Numbers = std::vector<double>;

// Each run of a piece of work leaves a file in the folder.
size_t Runs(const std::string& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}
size_t NoteRun(const std::string& folder) {
  const size_t run = Runs(folder) + 1;
  const std::string file = folder + "/" + std::to_string(run);
  std::ofstream(file + ".new") << ::getpid();
  fs::rename(file + ".new", file);
  return run;
}
int PidOfRun(const std::string& folder, int run) {
  int pid = 0;
  std::ifstream(folder + "/" + std::to_string(run)) >> pid;
  return pid;
}

// Works until its process dies in the first run.
std::string Work(const std::string& folder) {
  if (NoteRun(folder) == 1) std::this_thread::sleep_for(std::chrono::seconds(60));
  return Counter().Node();
}
Numbers Make(int n, const std::string& folder) {
  NoteRun(folder);
  return Numbers(200'000, n);
}
Numbers AddTo(const Numbers& all, int n) {
  Numbers sum = all;
  for (double& d : sum) d += n;
  return sum;
}
double Sum(ray::View<double> all) { return std::accumulate(all.begin(), all.end(), 0.0); }
std::vector<ray::ObjectRef<Numbers>> PutAndLend() { return {ray::Put(Numbers(200'000, 1.0))}; }
size_t WaitThere(const std::vector<ray::ObjectRef<Numbers>>& refs) {
  return ray::Wait(refs, refs.size(), 30'000).ready.size();
}

// Its calls work until their process dies in the first run.
class Worker {
 public:
  static Worker* Create() { return new Worker; }
  std::string Work(const std::string& folder) { return test::Work(folder); }
  std::string Node() { return Counter().Node(); }
  int Count() { return ++count_; }
  Numbers Make(int n) { return Numbers(200'000, n); }
  bool Restarted() { return ray::WasCurrentActorRestarted(); }

 private:
  int count_ = 0;
};

RAY_REMOTE(Work, Make, AddTo, Sum, PutAndLend, WaitThere);
RAY_REMOTE(RAY_FUNC(Counter::Create), &Counter::Node);
RAY_REMOTE(Worker::Create, &Worker::Work, &Worker::Node, &Worker::Count, &Worker::Restarted, &Worker::Make);

namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

class Folder {
 public:
  explicit Folder(const std::string& name) : path_(SharedFolder(name)) {}
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  std::string path() const { return path_.string(); }

  // Of the first run, when that has begun.
  int AwaitPid() const {
    EXPECT_TRUE(Soon([&] { return PidOfRun(path(), 1) != 0; }));
    return PidOfRun(path(), 1);
  }
  void KillFirstRun() const { ASSERT_EQ(::kill(AwaitPid(), SIGKILL), 0); }

 private:
  fs::path path_;
};

// The text of the exception of class E that a ref throws.
template <typename E, typename T>
std::string ErrorOf(const ray::ObjectRef<T>& ref) {
  try {
    ref.Get(60'000);
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string("another class: ") + e.what();
  }
  return "(nothing was thrown)";
}

auto SaysHowProcessDied(int pid) {
  return AllOf(HasSubstr("signal 9"), HasSubstr("rank "), HasSubstr("node "),
               HasSubstr("pid " + std::to_string(pid)), ContainsRegex("at 20[0-9-]+ [0-9:]+"));
}
auto SaysWhichNodeDied() {
  return ContainsRegex(
      "node [23] \\(.+, rank [12], raylet [0-9]+\\) is dead, at 20[0-9-]+ [0-9:]+: its raylet");
}

// ---- workers ----------------------------------------------------------------------------------------------

TEST(WorkerDeath, ItsTaskRunsAgain) {
  const Folder folder("again");
  const auto ref = ray::Task(Work).Remote(folder.path());
  folder.KillFirstRun();
  EXPECT_FALSE(ref.Get(60'000)->empty());
  EXPECT_EQ(Runs(folder.path()), 2U);
  EXPECT_NE(PidOfRun(folder.path(), 1), PidOfRun(folder.path(), 2));
}

TEST(WorkerDeath, WithoutRetriesItIsTheError) {
  const Folder folder("error");
  const auto ref = ray::Task(Work).SetMaxRetries(0).SetName("the work").Remote(folder.path());
  const auto behind = ray::Task(AddTo).Remote(ray::Task(Make).Remote(1, folder.path()), 1);
  folder.KillFirstRun();
  EXPECT_THAT(ErrorOf<ray::RayWorkerException>(ref),
              AllOf(HasSubstr("the work"), SaysHowProcessDied(folder.AwaitPid())));
  EXPECT_EQ(behind.Get(60'000)->at(0), 2);
}

TEST(WorkerDeath, AnActorIsRestarted) {
  const Folder lost("lost"), made_again("made-again");
  const auto worker = ray::Actor(Worker::Create).SetMaxRestarts(2).Remote();
  EXPECT_EQ(*worker.Task(&Worker::Count).Remote().Get(), 1);
  EXPECT_FALSE(*worker.Task(&Worker::Restarted).Remote().Get());
  const auto first = worker.Task(&Worker::Work).Remote(lost.path());
  const auto behind = worker.Task(&Worker::Count).Remote();
  lost.KillFirstRun();
  EXPECT_THAT(ErrorOf<ray::RayActorException>(first), HasSubstr("unavailable"));
  EXPECT_EQ(*behind.Get(60'000), 1);  // its state is a new one
  EXPECT_TRUE(*worker.Task(&Worker::Restarted).Remote().Get());
  const auto second = worker.Task(&Worker::Work).SetMaxRetries(1).Remote(made_again.path());
  made_again.KillFirstRun();
  EXPECT_FALSE(second.Get(60'000)->empty());
  EXPECT_EQ(Runs(made_again.path()), 2U);
}

TEST(WorkerDeath, WithoutRestartsItIsTheActors) {
  const Folder folder("actor");
  const auto worker = ray::Actor(Worker::Create).SetName(RandomName("worker")).Remote();
  const auto ref = worker.Task(&Worker::Work).SetMaxRetries(5).Remote(folder.path());
  folder.KillFirstRun();
  for (const std::string& text : {ErrorOf<ray::RayActorException>(ref),
                                  ErrorOf<ray::RayActorException>(worker.Task(&Worker::Count).Remote())}) {
    EXPECT_THAT(text, AllOf(HasSubstr("test::Worker"), SaysHowProcessDied(folder.AwaitPid())));
  }
  EXPECT_EQ(Runs(folder.path()), 1U);
}

// ---- a node -----------------------------------------------------------------------------------------------

pid_t RayletOf(const std::string& keeper) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    if (stat.find("(ray-mpi-raylet") == std::string::npos) continue;
    std::istringstream rest(stat.substr(stat.rfind(')') + 1));
    std::string state, parent;
    if (rest >> state >> parent && parent == keeper) return std::stoi(stat);
  }
  return 0;
}

// Until Open, a node that is not the driver's is the only one with free CPUs.
class NodeDeath : public testing::Test {
 protected:
  void SetUp() override {
    if (Given().nodes != 3) GTEST_SKIP() << "needs --nodes=3";
    std::vector<ray::ActorHandle<Counter>> holders;
    for (int i = 0; i < 3; ++i) {
      holders.push_back(ray::Actor(RAY_FUNC(Counter::Create)).SetResource("CPU", 2).Remote());
    }
    const std::string here = Counter().Node();
    std::set<std::string> nodes;
    for (auto& holder : holders) {
      const std::string node = *holder.Task(&Counter::Node).Remote().Get(30'000);
      nodes.insert(node);
      if (node == here || !node_.empty()) {
        holders_.push_back(holder);
      } else {
        node_ = node;
      }
    }
    ASSERT_EQ(nodes.size(), 3U);
    ASSERT_EQ(nodes.count(here), 1U);
    raylet_ = RayletOf(node_.substr(node_.rfind(':') + 1));
    ASSERT_NE(raylet_, 0);
  }
  void TearDown() override { holders_.clear(); }

  void Open() { holders_.clear(); }  // what is lost has room elsewhere
  void Lose() const { ASSERT_EQ(::kill(raylet_, SIGKILL), 0); }
  const std::string& node() const { return node_; }

 private:
  std::vector<ray::ActorHandle<Counter>> holders_;
  std::string node_;
  pid_t raylet_ = 0;
};

TEST_F(NodeDeath, TasksRunElsewhere) {
  const Folder again("again"), error("error");
  const auto retried = ray::Task(Work).Remote(again.path());
  const auto failed = ray::Task(Work).SetMaxRetries(0).SetName("the work").Remote(error.path());
  again.AwaitPid();
  error.AwaitPid();
  Open();
  Lose();
  EXPECT_NE(*retried.Get(60'000), node());
  EXPECT_EQ(Runs(again.path()), 2U);
  EXPECT_THAT(ErrorOf<ray::RayWorkerException>(failed), AllOf(HasSubstr("the work"), SaysWhichNodeDied()));
  EXPECT_EQ(Runs(error.path()), 1U);
}

TEST_F(NodeDeath, ActorsAreRestartedElsewhere) {
  const Folder again("again"), last("last");
  const auto make = [](int restarts) {
    return ray::Actor(Worker::Create).SetMaxRestarts(restarts).SetResource("CPU", 1).Remote();
  };
  const auto restarted = make(1), dead = make(0);
  for (const auto& actor : {restarted, dead}) {
    EXPECT_EQ(*actor.Task(&Worker::Node).Remote().Get(30'000), node());
    EXPECT_EQ(*actor.Task(&Worker::Count).Remote().Get(30'000), 1);
  }
  const auto call = restarted.Task(&Worker::Work).SetMaxRetries(1).Remote(again.path());
  const auto lost = dead.Task(&Worker::Work).SetMaxRetries(1).Remote(last.path());
  again.AwaitPid();
  last.AwaitPid();
  Open();
  Lose();
  EXPECT_NE(*call.Get(60'000), node());
  EXPECT_EQ(Runs(again.path()), 2U);
  EXPECT_EQ(*restarted.Task(&Worker::Count).Remote().Get(30'000), 1);
  EXPECT_TRUE(*restarted.Task(&Worker::Restarted).Remote().Get(30'000));
  for (const std::string& text : {ErrorOf<ray::RayActorException>(lost),
                                  ErrorOf<ray::RayActorException>(dead.Task(&Worker::Count).Remote())}) {
    EXPECT_THAT(text, AllOf(HasSubstr("test::Worker"), SaysWhichNodeDied()));
  }
}

TEST_F(NodeDeath, LostObjectsAreMadeAgain) {
  const Folder first("first"), none("none");
  auto start = ray::Task(Make).Remote(1, first.path());
  auto chain = ray::Task(AddTo).Remote(start, 10);
  start = {};  // freed, and needed again
  chain = ray::Task(AddTo).Remote(chain, 100);
  const auto unretried = ray::Task(Make).SetMaxRetries(0).Remote(2, none.path());
  const auto lent = ray::Task(PutAndLend).Remote().Get(30'000);
  const auto worker = ray::Actor(Worker::Create).SetMaxRestarts(1).SetResource("CPU", 1).Remote();
  const auto method = worker.Task(&Worker::Make).SetMaxRetries(1).Remote(3);
  const auto once = worker.Task(&Worker::Make).Remote(4);
  const std::vector<ray::ObjectRef<Numbers>> there = {chain, unretried, lent->at(0), method, once};
  ASSERT_EQ(*ray::Task(WaitThere).Remote(there).Get(60'000), there.size());  // no copies come here
  Open();
  Lose();
  EXPECT_EQ(*ray::Task(Sum).Remote(chain).Get(60'000), 111 * 200'000.0);  // for a task, and for the driver
  EXPECT_EQ(chain.Get(60'000)->at(0), 111);
  EXPECT_EQ(Runs(first.path()), 2U);
  EXPECT_EQ(method.Get(60'000)->at(0), 3);  // by the actor that was restarted
  for (const auto& ref : {unretried, once}) {
    EXPECT_THAT(ErrorOf<ray::UnreconstructableException>(ref), SaysWhichNodeDied());
  }
  EXPECT_EQ(Runs(none.path()), 1U);
  EXPECT_THAT(ErrorOf<ray::UnreconstructableException>(lent->at(0)),
              AllOf(HasSubstr("is lost with its owner"), SaysWhichNodeDied()));
}

}  // namespace
}  // namespace test
