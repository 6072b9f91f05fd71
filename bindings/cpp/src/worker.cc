// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/worker.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <unordered_map>

#include "bindings/cpp/src/libraries.h"
#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/session.h"
#include "bindings/cpp/src/task_error.h"

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

std::string Hostname() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

// The running task, behind Call::task.
struct Running {
  CoreWorker* core;
  ExecTask* task;
};

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

class WorkerLoop {
 public:
  WorkerLoop(CoreWorker* core, std::string where, std::string load_failures)
      : core_(core), where_(std::move(where)), load_failures_(std::move(load_failures)) {}

  void Run() {
    ExecTask task;
    for (;;) {
      const Status status = core_->NextTask(&task);
      if (status.code() == StatusCode::kInterrupted) continue;
      if (!status.ok()) return;
      Execute(task);
    }
  }

 private:
  void Execute(ExecTask& task) {
    SetEnvironment(task);
    Running running{core_, &task};
    abi::Call call;
    call.task = &running;
    const Function* const function = Find(task.function_id);
    if (function == nullptr || !function->clash.empty()) {
      const std::string text = function != nullptr ? function->clash : Missing(task);
      abi::TaskFailure failure;
      failure.type = std::string_view("ray::RayFunctionNotFound");
      failure.message = text;
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
    call.args = task.args.data();
    call.args_size = task.args.size();
    call.values = values_.data();
    call.value_count = values_.size();
    function->thunk(Table(), &call);
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

  std::string Missing(const ExecTask& task) const {
    std::string text =
        fmt::format("no RAY_REMOTE names the function {} in {} on {}, which has: {}", task.function_name,
                    where_, Hostname(), Registry::Get().Known(task.function_name));
    if (!load_failures_.empty()) text += "; " + load_failures_;
    return text;
  }

  CoreWorker* core_;
  std::string where_;  // the functions are
  std::string load_failures_;
  const bool keep_threads_ = std::getenv("OMP_NUM_THREADS") != nullptr;
  int threads_ = 0;  // set last
  std::vector<abi::ValueOut> values_;
  std::unordered_map<std::string, const Function*> functions_;
};

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
  WorkerLoop(core, where, load_failures).Run();
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
  error.task = running.task->name;
  error.type = code == abi::kCancelled ? std::string(kCancelledType) : failure->type.str();
  error.message = failure->message.str();
  error.host = Hostname();
  error.pid = ::getpid();
  error.text = Describe(error);
  const std::string bytes = EncodeTaskError(error);
  ValueSource source;
  source.size = bytes.size();
  source.write = [&bytes](std::byte* dest) { std::memcpy(dest, bytes.data(), bytes.size()); };
  source.kind = ValueKind::kAppError;
  Finish(running, source, running.task->retry_exceptions && code == abi::kTaskError);
}

}  // namespace rmpi::cpp
