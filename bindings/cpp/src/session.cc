// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/session.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "bindings/cpp/src/libraries.h"
#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/task_error.h"
#include "bindings/cpp/src/worker.h"
#include "objstore/copy.h"

namespace rmpi::cpp {
namespace {

namespace fs = std::filesystem;

constexpr TimeNs kShutdownPatience = 3 * kSecond;
constexpr char kDetached[] = "detached";  // the word of all languages
constexpr size_t kStreamMin = 32 * 1024;  // from here on the store's own copy is better than memcpy

std::vector<std::string> Strings(const abi::Text* texts, uint64_t count) {
  std::vector<std::string> out;
  for (uint64_t i = 0; i < count; ++i) out.push_back(texts[i].str());
  return out;
}

std::string WorkingDirectory() {
  std::error_code error;
  return fs::current_path(error).string();
}

// How this program was called: its workers are called the same way.
std::vector<std::string> OwnCommand() {
  std::error_code error;
  std::vector<std::string> words = {fs::read_symlink("/proc/self/exe", error).string()};
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  std::string word;
  for (bool first = true; std::getline(in, word, '\0'); first = false) {
    if (!first) words.push_back(word);
  }
  return words;
}

std::string RandomNamespace() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

// Slurm's --signal may reach every process of the step; the default would end us.
void IgnoreStepSignals() {
  for (const int number : {SIGUSR1, SIGUSR2}) {
    struct sigaction old {};
    if (::sigaction(number, nullptr, &old) != 0 || old.sa_handler != SIG_DFL) continue;
    struct sigaction quiet {};
    quiet.sa_handler = [](int) {};  // not SIG_IGN, which is inherited by what the program starts
    quiet.sa_flags = SA_RESTART;
    ::sigaction(number, &quiet, nullptr);
  }
}

}  // namespace

Session& Session::Get() {
  static auto* session = new Session;  // outlives every static destructor: refs are dropped late
  return *session;
}

abi::Code FailNotConnected() {
  return Fail(abi::kError,
              "Ray has not been started yet: call ray::Init() first (or it was ended by ray::Shutdown())");
}

abi::Code Session::Init(const abi::Config& config) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (core() != nullptr) return abi::kOk;
  static const bool once = [] {
    ::pthread_atfork(nullptr, nullptr, [] { Session::Get().AbandonAfterFork(); });
    return true;
  }();
  (void)once;
  if (const std::string refusals = Registry::Get().refusals(); !refusals.empty())
    return Fail(abi::kError, refusals);
  if (HasWorkerToken()) {
    lock.unlock();  // tasks may call Init, too
    RunProgramAsWorker();
  }
  return InitDriver(config);
}

abi::Code Session::InitDriver(const abi::Config& config) {
  if (const std::string clashes = Registry::Get().clashes(); !clashes.empty())
    return Fail(abi::kError, clashes);
  std::vector<std::string> native_worker;
  const std::vector<std::string> paths = Strings(config.code_search_path, config.code_search_path_count);
  if (!paths.empty()) {
    if (Status s = LibraryWorkerCommand(paths, &native_worker); !s.ok()) return Fail(s);
  } else if (Registry::Get().cpp_functions() != 0) {
    native_worker = OwnCommand();
  }
  std::vector<std::string> options = Strings(config.head_args, config.head_args_count);
  std::string session;
  if (Status s = ResolveAddress(config.address.str(), &session); !s.ok()) return Fail(s);
  if (session.empty()) {
    options.emplace_back("--native-driver");
    if (Status s = embedded_.Start(options, &session); !s.ok()) return Fail(s);
  } else if (!options.empty()) {
    std::fprintf(stderr, "ray::Init: the runtime is there already, so head_args (%s ...) are ignored\n",
                 options.front().c_str());
  }
  if (Status s = Connect(session, config, native_worker); !s.ok()) {
    embedded_.Stop();
    return Fail(s);
  }
  IgnoreStepSignals();
  static const int at_exit = std::atexit([] { Session::Get().Shutdown(); });
  (void)at_exit;
  return abi::kOk;
}

Status Session::Connect(const std::string& session, const abi::Config& config,
                        const std::vector<std::string>& native_worker) {
  settings_ = Settings{config.ray_namespace.size == 0 ? RandomNamespace() : config.ray_namespace.str(),
                       config.actor_lifetime == abi::kDetached};
  const std::vector<std::string> own = OwnCommand();
  CoreWorker::Options options;
  options.session = session;
  options.name = fs::path(own.front()).filename().string();
  options.ray_namespace = settings_->ray_namespace;
  options.language = kCppLanguage;
  options.native_worker = native_worker;
  options.native_worker_cwd = WorkingDirectory();
  const char* const log = std::getenv("RAY_LOG_TO_DRIVER");
  options.log_to_driver = log == nullptr || (std::strcmp(log, "0") != 0 && std::strcmp(log, "false") != 0);
  options.on_unread_error = SayUnhandled;
  if (Status s = CoreWorker::Connect(options, &owned_); !s.ok()) return s;
  // What Python workers of this job need to know; see ray_mpi/_worker.py.
  nlohmann::json job;
  std::vector<std::string> folders = Strings(config.code_search_path, config.code_search_path_count);
  for (std::string& folder : folders) {
    std::error_code error;
    folder = fs::absolute(folder, error).string();
  }
  folders.push_back(options.native_worker_cwd);
  folders.push_back(fs::path(own.front()).parent_path().string());
  job["sys_path"] = folders;
  job["cwd"] = options.native_worker_cwd;
  job["namespace"] = settings_->ray_namespace;
  job["actor_lifetime"] = settings_->detaches_actors ? kDetached : "non_detached";
  job["argv0"] = own.front();
  job["cpp_worker"] = !native_worker.empty();
  const std::string text = job.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  const Bytes bytes(reinterpret_cast<const std::byte*>(text.data()), text.size());
  if (Status s = owned_->Export("job:" + Hex(owned_->job_id()), bytes); !s.ok()) {
    owned_.reset();
    return s;
  }
  closing_.store(false);
  epoch_.fetch_add(1);
  core_.store(owned_.get(), std::memory_order_release);
  return Status::Ok();
}

