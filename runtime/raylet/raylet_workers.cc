// SPDX-License-Identifier: Apache-2.0
// How this node's workers come to be: Python ones are forked by the zygote, C++ ones are their job's command
// line, executed by the keeper. Either way the keeper is their parent, and they answer by connecting with
// their token.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "runtime/base/fd_passing.h"
#include "runtime/raylet/raylet_impl.h"

namespace rmpi {
namespace {

constexpr TimeNs kSpawnPatience = 60 * kSecond;
constexpr uint32_t kNativePatience = 3;  // a program that never gets to ray::Init is executed so often

std::string NoNativeWorker(JobId job) {
  return fmt::format(
      "job {} has no C++ code to run: its driver gave no code_search_path "
      "(ray.init(job_config=JobConfig(code_search_path=[..])), RayConfig::code_search_path)",
      job.value);
}

std::string NoPython(const std::string& host) {
  return fmt::format(
      "Python tasks cannot run on {}: its ray-mpi found no interpreter with the package ray_mpi, or that "
      "could not start (--python names one)",
      host);
}

}  // namespace

// Every raylet hears of every job: its workers' output goes to that driver, its C++ workers run that command.
void Raylet::OnJobStarted(const JobMessage& m) {
  jobs_[m.job.value].start = m;
  if (!m.native_worker.empty() && m.language == kCppLanguage && !m.detached) {
    scheduler_->Prestart(m.job, kCppLanguage, config_.prestart_workers);
  }
  const auto it = job_starts_.find(m.nonce);
  if (m.driver.node != node_ || it == job_starts_.end()) return;
  const auto c = clients_.find(it->second);
  job_starts_.erase(it);
  if (c == clients_.end() || c->second->address != m.driver) return;
  c->second->job = m.job;
  Welcome(c->second.get());
}

void Raylet::StartWorker(JobId job, uint8_t language) {
  const TimeNs now = MonotonicNow();
  const auto known = jobs_.find(job.value);
  if (language == kPythonLanguage) {
    if (config_.zygote_fd < 0)
      return scheduler_->OnCannotStart(job, language, NoPython(config_.hostname), true, now);
  } else if (known == jobs_.end() || known->second.start.native_worker.empty()) {
    return scheduler_->OnCannotStart(job, language, NoNativeWorker(job), true, now);
  }
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0) return scheduler_->OnWorkerStartFailed(language, now);
  const UniqueFd out_far(out[1]);
  UniqueFd out_near(out[0]);
  if (pipe2(err, O_CLOEXEC) != 0) return scheduler_->OnWorkerStartFailed(language, now);
  const UniqueFd err_far(err[1]);
  const uint64_t token = next_token_++;
  logs_.Add(token, std::move(out_near), UniqueFd(err[0]));
  logs_.Find(token)->job = job;
  spawns_[token] = Spawn{job, language, 0, now};
  if (language == kPythonLanguage) {
    AskZygote(token, job, out_far.get(), err_far.get());
  } else {
    AskKeeper(token, known->second.start, out_far.get(), err_far.get());
  }
}

void Raylet::AskZygote(uint64_t token, JobId job, int out, int err) {
  ZygoteRequest request;
  request.token = token;
  request.job = job.value;
  const int fds[] = {out, err};
  if (SendFds(config_.zygote_fd, &request, sizeof request, fds, MSG_DONTWAIT) != sizeof request) {
    SpawnFailed(token, std::string("the zygote took no request: ") + std::strerror(errno));
  }
}

void Raylet::AskKeeper(uint64_t token, const JobMessage& job, int out, int err) {
  std::string strings = job.native_worker_cwd + '\0';
  for (const std::string& word : job.native_worker) strings += word + '\0';
  const UniqueFd command(memfd_create("ray-mpi-command", MFD_CLOEXEC));
  KeeperMessage m;
  m.type = KeeperMessage::kStartWorker;
  m.token = token;
  const int fds[] = {out, err, command.get()};
  if (!command.valid() ||
      write(command.get(), strings.data(), strings.size()) != static_cast<ssize_t>(strings.size()) ||
      SendFds(config_.keeper_fd, &m, sizeof m, fds, MSG_DONTWAIT) != sizeof m) {
    SpawnFailed(token, std::string("the keeper took no request: ") + std::strerror(errno));
  }
}

