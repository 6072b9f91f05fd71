// SPDX-License-Identifier: Apache-2.0
#include "runtime/worker/log_printer.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <utility>

namespace rmpi {
namespace {

constexpr TimeNs kFoldWindow = 5 * kSecond;  // Ray: RAY_DEDUP_LOGS_AGG_WINDOW_S
constexpr size_t kFoldLines = 4096;

// Lines that differ only in numbers count as the same one.
std::string Canonical(std::string_view line) {
  std::string out;
  for (char c : line) {
    if (c < '0' || c > '9') out.push_back(c);
  }
  return out;
}

}  // namespace

LogPrinter::LogPrinter(int out_fd, int err_fd, Printed printed)
    : fds_{out_fd, err_fd}, printed_(std::move(printed)) {
  for (int i = 0; i < 2; ++i) colour_[i] = isatty(fds_[i]) != 0 && std::getenv("NO_COLOR") == nullptr;
  const char* fold = std::getenv("RAY_DEDUP_LOGS");
  fold_ = fold == nullptr || std::string_view(fold) != "0";
  // Signals belong to the program's own threads.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_setname_np(thread_.native_handle(), "ray-mpi-log");
}

LogPrinter::~LogPrinter() { Finish(); }

void LogPrinter::Add(const Address& from, LogLines lines) {
  const std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back({from, std::move(lines)});
  wake_.notify_one();
}

void LogPrinter::Finish() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    finish_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

void LogPrinter::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!finish_ || !queue_.empty()) {
    if (queue_.empty()) wake_.wait_for(lock, std::chrono::seconds(1));
    const auto items = std::exchange(queue_, {});
    lock.unlock();
    std::unordered_map<Address, uint64_t> bytes;
    for (const Item& item : items) {
      Print(item.lines, MonotonicNow());
      bytes[item.from] += item.lines.text.size();
    }
    for (const auto& [from, n] : bytes) printed_(from, n);
    PrintCounts(MonotonicNow(), false);
    lock.lock();
  }
  lock.unlock();
  PrintCounts(MonotonicNow(), true);
}

void LogPrinter::Write(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n > 0) {
      at += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      pollfd p{fd, POLLOUT, 0};
      poll(&p, 1, 1000);
    } else if (errno != EINTR) {
      return;  // nobody reads any more
    }
  }
}

std::string LogPrinter::Prefix(const LogLines& lines, int which) const {
  if (lines.name.rfind("ray-mpi", 0) == 0) return "(" + lines.name + ") ";
  const std::string where = lines.host.empty() ? "" : ", " + lines.host;
  const std::string name = lines.name.empty() ? "worker" : lines.name;
  const std::string text = fmt::format("({} pid={}{})", name, lines.pid, where);
  return (colour_[which] ? "\x1b[36m" + text + "\x1b[0m" : text) + " ";
}

void LogPrinter::PrintRepeated(const Repeated& r, std::string* text) {
  *text += r.prefix + r.first + fmt::format(" [repeated {}x across cluster]", r.count);
  if (!std::exchange(told_, true))
    *text += " (lines that differ only in numbers are folded; RAY_DEDUP_LOGS=0 shows all)";
  *text += '\n';
}

void LogPrinter::Print(const LogLines& lines, TimeNs now) {
  const int which = lines.is_stderr ? 1 : 0;
  const std::string prefix = Prefix(lines, which);
  std::string text;
  for (size_t at = 0; at < lines.text.size();) {
    size_t end = lines.text.find('\n', at);
    if (end == std::string::npos) end = lines.text.size();
    const std::string line = lines.text.substr(at, end - at);
    at = end + 1;
    if (fold_ && recent_.size() < kFoldLines && !line.empty()) {
      auto [it, fresh] = recent_.try_emplace(Canonical(line));
      Repeated& r = it->second;
      if (fresh || now - r.since > kFoldWindow) {
        if (r.count != 0) PrintRepeated(r, &text);
        r = {line, prefix, which, lines.pid, 0, now};
      } else if (r.first_pid != lines.pid) {
        r.first = line;
        r.prefix = prefix;
        ++r.count;
        continue;
      }
    }
    text += prefix + line + "\n";
  }
  if (!text.empty()) Write(fds_[which], text);
}

void LogPrinter::PrintCounts(TimeNs now, bool all) {
  for (auto it = recent_.begin(); it != recent_.end();) {
    if (!all && now - it->second.since <= kFoldWindow) {
      ++it;
      continue;
    }
    std::string text;
    if (it->second.count != 0) PrintRepeated(it->second, &text);
    if (!text.empty()) Write(fds_[it->second.fd], text);
    it = recent_.erase(it);
  }
}

}  // namespace rmpi
