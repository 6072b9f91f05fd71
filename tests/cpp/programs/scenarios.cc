// SPDX-License-Identifier: Apache-2.0
// scenarios NAME [ARGUMENTS]: one situation in a program's life each; programs_test.cc runs them. What is
// thrown is printed as "thrown: <text>", and the status is then 7.
#include <fcntl.h>
#include <ray/api.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace one {
int Same() { return 1; }
}  // namespace one
namespace two {
int Same() { return 2; }
}  // namespace two
int Pid() { return static_cast<int>(::getpid()); }
int Plus(int a, int b) { return a + b; }
int NotRegistered() { return 0; }
int Print(const std::string& text) {
  std::cout << text;  // no end of line, no flush: the worker's business
  return 0;
}
int Exit(int status) { std::exit(status); }
int Sleep(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  return ms;
}
int Flaky(const std::string& file) {  // throws until the file has three bytes
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND, 0600);
  const auto size = ::lseek(fd, 0, SEEK_END);
  const auto wrote = ::write(fd, "x", 1);
  ::close(fd);
  if (size < 2 || wrote != 1) throw std::runtime_error("flaky");
  return static_cast<int>(size);
}
int Threads() {
  const char* const text = std::getenv("OMP_NUM_THREADS");
  return text == nullptr ? -1 : std::atoi(text);
}
std::string WorkerToken() {
  const char* const text = std::getenv("RAY_MPI_WORKER_TOKEN");
  return text == nullptr ? "none" : text;
}
struct Refusing {
  int x = 0;
  template <typename Packer>
  void msgpack_pack(Packer&) const {
    throw std::length_error("will not be packed");
  }
  void msgpack_unpack(const msgpack::object&) {}
};
Refusing MakeRefusing() { return {}; }
std::string InTask() {
  ray::Init();
  ray::Shutdown();
  return std::string(ray::IsInitialized() ? "still there, " : "gone, ") + ray::GetNamespace();
}

RAY_REMOTE(Pid, Plus, Print, Exit, Sleep, Flaky, Threads, WorkerToken, MakeRefusing, InTask);

