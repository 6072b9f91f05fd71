// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/worker.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <unordered_map>

#include "bindings/cpp/src/libraries.h"
#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/session.h"
#include "bindings/cpp/src/task_error.h"
#include "runtime/base/host_name.h"

namespace rmpi::cpp {

const abi::Api* Table();  // table.cc

namespace {

// Taken, and taken out of the environment, before main: what this process starts is no worker.
uint64_t g_token = 0;
__attribute__((constructor)) void TakeToken() {
  const char* const text = std::getenv("RAY_MPI_WORKER_TOKEN");
  if (text == nullptr) return;
  g_token = std::strtoull(text, nullptr, 10);
  ::unsetenv("RAY_MPI_WORKER_TOKEN");
}

// The running task, behind Call::task.
struct Running {
  CoreWorker* core;
  ExecTask* task;
};

// This process's actor. Set by its creation, before any other call can come; read by all threads.
struct TheActor {
  abi::Instance instance;
  std::string type;
  bool made = false;
  uint32_t concurrency = 1;
} g_actor;

void FlushOutput() {
  // The task's lines are there before its result is.
  std::cout.flush();
  std::clog.flush();
  std::fflush(stdout);
}

void Finish(const Running& running, const ValueSource& source, bool retryable) {
  FlushOutput();
  Status status;
  do {
    status = running.core->FinishTask(*running.task, {&source, 1}, retryable);
  } while (status.code() == StatusCode::kInterrupted);
  // Another failure: the runtime is gone, which NextTask says, too.
}

// A worker's threads: one, until an actor says otherwise; another one when none is left to take the next
// call.
class Worker {
 public:
  Worker(CoreWorker* core, std::string where, std::string load_failures)
      : core_(core), where_(std::move(where)), load_failures_(std::move(load_failures)) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Runs tasks on this thread, until the runtime is gone or this worker was told to go; then waits for the
  // others.
  void Run();

  CoreWorker* core() const { return core_; }
  Status NextTask(ExecTask* task);
  // Why a function is not there.
  std::string Missing(const ExecTask& task) const;

 private:
  CoreWorker* core_;
  std::string where_;  // the functions are
  std::string load_failures_;
  std::atomic<uint32_t> idle_{0};  // threads in NextTask
  std::mutex mutex_;
  std::vector<std::thread> others_;
};

// One thread of a worker: takes a task, runs it, takes the next.
class WorkerLoop {
 public:
  explicit WorkerLoop(Worker* worker) : worker_(worker), core_(worker->core()) {}

  void Run() {
    ExecTask task;
    for (;;) {
      const Status status = worker_->NextTask(&task);
      if (status.code() == StatusCode::kInterrupted) continue;
      if (!status.ok()) return;
      Execute(task);
    }
  }

 private:
  void Execute(ExecTask& task) {
    if (task.id.kind() != TaskKind::kActorCall)
      SetEnvironment(task);  // an actor's is as its creation left it
    if (task.id.kind() == TaskKind::kActorCreation) {
      g_actor.concurrency = ConcurrencyOf(task);
      core_->SetConcurrency(g_actor.concurrency);
    }
    Running running{core_, &task};
    abi::Call call;
    call.task = &running;
    const Function* const function = Find(task.function_id);
    const std::string refusal =
        function == nullptr ? worker_->Missing(task) : Refusal(*function, task.id.kind());
    if (!refusal.empty()) {
      abi::TaskFailure failure;
      failure.type = std::string_view("ray::RayFunctionNotFound");
      failure.message = refusal;
      return FailTask(&call, abi::kFunctionNotFound, &failure);
    }
    values_.resize(task.values.size());
    for (size_t i = 0; i < values_.size(); ++i) {
      static_assert(sizeof(abi::Owner) == sizeof(task.values[i].keep_alive));
      values_[i].data = task.values[i].bytes.data();
      values_[i].size = task.values[i].bytes.size();
      // A loan: no count.
      std::memcpy(&values_[i].owner, static_cast<const void*>(&task.values[i].keep_alive),
                  sizeof(abi::Owner));
    }
    call.address = function->address;
    if (!function->method.empty()) call.method = function->method.data();
    if (g_actor.made) call.instance = &g_actor.instance;
    call.args = task.args.data();
    call.args_size = task.args.size();
    call.values = values_.data();
    call.value_count = values_.size();
    function->thunk(Table(), &call);
  }

  // Why the function cannot be run in this way; "": it can. (From C++ such calls do not compile.)
  static std::string Refusal(const Function& function, TaskKind kind) {
    if (!function.clash.empty()) return function.clash;
    if (kind == TaskKind::kActorCreation && !function.is_factory())
      return function.text +
             " makes no actor: a factory is a function that returns a pointer to a new object";
    if (kind != TaskKind::kActorCreation && function.is_factory())
      return function.text + " makes an actor: name it with ray.cross_language.cpp_actor_class";
    if (kind == TaskKind::kNormal && function.is_method())
      return function.text + " is a method of an actor: call it through the actor's handle";
    return "";
  }

  static uint32_t ConcurrencyOf(const ExecTask& creation) {
    const auto facts = nlohmann::json::parse(creation.retry_list, nullptr, false);
    const auto most = facts.is_object() ? facts.find("max_concurrency") : facts.end();
    return most != facts.end() && most->is_number_unsigned() ? std::max(1U, most->get<uint32_t>()) : 1;
  }

