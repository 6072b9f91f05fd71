// SPDX-License-Identifier: Apache-2.0
// The core without any Python: this program is keeper, workers and driver of a one-node runtime, and its
// tasks are C++ functions found by name. What passes here is there for every language binding.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include "launcher/keeper.h"
#include "runtime/raylet/keeper_link.h"
#include "runtime/raylet/raylet.h"
#include "runtime/worker/core_worker.h"
#include "tests/lane/lane_test_util.h"

namespace rmpi {
namespace {

// ---- values: int64 arrays as raw bytes --------------------------------------------------------------------

ValueSource Numbers(std::vector<int64_t> numbers, std::vector<Ref> contained = {}) {
  ValueSource v;
  v.size = numbers.size() * sizeof(int64_t);
  v.write = [numbers](std::byte* dest) {
    std::memcpy(dest, numbers.data(), numbers.size() * sizeof(int64_t));
  };
  v.contained = std::move(contained);
  return v;
}

std::vector<int64_t> ToNumbers(Bytes bytes) {
  std::vector<int64_t> out(bytes.size() / sizeof(int64_t));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(int64_t));
  return out;
}

// ---- what a driver or task does ---------------------------------------------------------------------------

struct Client {
  CoreWorker* worker;
  uint8_t language = kCppLanguage;

  TemplateHandle Function(const std::string& name, uint32_t returns = 1, int32_t retries = 3) {
    TaskTemplate t;
    t.function_id = name;
    t.function_name = name;
    t.name = name;
    t.language = language;
    t.num_returns = returns;
    t.max_retries = retries;
    t.resources = {{"CPU", 1.0}};
    return worker->Prepare(t);
  }
  std::vector<Ref> Call(const TemplateHandle& f, std::vector<int64_t> args, std::vector<Ref> refs = {}) {
    TaskArgs a;
    a.size = args.size() * sizeof(int64_t);
    a.write = [args](std::byte* dest) { std::memcpy(dest, args.data(), args.size() * sizeof(int64_t)); };
    a.refs = std::move(refs);
    std::vector<Ref> returns;
    EXPECT_TRUE(worker->Submit(f, a, &returns).ok());
    return returns;
  }
  ValueView Get(const Ref& ref) {
    const Ref* refs[] = {&ref};
    size_t ready = 0;
    ValueView view;
    Status s;
    do {
      s = worker->Wait(refs, 1, MonotonicNow() + 20 * kSecond, true, &ready);
    } while (s.code() == StatusCode::kInterrupted);
    EXPECT_TRUE(s.ok()) << s.message();
    if (s.ok()) s = worker->Read(ref, &view);
    EXPECT_TRUE(s.ok()) << s.message();
    return view;
  }
};

// ---- tasks ------------------------------------------------------------------------------------------------

// Writes nonsense where `dst` reads what this process tells it, as a program with a wild pointer may.
void DamageLane(Client& c, const ExecTask& task, uint16_t dst) {
  Ref self;  // both lanes exist once something was said
  (void)c.worker->Borrow({task.id, 0, 0}, Ref{}, &self);
  (void)c.worker->Stats();
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("ray-mpi-board") == std::string::npos) continue;
    const std::string path = "/proc/self/map_files/" + line.substr(0, line.find(' '));
    UniqueFd fd(open(path.c_str(), O_RDWR));
    std::unique_ptr<lane::Board> board;
    if (!lane::Board::Map(fd.get(), &board).ok()) _exit(8);
    lane::LaneTestAccess::Damage(board.get(), c.worker->address().slot, dst);
    pause();  // until somebody has seen it
  }
  _exit(8);
}

void RunTask(Client& c, ExecTask& task) {
  const std::vector<int64_t> args = ToNumbers(task.args);
  std::vector<ValueSource> results;
  if (task.function_id == "add") {
    results.push_back(Numbers({args[0] + args[1]}));
  } else if (task.function_id == "sum") {  // of its resolved arguments
    int64_t sum = 0;
    for (const ValueView& v : task.values) {
      for (int64_t n : ToNumbers(v.bytes)) sum += n;
    }
    results.push_back(Numbers({sum}));
  } else if (task.function_id == "count") {  // 0 .. n-1, large ones through the store
    std::vector<int64_t> numbers(static_cast<size_t>(args[0]));
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int64_t>(i);
    results.push_back(Numbers(std::move(numbers)));
  } else if (task.function_id == "fib") {  // nested: gives its CPU back while it waits
    int64_t value = args[0];
    if (value > 1) {
      const TemplateHandle fib = c.Function("fib");
      const Ref a = c.Call(fib, {value - 1})[0], b = c.Call(fib, {value - 2})[0];
      value = ToNumbers(c.Get(a).bytes)[0] + ToNumbers(c.Get(b).bytes)[0];
    }
    results.push_back(Numbers({value}));
  } else if (task.function_id == "fail") {
    ValueSource error = Numbers({args[0]});
    error.kind = ValueKind::kAppError;
    results.push_back(error);
  } else if (task.function_id == "die_once") {
    if (task.attempt == 0) _exit(9);
    results.push_back(Numbers({static_cast<int64_t>(task.attempt)}));
  } else if (task.function_id == "damage") {
    DamageLane(c, task, args[0] == 0 ? kRayletSlot : task.id.owner.slot);
  } else if (task.function_id == "pair") {
    results.push_back(Numbers({1}));
    results.push_back(Numbers({2}));
  }
  (void)c.worker->FinishTask(task, results, false);
}