namespace {

ray::RayConfig Config() {
  ray::RayConfig config;
  config.head_args = {"--num-cpus", "2", "--object-store-memory", "128M"};
  return config;
}

template <typename Call>
void Thrown(const char* what, Call&& call) {
  try {
    call();
    std::cout << what << ": nothing was thrown\n";
  } catch (const ray::RayException& e) {
    std::cout << what << ": " << e.what() << "\n";
  }
}

using Arguments = std::vector<std::string>;

void Twice(const Arguments&) {
  ray::RayConfig config = Config();
  config.ray_namespace = "mine";
  ray::Init(config);
  ray::Init();  // does nothing
  const auto old = ray::Put(5);
  std::cout << *ray::Get(ray::Task(Plus).Remote(old, 1)) << " " << ray::GetNamespace() << "\n";
  std::cout << *ray::Get(ray::Task(InTask).Remote()) << "\n";
  ray::Shutdown();
  ray::Shutdown();
  std::cout << ray::IsInitialized() << "\n";
  Thrown("between", [] { ray::Put(1); });
  ray::Init(config);
  std::cout << *ray::Get(ray::Task(Plus).Remote(20, 1)) << "\n";
  Thrown("old ref", [&] { ray::Get(old); });
  Thrown("old argument", [&] { ray::Task(Plus).Remote(old, 1); });
  Thrown("old id", [&] { ray::Get<int>(std::vector<std::string>{old.ID()}); });
}

// A worker whose main ends before ray::Init.
void Early(const Arguments& arguments) {
  if (::access(arguments.at(0).c_str(), F_OK) == 0) {
    std::cout << "a worker was here\n";
    return;
  }
  ::close(::open(arguments.at(0).c_str(), O_CREAT | O_WRONLY, 0600));
  ray::RayConfig config = Config();
  ray::Init(config);
  Thrown("early", [] { ray::Get(ray::Task(Plus).SetMaxRetries(0).Remote(1, 2), 20'000); });
}

void Output(const Arguments&) {
  std::cout << "before Init\n" << std::flush;
  std::atexit([] { std::cout << "exit handler\n" << std::flush; });
  ray::RayConfig config = Config();
  ray::Init(config);
  ray::Get(ray::Task(Print).Remote("a line\nhalf a line"));
  ray::Get(ray::Task(Print).Remote(", the other half\n"));
}

void Deaths(const Arguments& arguments) {
  ray::RayConfig config = Config();
  ray::Init(config);
  Thrown("exit", [] { ray::Get(ray::Task(Exit).SetMaxRetries(0).SetName("leaver").Remote(3)); });
  Thrown("packing", [] { ray::Get(ray::Task(MakeRefusing).Remote()); });
  std::cout << "retried " << *ray::Get(ray::Task(Flaky).SetRetryExceptions(true).Remote(arguments.at(0)))
            << "\n";
  Thrown("not retried", [&] { ray::Get(ray::Task(Flaky).Remote(arguments.at(0) + "2")); });
}

void Calls(const Arguments&) {
  Thrown("unregistered", [] { ray::Task(NotRegistered); });
  ray::RayConfig config = Config();
  ray::Init(config);
  Thrown("zero", [] { ray::Task(Plus).SetResource("CPU", 0).Remote(1, 2); });
  Thrown("nameless", [] { ray::Task(Plus).SetResource("", 1).Remote(1, 2); });
  Thrown("negative", [] { ray::Task(Plus).SetResources({{"CPU", -1}}).Remote(1, 2); });
  Thrown("fraction", [] { ray::Task(Plus).SetResource("CPU", 1.5).Remote(1, 2); });
  Thrown("retries", [] { ray::Task(Plus).SetMaxRetries(-2); });
  Thrown("unschedulable", [] { ray::Get(ray::Task(Plus).SetResource("moon", 1).Remote(1, 2), 500); });
  Thrown("timeout", [] { ray::Get(ray::Task(Sleep).Remote(2000), 50); });
  Thrown("many timeout", [] { ray::Get(std::vector{ray::Put(1), ray::Task(Sleep).Remote(2000)}, 50); });
  Thrown("wait none", [] { ray::Wait(std::vector{ray::Put(1)}, 0, 0); });
  Thrown("wait more", [] { ray::Wait(std::vector{ray::Put(1)}, 2, 0); });
  const auto once = ray::Put(1);
  Thrown("wait twice", [&] { ray::Wait(std::vector{once, once}, 1, 0); });
  Thrown("bad id", [] { ray::ObjectRef<int>("short"); });
  Thrown("wrong type", [] { ray::Get(ray::ObjectRef<std::string>(ray::Put(5).ID())); });
  const auto number = ray::Put(5);
  Thrown("wrong stored type", [&] { ray::Get(ray::ObjectRef<std::map<int, int>>(number.ID())); });
  std::cout << "threads " << *ray::Get(ray::Task(Threads).SetResource("CPU", 2).Remote()) << " "
            << *ray::Get(ray::Task(Threads).Remote()) << "\n";
  std::cout << "token " << *ray::Get(ray::Task(WorkerToken).Remote()) << "\n";
}

// A driver with threads, and one that a Shutdown interrupts.
void ManyThreads(const Arguments&) {
  ray::RayConfig config = Config();
  ray::Init(config);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 200; ++i) {
        if (*ray::Get(ray::Task(Plus).Remote(ray::Put(i), t)) != i + t) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::cout << "wrong " << wrong << "\n";
  std::thread waiting([] { Thrown("waiting", [] { ray::Get(ray::Task(Sleep).Remote(10'000)); }); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ray::Shutdown();
  waiting.join();
}

bool g_forked = false;

// A child that the program forks is nobody to the runtime.
void Fork(const Arguments&) {
  ray::RayConfig config = Config();
  ray::Init(config);
  const auto ref = ray::Put(1);
  const pid_t pid = ::fork();
  g_forked = pid == 0;
  if (g_forked) std::exit(ray::IsInitialized() ? 1 : 0);  // its exit handlers run, too
  int status = 0;
  ::waitpid(pid, &status, 0);
  std::cout << "child " << WEXITSTATUS(status) << ", still " << *ray::Get(ray::Task(Plus).Remote(ref, 1))
            << "\n";
}

// View outlives ref, task and session.
void Views(const Arguments&) {
  ray::RayConfig config = Config();
  ray::Init(config);
  ray::View<double> view;
  {
    const auto ref = ray::Put(std::vector<double>(100'000, 2.5));
    view = ray::GetView(ref);
    std::cout << "in place " << (ref.View().data() == view.data()) << "\n";
  }
  for (int i = 0; i < 20; ++i) ray::Put(std::vector<double>(1'000'000, 1.0));
  double sum = 0;
  for (const double d : view) sum += d;
  const std::string text = "some text";
  const auto stored = ray::Put(text);
  std::cout << sum << " " << stored.View().size() << "\n";
  ray::Shutdown();
  std::cout << view[99'999] << "\n";
}

void Full(const Arguments&) {
  ray::RayConfig config = Config();
  ray::Init(config);
  Thrown("full", [] { ray::Put(std::vector<double>(20'000'000)); });
  // What nobody looks at goes to disk, and comes back.
  std::vector<ray::ObjectRef<std::vector<char>>> held;
  for (int i = 0; i < 20; ++i) held.push_back(ray::Put(std::vector<char>(10'000'000, static_cast<char>(i))));
  int right = 0;
  for (int i = 0; i < 20; ++i) {
    const auto value = ray::Get(held[static_cast<size_t>(i)]);
    right += value->size() == 10'000'000 && value->front() == i && value->back() == i;
  }
  std::cout << "right " << right << "\n";
  std::vector<ray::View<char>> views;
  Thrown("filled", [&] {
    for (const auto& ref : held) views.push_back(ray::GetView(ref));
  });
}

void Clash(const Arguments&) {
  ray::internal::RegisterFunctions("Same", "a.cc", 1, &one::Same);
  ray::internal::RegisterFunctions("Same", "b.cc", 2, &two::Same);
  ray::Init();
}

void InitWith(const Arguments& arguments) {
  ray::RayConfig config = Config();
  config.head_args.insert(config.head_args.end(), arguments.begin(), arguments.end());
  ray::Init(config);
}
void Address(const Arguments& arguments) {
  ray::RayConfig config;
  config.address = arguments.at(0);
  ray::Init(config);
  std::cout << *ray::Get(ray::Task(Plus).Remote(1, 2)) << "\n";
}
void Local(const Arguments&) {
  ray::RayConfig config;
  config.local_mode = true;
  ray::Init(config);
}
void Redis(const Arguments&) {
  ray::RayConfig config;
  config.redis_password_ = "secret";
  ray::Init(config);
}
void Lifetime(const Arguments& arguments) {
  ray::RayConfig config = Config();
  std::string words[] = {"program", "--ray_default_actor_lifetime=" + arguments.at(0)};
  char* argv[] = {words[0].data(), words[1].data()};
  ray::Init(config, 2, argv);
}
void Path(const Arguments& arguments) {
  ray::RayConfig config = Config();
  config.code_search_path = arguments;
  ray::Init(config);
}
void CommandLine(const Arguments&) {
  ray::RayConfig config = Config();
  std::vector<std::string> words = {"program",   "--ray_job_namespace",         "cli",
                                    "--other=1", "-ray_head_args=--num-cpus 1", "x"};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  ray::Init(config, static_cast<int>(argv.size()), argv.data());
  std::cout << ray::GetNamespace() << " " << config.head_args.size() << " "
            << *ray::Get(ray::Task(Plus).Remote(1, 2)) << "\n";
}
void Log(const Arguments&) {
  RAYLOG(INFO) << "a word " << 5;
  RAYLOG(DEBUG) << "not shown";
  RAYLOG(FATAL) << "the last one";
}

}  // namespace

// Asked by LeakSanitizer: what the parent's threads hold looks leaked in a child that has none of them.
extern "C" int __lsan_is_turned_off() { return g_forked ? 1 : 0; }

int main(int argc, char** argv) {
  const std::map<std::string, std::function<void(const Arguments&)>> scenarios = {
      {"twice", Twice},   {"early", Early},       {"output", Output},       {"deaths", Deaths},
      {"calls", Calls},   {"views", Views},       {"full", Full},           {"clash", Clash},
      {"init", InitWith}, {"address", Address},   {"local", Local},         {"redis", Redis},
      {"path", Path},     {"cli", CommandLine},   {"threads", ManyThreads}, {"fork", Fork},
      {"log", Log},       {"lifetime", Lifetime},
  };
  try {
    scenarios.at(argc > 1 ? argv[1] : "")({argv + 2, argv + argc});
  } catch (const std::exception& e) {
    std::cout << "thrown: " << e.what() << "\n";
    return 7;
  }
  return 0;
}