  // What shows the task its devices, and gives threads the CPUs that it holds: the user's own OMP_NUM_THREADS
  // stands.
  void SetEnvironment(const ExecTask& task) {
    for (const auto& [name, value] : task.variables) ::setenv(name.c_str(), value.c_str(), 1);
    if (keep_threads_) return;
    double cpus = 0;
    for (const auto& [name, amount] : task.resources) {
      if (name == "CPU") cpus = amount;
    }
    const int threads = std::max(1, static_cast<int>(cpus));
    if (threads == threads_) return;
    threads_ = threads;
    ::setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
    // An OpenMP library has read the variable when it was loaded.
    using SetThreads = void (*)(int);
    if (const auto set = reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads")))
      set(threads);
  }

  const Function* Find(const std::string& id) {
    const auto it = functions_.find(id);
    if (it != functions_.end()) return it->second;
    const Function* const found = Registry::Get().FindId(id);
    if (found != nullptr) functions_.emplace(id, found);
    return found;
  }

  Worker* worker_;
  CoreWorker* core_;
  const bool keep_threads_ = std::getenv("OMP_NUM_THREADS") != nullptr;
  int threads_ = 0;  // set last
  std::vector<abi::ValueOut> values_;
  std::unordered_map<std::string, const Function*> functions_;
};

void Worker::Run() {
  WorkerLoop(this).Run();
  std::vector<std::thread> others;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    others.swap(others_);
  }
  for (std::thread& thread : others) thread.join();
}

Status Worker::NextTask(ExecTask* task) {
  idle_.fetch_add(1);
  const Status status = core_->NextTask(task);
  const bool last = idle_.fetch_sub(1) == 1;
  if (last && status.ok() && g_actor.concurrency > 1) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (others_.size() + 1 < g_actor.concurrency) others_.emplace_back([this] { WorkerLoop(this).Run(); });
  }
  return status;
}

std::string Worker::Missing(const ExecTask& task) const {
  const std::string name = task.function_id.substr(task.function_id.find(':') + 1);
  std::string text = fmt::format("no RAY_REMOTE names the function {} in {} on {}, which has: {}", name,
                                 where_, HostName(), Registry::Get().Known(name));
  if (!load_failures_.empty()) text += "; " + load_failures_;
  return text;
}

void PrepareProcess() {
  // Lines arrive at the driver one by one, whole; a descriptor that is no terminal would be fully buffered.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  ::prctl(PR_SET_NAME, "ray-mpi-worker");
  // A cancel arrives as SIGINT: it interrupts waiting in the API, which then looks; user code is left alone.
  struct sigaction quiet {};
  quiet.sa_handler = [](int) {};
  ::sigaction(SIGINT, &quiet, nullptr);
  ::signal(SIGTERM, SIG_DFL);
}

[[noreturn]] void RunWorker(const std::string& where, const std::string& load_failures) {
  PrepareProcess();
  const uint64_t token = std::exchange(g_token, 0);
  CoreWorker* core = nullptr;
  if (const Status s = Session::Get().ConnectWorker(token, &core); !s.ok()) {
    std::fprintf(stderr, "ray-mpi worker: %s\n", s.message().c_str());
    std::exit(1);
  }
  Worker(core, where, load_failures).Run();
  if (g_actor.made) g_actor.instance.destroy(g_actor.instance.object);
  Session::Get().EndWorker();
  std::exit(0);
}

}  // namespace

bool HasWorkerToken() { return g_token != 0; }

void RunProgramAsWorker() {
  std::error_code error;
  RunWorker("the program " + std::filesystem::read_symlink("/proc/self/exe", error).string(),
            Registry::Get().clashes());
}

void RunLibrariesAsWorker(const std::vector<std::string>& paths) {
  RunWorker(fmt::format("the libraries of {}", fmt::join(paths, ", ")), LoadLibraries(paths));
}

void SetInstance(const abi::Call*, const abi::Instance* instance) {
  g_actor.type = instance->type.view();
  g_actor.instance = *instance;
  g_actor.instance.type = g_actor.type;
  g_actor.made = true;
}

void FinishTask(const abi::Call* call, const abi::ValueIn* value) {
  const auto& running = *static_cast<const Running*>(call->task);
  ValueSource source;
  source.size = SizeOf(*value);
  source.write = [value](std::byte* dest) { Gather(*value, dest); };
  source.contained = BorrowedRefs(value->refs, value->ref_count).Copies();
  Finish(running, source, false);
}

void FailTask(const abi::Call* call, abi::Code code, const abi::TaskFailure* failure) {
  const auto& running = *static_cast<const Running*>(call->task);
  TaskError error;
  error.language = "C++";
  error.function = running.task->function_name;
  if (running.task->id.kind() == TaskKind::kActorCreation) {  // that is the class; the factory says more
    error.function = running.task->function_id.substr(running.task->function_id.find(':') + 1);
  }
  error.task = running.task->name;
  const bool exits = code == abi::kActorDied;
  error.type = code == abi::kCancelled ? std::string(kCancelledType)
               : exits                 ? std::string(kActorExitType)
                                       : failure->type.str();
  error.in_constructor = running.task->id.kind() == TaskKind::kActorCreation;
  error.message = failure->message.str();
  error.host = HostName();
  error.pid = ::getpid();
  error.text = Describe(error);
  const std::string bytes = EncodeTaskError(error);
  ValueSource source;
  source.size = bytes.size();
  source.write = [&bytes](std::byte* dest) { std::memcpy(dest, bytes.data(), bytes.size()); };
  source.kind = ValueKind::kAppError;
  Finish(running, source, running.task->retry_exceptions && code == abi::kTaskError);
  if (exits) running.core->ExitActor();
}

}  // namespace rmpi::cpp