int WorkerMain() {
  CoreWorker::Options options;
  options.session = std::getenv("RAY_MPI_SESSION");
  options.mode = CoreWorker::Mode::kWorker;
  options.spawn_token = std::strtoull(std::getenv("RAY_MPI_WORKER_TOKEN"), nullptr, 10);
  std::unique_ptr<CoreWorker> worker;
  if (!CoreWorker::Connect(options, &worker).ok()) return 1;
  Client client{worker.get()};
  for (;;) {
    ExecTask task;
    const Status s = worker->NextTask(&task);
    if (s.code() == StatusCode::kInterrupted) continue;
    if (!s.ok()) return 0;
    RunTask(client, task);
  }
}

// ---- the driver: each check is a test of its own kind -----------------------------------------------------

void CheckValues(Client& c) {
  EXPECT_EQ(ToNumbers(c.Get(c.Call(c.Function("add"), {2, 40})[0]).bytes), std::vector<int64_t>{42});
  const std::vector<Ref> pair = c.Call(c.Function("pair", 2), {});
  EXPECT_EQ(ToNumbers(c.Get(pair[0]).bytes)[0], 1);
  EXPECT_EQ(ToNumbers(c.Get(pair[1]).bytes)[0], 2);
}

void CheckMany(Client& c) {
  const TemplateHandle add = c.Function("add");
  std::vector<Ref> refs;
  for (int64_t i = 0; i < 5000; ++i) refs.push_back(c.Call(add, {i, 1})[0]);
  for (int64_t i = 0; i < 5000; ++i)
    ASSERT_EQ(ToNumbers(c.Get(refs[static_cast<size_t>(i)]).bytes)[0], i + 1);
}

void CheckArguments(Client& c) {
  Ref small, large;
  ASSERT_TRUE(c.worker->Put(Numbers({1, 2, 3}), &small).ok());
  std::vector<int64_t> ones(1 << 20, 1);
  ASSERT_TRUE(c.worker->Put(Numbers(ones), &large).ok());
  const Ref made = c.Call(c.Function("count"), {1 << 16})[0];
  const Ref sum = c.Call(c.Function("sum"), {}, {small, large, made})[0];
  const int64_t n = 1 << 16;
  EXPECT_EQ(ToNumbers(c.Get(sum).bytes)[0], 6 + (1 << 20) + n * (n - 1) / 2);
  EXPECT_TRUE(c.Get(made).in_store);
}

void CheckNested(Client& c) { EXPECT_EQ(ToNumbers(c.Get(c.Call(c.Function("fib"), {8})[0]).bytes)[0], 21); }

void CheckErrors(Client& c) {
  const ValueView failed = c.Get(c.Call(c.Function("fail"), {7})[0]);
  EXPECT_EQ(failed.kind, ValueKind::kAppError);
  EXPECT_EQ(ToNumbers(failed.bytes)[0], 7);
  const ValueView through = c.Get(c.Call(c.Function("sum"), {}, {c.Call(c.Function("fail"), {8})[0]})[0]);
  EXPECT_EQ(through.kind, ValueKind::kAppError);
  EXPECT_EQ(ToNumbers(c.Get(c.Call(c.Function("die_once"), {})[0]).bytes)[0], 1);
  const ValueView crashed = c.Get(c.Call(c.Function("die_once", 1, 0), {})[0]);
  ASSERT_EQ(crashed.kind, ValueKind::kSystemError);
  const SystemError error = DecodeSystemError(crashed.bytes);
  EXPECT_EQ(error.type, ErrorType::kWorkerCrashed);
  EXPECT_NE(error.message.find("status 9"), std::string::npos) << error.message;
}