Status Session::ConnectWorker(uint64_t token, CoreWorker** out) {
  CoreWorker::Options options;
  const char* const session = std::getenv("RAY_MPI_SESSION");
  options.session = session == nullptr ? "" : session;
  options.mode = CoreWorker::Mode::kWorker;
  options.spawn_token = token;
  options.name = "worker";
  options.on_unread_error = SayUnhandled;
  if (Status s = CoreWorker::Connect(options, &owned_); !s.ok()) return s;
  is_worker_ = true;
  epoch_.fetch_add(1);
  core_.store(owned_.get(), std::memory_order_release);
  IgnoreStepSignals();
  *out = owned_.get();
  return Status::Ok();
}

void Session::Shutdown() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (is_worker_) return;  // a task's runtime is not its own to end
  Close();
  embedded_.Stop();
}

void Session::EndWorker() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Close();
}

void Session::Close() {
  if (owned_ == nullptr) return;
  closing_.store(true);
  core_.store(nullptr, std::memory_order_release);
  // A thread that waits looks at closing() every slice. One that does not come back keeps the core alive: a
  // leak at the end is harmless, a use after free is not.
  const TimeNs give_up = MonotonicNow() + kShutdownPatience;
  while (inside_.load() > 0 && MonotonicNow() < give_up) {
    const timespec nap{0, 1'000'000};
    ::nanosleep(&nap, nullptr);
  }
  if (inside_.load() > 0) {
    (void)owned_.release();
  } else {
    owned_.reset();
  }
}

void Session::AbandonAfterFork() {
  // A child that user code forked has a copy of our memory, not our place in the runtime.
  (void)owned_.release();
  core_.store(nullptr);
  inside_.store(0);
  embedded_.Abandon();
  is_worker_ = false;
}

abi::Code Session::GetSettings(Settings* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
  if (is_worker_) lock.lock();
  if (!settings_) {
    Blob blob;
    const TaskId task = core->current_task();
    if (Status s = core->Import("job:" + Hex(task.job), kNever, &blob); !s.ok()) return Fail(s);
    const std::string_view text(reinterpret_cast<const char*>(blob.data()), blob.size());
    const auto job = nlohmann::json::parse(text, nullptr, false);
    settings_.emplace();
    if (job.is_object()) {
      settings_->ray_namespace = job.value("namespace", "");
      settings_->detaches_actors = job.value("actor_lifetime", "") == kDetached;
    }
  }
  *out = *settings_;
  return abi::kOk;
}

abi::Code Session::Namespace(std::string* out) {
  Settings settings;
  const abi::Code code = GetSettings(&settings);
  *out = std::move(settings.ray_namespace);
  return code;
}

abi::Code Session::DetachesActors(bool* out) {
  Settings settings;
  const abi::Code code = GetSettings(&settings);
  *out = settings.detaches_actors;
  return code;
}

// ---- helpers of the calls ---------------------------------------------------------------------------------

TimeNs DeadlineOf(int64_t timeout_ms) {
  return timeout_ms < 0 ? kNever : MonotonicNow() + timeout_ms * kMillisecond;
}

namespace {

bool Cancelled(const CoreWorker* core) { return Session::Get().is_worker() && core->CancelRequested(); }

WaitHooks HooksOf(const CoreWorker* core) {
  WaitHooks hooks;
  hooks.go_on = [core] { return !Session::Get().closing() && !Cancelled(core); };
  return hooks;
}

abi::Code AfterWait(const CoreWorker* core, const Status& status) {
  if (status.ok() || status.code() == StatusCode::kTimeout) return abi::kOk;
  if (status.code() != StatusCode::kInterrupted) return Fail(status);
  if (Cancelled(core))
    return Fail(abi::kCancelled, "the task " + core->current_task_name() + " was cancelled");
  return Fail(abi::kError, "ray::Shutdown() was called while this thread waited");
}

}  // namespace

abi::Code WaitFor(CoreWorker* core, std::span<const Ref* const> refs, size_t num_ready, TimeNs deadline,
                  bool stop_at_error, size_t* ready) {
  WaitHooks hooks = HooksOf(core);
  hooks.stop_at_error = stop_at_error;
  return AfterWait(core, core->Wait(refs, num_ready, deadline, true, ready, &hooks));
}

abi::Code WaitForRoom(CoreWorker* core) {
  const WaitHooks hooks = HooksOf(core);
  return AfterWait(core, core->WaitForRoom(&hooks));
}

uint64_t SizeOf(const abi::ValueIn& in) {
  uint64_t size = 0;
  for (uint64_t i = 0; i < in.piece_count; ++i) size += in.pieces[i].size;
  return size;
}

void Gather(const abi::ValueIn& in, std::byte* dest) {
  for (uint64_t i = 0; i < in.piece_count; ++i) {
    const abi::Piece& piece = in.pieces[i];
    if (piece.write != nullptr) {
      piece.write(piece.context, dest);
    } else if (piece.size >= kStreamMin) {
      objstore::CopyIn(dest, static_cast<const std::byte*>(piece.data), piece.size);
    } else if (piece.size != 0) {
      std::memcpy(dest, piece.data, piece.size);
    }
    dest += piece.size;
  }
}

}  // namespace rmpi::cpp
