// SPDX-License-Identifier: Apache-2.0
// The table of functions of libray-mpi.so, and the check of who asks for it.
#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/time.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <string>
#include <string_view>

#include "bindings/cpp/src/actors.h"
#include "bindings/cpp/src/groups.h"
#include "bindings/cpp/src/objects.h"
#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/session.h"
#include "bindings/cpp/src/submit.h"
#include "bindings/cpp/src/worker.h"

namespace rmpi::cpp {
namespace {

static_assert(std::string_view(RAY_MPI_VERSION) == RMPI_VERSION,
              "abi.h names another version than CMakeLists.txt");

int LogLevel() {
  const char* const text = std::getenv("RAY_MPI_LOG_LEVEL");
  const std::string_view level = text == nullptr ? "" : text;
  if (level == "debug" || level == "trace") return -1;
  if (level == "warning" || level == "warn") return 1;
  if (level == "error") return 2;
  return 0;
}

void Log(int32_t level, abi::Text file, int64_t line, abi::Text text) {
  static const int lowest = LogLevel();
  constexpr int kFatal = 3;
  if (level < lowest && level < kFatal) return;
  static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARNING", "ERROR", "FATAL"};
  timeval now{};
  ::gettimeofday(&now, nullptr);
  tm parts{};
  ::localtime_r(&now.tv_sec, &parts);
  std::string_view name = file.view();
  if (const size_t slash = name.rfind('/'); slash != std::string_view::npos) name.remove_prefix(slash + 1);
  const std::string out =
      fmt::format("[{:04}-{:02}-{:02} {:02}:{:02}:{:02},{:03} {}] {}:{}: {}\n", parts.tm_year + 1900,
                  parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                  now.tv_usec / 1000, kNames[level + 1 < 0 ? 0 : level + 1], name, line, text.view());
  std::fwrite(out.data(), 1, out.size(), stderr);  // one write: lines of threads do not mix
  if (level >= kFatal) std::abort();
}

abi::Code GetNamespace(abi::Text* out) {
  thread_local std::string text;
  const abi::Code code = Session::Get().Namespace(&text);
  *out = text;
  return code;
}

abi::Api MakeTable() {
  abi::Api api;
  api.version = abi::kVersion;
  api.last_error = &LastError;
  api.init = [](const abi::Config* config) { return Session::Get().Init(*config); };
  api.is_initialized = []() -> uint32_t { return Session::Get().core() != nullptr ? 1 : 0; };
  api.shutdown = [] { Session::Get().Shutdown(); };
  api.get_namespace = &GetNamespace;
  api.ref_copy = &RefCopy;
  api.ref_drop = &RefDrop;
  api.ref_id = &RefId;
  api.ref_from_id = &RefFromId;
  api.ref_pin = &RefPin;
  api.put = &Put;
  api.get = &Get;
  api.wait = &Wait;
  api.owner_copy = &OwnerCopy;
  api.owner_drop = &OwnerDrop;
  api.register_function = &RegisterFunction;
  api.find_function = &FindFunction;
  api.find_python_function = &FindPythonFunction;
  api.describe_function = &DescribeFunction;
  api.describe_address = [](void (*address)()) -> abi::Text {
    thread_local std::string text;
    text = DescribeAddress(address);
    return text;
  };
  api.submit = &Submit;
  api.inline_limit = kInlineLimit;
  api.find_method = &FindMethod;
  api.find_python_class = &FindPythonFunction;
  api.find_python_method = &FindPythonMethod;
  api.create_actor = &CreateActor;
  api.call_actor = &CallActor;
  api.kill_actor = &KillActor;
  api.find_actor = &FindActor;
  api.check_in_actor = &CheckInActor;
  api.actor_was_restarted = &ActorWasRestarted;
  api.create_group = &CreateGroup;
  api.remove_group = &RemoveGroup;
  api.find_groups = &FindGroups;
  api.group_ready = &GroupReady;
  api.set_instance = &SetInstance;
  api.finish = &FinishTask;
  api.fail = &FailTask;
  api.log = &Log;
  return api;
}

thread_local std::string refusal;

}  // namespace

const abi::Api* Table() {
  static const auto* const api = new abi::Api(MakeTable());
  return api;
}

}  // namespace rmpi::cpp

extern "C" {

__attribute__((visibility("default"))) const void* ray_mpi_cpp_interface(uint32_t version,
                                                                         const char* headers_version) {
  namespace cpp = rmpi::cpp;
  if (version == cpp::abi::kVersion) return cpp::Table();
  Dl_info user{}, self{};
  const bool named = ::dladdr(__builtin_return_address(0), &user) != 0 && user.dli_fname != nullptr;
  (void)::dladdr(reinterpret_cast<void*>(&ray_mpi_cpp_interface), &self);
  cpp::refusal = fmt::format(
      "{} was built for another version of ray-mpi: its headers are of {} (interface {}), but {} is {} "
      "(interface {}). "
      "Compile it again with the headers of this one",
      named ? user.dli_fname : "this program", headers_version, version, self.dli_fname, RMPI_VERSION,
      cpp::abi::kVersion);
  cpp::Registry::Get().Refuse(cpp::refusal);
  return nullptr;
}

__attribute__((visibility("default"))) const char* ray_mpi_cpp_refusal() {
  return rmpi::cpp::refusal.c_str();
}

// ray-mpi-cpp-worker's main. Returns only when it was not started as a worker.
__attribute__((visibility("default"))) int ray_mpi_cpp_worker_main(int argc, char** argv) {
  if (!rmpi::cpp::HasWorkerToken() || argc < 2) {
    std::fprintf(stderr,
                 "ray-mpi-cpp-worker is started by the runtime, to run the functions of a program's "
                 "code_search_path\n");
    return 2;
  }
  rmpi::cpp::RunLibrariesAsWorker({argv + 1, argv + argc});
}
}