void Raylet::OnZygote() {
  ZygoteReply reply;
  const ssize_t n = recv(config_.zygote_fd, &reply, sizeof reply, MSG_DONTWAIT);
  if (n == 0) {
    loop_.Remove(config_.zygote_fd);
    // A C++ program may never miss it: Python tasks are refused from now on.
    if (!stopping_ && config_.prestart_python) {
      Fatal("the process that forks workers (zygote) on " + config_.hostname + " has ended", 1);
    }
    config_.zygote_fd = -1;
    return;
  }
  if (n != sizeof reply) return;
  OnWorkerStarted(reply.token, reply.pid);
}

void Raylet::OnWorkerStarted(uint64_t token, pid_t pid) {
  if (WorkerOutput* out = logs_.Find(token); out != nullptr && pid > 0) out->pid = pid;
  const auto it = spawns_.find(token);
  if (it == spawns_.end()) return;
  if (pid < 0) return SpawnFailed(token, std::string("fork failed: ") + std::strerror(-pid));
  if (early_exits_.erase(pid) != 0) return SpawnFailed(token, "it ended before it had connected");
  it->second.pid = pid;
}

// True when the process was one that had yet to connect.
bool Raylet::OnSpawnExit(pid_t pid, int wait_status) {
  for (const auto& [token, spawn] : spawns_) {
    if (spawn.pid != pid) continue;
    std::string how = WIFSIGNALED(wait_status)
                          ? fmt::format("it was killed by signal {} ({})", WTERMSIG(wait_status),
                                        strsignal(WTERMSIG(wait_status)))
                          : fmt::format("it exited with status {}", WEXITSTATUS(wait_status));
    how += spawn.language == kCppLanguage ? " before it had called ray::Init" : " before it had connected";
    SpawnFailed(token, how);
    return true;
  }
  return false;
}

void Raylet::SpawnFailed(uint64_t token, const std::string& how) {
  const std::string tail = logs_.TakeTail(token);
  const std::string why = tail.empty() ? how : how + ". Its last lines on stderr:\n" + tail;
  spdlog::warn("a worker could not be started: {}", why);
  const Spawn spawn = spawns_.at(token);
  spawns_.erase(token);
  const std::string logs = config_.log_dir.empty() ? config_.session : config_.log_dir;
  const auto job = jobs_.find(spawn.job.value);
  if (spawn.language == kCppLanguage && job != jobs_.end() &&
      ++job->second.native_failures >= kNativePatience) {
    const std::string text =
        fmt::format("C++ workers of job {} do not start on {} (node {}): '{}' was executed {} times, and {}",
                    spawn.job.value, config_.hostname, node_, job->second.start.native_worker[0],
                    job->second.native_failures, why);
    return scheduler_->OnCannotStart(spawn.job, spawn.language, text, true, MonotonicNow());
  }
  if (++start_failures_ == 3) {
    Warn("workers on " + config_.hostname + " (node " + std::to_string(node_) +
         ") do not start, tasks wait; the last one: " + why + ". See " + logs);
  }
  scheduler_->OnWorkerStartFailed(spawn.language, MonotonicNow());
}

void Raylet::ExpireSpawns(TimeNs now) {
  std::vector<uint64_t> late;
  for (const auto& [token, spawn] : spawns_) {
    if (now - spawn.since > kSpawnPatience) late.push_back(token);
  }
  for (uint64_t token : late) {
    if (spawns_.at(token).pid > 0) Tell(KeeperMessage::kKill, spawns_.at(token).pid, SIGKILL, "");
    SpawnFailed(token, "it did not connect within 60 s");
  }
}

void Raylet::AssignDevices(const Address& worker, uint64_t lease, const sched::Devices& devices) {
  SlotNotes& notes = notes_[worker.slot];
  std::memset(notes.devices, 0, sizeof notes.devices);
  for (uint32_t d : devices) notes.devices[d / 64] |= uint64_t{1} << (d % 64);
  notes.device_lease.store(lease, std::memory_order_release);
}

void Raylet::AssignCpus(const Address& worker, uint64_t lease, const sched::CpuSet& cpus) {
  SlotNotes& notes = notes_[worker.slot];
  std::memset(notes.cpus, 0, sizeof notes.cpus);
  for (int cpu : cpus) notes.cpus[cpu / 64] |= uint64_t{1} << (cpu % 64);
  notes.cpu_lease.store(lease, std::memory_order_release);
}

}  // namespace rmpi