// Whoever cannot read a process's messages, raylet or peer, it is the end of that process, not of the reader.
void CheckDamage(Client& c) {
  for (const int64_t reader : {0, 1}) {
    const Ref ref = c.Call(c.Function("damage", 1, 0), {reader})[0];
    for (int i = 0; i < 500 && !ref.ready(); ++i) {
      (void)c.worker->Stats();  // wakes both
      usleep(10'000);
    }
    const ValueView view = c.Get(ref);
    ASSERT_EQ(view.kind, ValueKind::kSystemError);
    const SystemError error = DecodeSystemError(view.bytes);
    EXPECT_EQ(error.type, ErrorType::kWorkerCrashed);
    EXPECT_NE(error.message.find("could not be read"), std::string::npos) << error.message;
  }
}

void CheckNothingIsLeft(Client& c) {
  StoreStats s;
  for (int i = 0; i < 200; ++i) {  // frees are asynchronous
    s = c.worker->Stats();
    if (s.used_bytes == 0 && s.owned_entries == 0) break;
    usleep(10'000);
  }
  EXPECT_EQ(s.used_bytes, 0U);
  EXPECT_EQ(s.owned_entries, 0U);
  EXPECT_EQ(s.pending_tasks, 0U);
}

std::string ErrorOf(Client& c, ErrorType type) {
  const ValueView view = c.Get(c.Call(c.Function("add"), {1, 2})[0]);
  EXPECT_EQ(view.kind, ValueKind::kSystemError);
  const SystemError error = DecodeSystemError(view.bytes);
  EXPECT_EQ(error.type, type);
  return error.message;
}

void CheckOtherLanguages(Client& c) {
  Client python{c.worker, kPythonLanguage};
  EXPECT_THAT(ErrorOf(python, ErrorType::kTaskUnschedulable),
              testing::HasSubstr("Python tasks cannot run on localhost"));
}

std::string self_path;

std::unique_ptr<CoreWorker> Connect(std::vector<std::string> native_worker) {
  CoreWorker::Options options;
  options.session = std::getenv("RAY_MPI_SESSION");
  options.language = kCppLanguage;
  options.native_worker = std::move(native_worker);
  std::unique_ptr<CoreWorker> worker;
  Status s;
  for (int i = 0; i < 500; ++i) {
    if ((s = CoreWorker::Connect(options, &worker)).ok()) break;
    usleep(10'000);
  }
  if (!s.ok()) std::fprintf(stderr, "driver: %s\n", s.message().c_str());
  return worker;
}

// Jobs whose C++ workers cannot be: what waits for one fails, and says why.
void CheckNoWorkers(std::vector<std::string> command, const std::string& reason) {
  const std::unique_ptr<CoreWorker> worker = Connect(std::move(command));
  ASSERT_NE(worker, nullptr);
  Client client{worker.get()};
  EXPECT_THAT(ErrorOf(client, ErrorType::kTaskUnschedulable), testing::HasSubstr(reason));
}

int DriverMain() {
  std::unique_ptr<CoreWorker> worker = Connect({self_path, "--worker"});
  if (worker == nullptr) return 3;
  Client client{worker.get()};
  for (auto* check : {CheckValues, CheckMany, CheckArguments, CheckNested, CheckErrors, CheckDamage,
                      CheckOtherLanguages, CheckNothingIsLeft}) {
    check(client);
  }
  worker.reset();
  CheckNoWorkers({}, "has no C++ code to run");
  CheckNoWorkers({"/bin/true"}, "exited with status 0 before it had called ray::Init");
  CheckNoWorkers({"/no/such/program"}, "exited with status 127 before");
  return testing::Test::HasFailure() ? 1 : 0;
}

TEST(CppTasks, RunThroughTheCore) {
  launcher::KeeperConfig config;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view entry = *e;
    const size_t equals = entry.find('=');
    if (equals != std::string_view::npos) {
      config.environment[std::string(entry.substr(0, equals))] = std::string(entry.substr(equals + 1));
    }
  }
  config.job_step = "test.0";
  config.version = "0.1.0";
  config.driver_environment = config.environment;
  config.native_environment = config.environment;
  config.driver = {self_path, "--driver"};
  config.raylet.hostname = "localhost";
  config.raylet.resources = {{"CPU", 2}};
  config.raylet.object_store_bytes = 128 << 20;
  config.raylet.run_id = 42;
  // The keeper takes signals and children for itself: a process of its own.
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) _exit(launcher::Keeper(config, RunRaylet).Run());
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the driver's checks failed, see above";
}

}  // namespace
}  // namespace rmpi

int main(int argc, char** argv) {
  rmpi::self_path = "/proc/self/exe";
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n > 0) rmpi::self_path.assign(path, static_cast<size_t>(n));
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1 && std::strcmp(argv[1], "--driver") == 0) return rmpi::DriverMain();
  if (argc > 1 && std::strcmp(argv[1], "--worker") == 0) return rmpi::WorkerMain();
  return RUN_ALL_TESTS();
}
