// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/log_relay.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace rmpi {
namespace {

// Longer ones are cut: a pipe without newlines must not grow for ever.
constexpr size_t kLongestLine = 64 << 10;
constexpr size_t kTailLines = 20;
constexpr size_t kTailBytes = 4 << 10;

std::string Join(const std::deque<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

}  // namespace

void LogRelay::Add(uint64_t token, UniqueFd out, UniqueFd err) {
  auto w = std::make_unique<Worker>();
  w->who.token = token;
  w->streams[0].fd = std::move(out);
  w->streams[1].fd = std::move(err);
  for (int i = 0; i < 2; ++i) {
    const int fd = w->streams[i].fd.get();
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    Watch(*w, i);
  }
  workers_.emplace(token, std::move(w));
}

void LogRelay::Watch(const Worker& w, int which) {
  loop_->Add(w.streams[which].fd.get(), EPOLLIN, [this, token = w.who.token, which](uint32_t) {
    const auto it = workers_.find(token);
    if (it == workers_.end()) return;
    Stream& s = it->second->streams[which];
    if (!ready_(it->second->who.job)) {
      // Taken out, not just masked: a writer's end is reported even where nothing is asked for.
      s.paused = true;
      loop_->Remove(s.fd.get());
      return;
    }
    if (Read(it->second.get(), which) == Got::kEnd) Close(it->second.get(), which);
  });
}

WorkerOutput* LogRelay::Find(uint64_t token) {
  const auto it = workers_.find(token);
  return it == workers_.end() ? nullptr : &it->second->who;
}

LogRelay::Got LogRelay::Read(Worker* w, int which) {
  Stream& s = w->streams[which];
  char buffer[64 << 10];
  const ssize_t n = read(s.fd.get(), buffer, sizeof buffer);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? Got::kNothing : Got::kEnd;
  if (n == 0) return Got::kEnd;
  s.frames.Feed({buffer, static_cast<size_t>(n)},
                [&](std::string_view task, std::string_view text) { Take(w, which, task, text); });
  Emit(w, which, false);
  return Got::kData;
}

void LogRelay::Take(Worker* w, int which, std::string_view task, std::string_view text) {
  Stream& s = w->streams[which];
  // Text without a frame behind the start of a line: mostly C code that goes on where Python code was.
  const bool goes_on = task.empty() && !s.partial.empty() && s.partial.back() != '\n';
  if (task != s.task && !goes_on) {
    Emit(w, which, !task.empty());
    s.task = task;
  }
  s.partial.append(text);
}

void LogRelay::Emit(Worker* w, int which, bool all) {
  Stream& s = w->streams[which];
  size_t end = s.partial.rfind('\n');
  end = end == std::string::npos ? 0 : end + 1;
  if (end == 0 && (all || s.partial.size() > kLongestLine) && !s.partial.empty()) {
    s.partial.push_back('\n');
    end = s.partial.size();
  } else if (all && end != s.partial.size()) {
    s.partial.push_back('\n');
    end = s.partial.size();
  }
  if (end == 0) return;
  const std::string_view lines(s.partial.data(), end);
  sink_(w->who, which == 1, s.task, lines);
  if (which == 1) Remember(w, lines);
  if (!log_dir_.empty()) {
    if (!s.file.valid()) {
      const std::string path =
          log_dir_ + "/worker-" + host_ + "-" + std::to_string(w->who.pid) + (which == 1 ? ".err" : ".out");
      s.file.reset(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    }
    size_t at = 0;
    while (s.file.valid() && at < lines.size()) {
      const ssize_t n = write(s.file.get(), lines.data() + at, lines.size() - at);
      if (n <= 0) break;
      at += static_cast<size_t>(n);
    }
  }
  s.partial.erase(0, end);
}

void LogRelay::Close(Worker* w, int which) {
  w->streams[which].frames.Finish(
      [&](std::string_view task, std::string_view text) { Take(w, which, task, text); });
  Emit(w, which, true);
  if (!w->streams[which].paused) loop_->Remove(w->streams[which].fd.get());
  w->streams[which].paused = false;
  w->streams[which].fd.reset();
  if (w->streams[0].fd.valid() || w->streams[1].fd.valid()) return;
  if (!w->tail_taken && !w->tail.empty()) tails_[w->who.token] = Join(w->tail);
  workers_.erase(w->who.token);
}

// What was there before a flood of lines is of no use: only the end is looked at.
void LogRelay::Remember(Worker* w, std::string_view lines) {
  if (lines.size() > kTailBytes) lines = lines.substr(lines.size() - kTailBytes);
  while (!lines.empty()) {
    const size_t n = std::min(lines.find('\n'), lines.size() - 1) + 1;
    w->tail.emplace_back(lines.substr(0, n));
    w->tail_bytes += n;
    lines.remove_prefix(n);
  }
  while (w->tail.size() > kTailLines || w->tail_bytes > kTailBytes) {
    w->tail_bytes -= w->tail.front().size();
    w->tail.pop_front();
  }
}

std::string LogRelay::TakeTail(uint64_t token) {
  if (const auto it = workers_.find(token); it != workers_.end()) {
    // Its last words may still be in the pipe. A child that goes on writing is not waited for.
    constexpr int kReads = 16;  // a pipe's fill, in small frames
    for (int i = 0; i < kReads && it->second->streams[1].fd.valid() && ready_(it->second->who.job); ++i) {
      if (Read(it->second.get(), 1) != Got::kData) break;
    }
    Emit(it->second.get(), 1, true);
    it->second->tail_taken = true;
    return Join(it->second->tail);
  }
  const auto it = tails_.find(token);
  if (it == tails_.end()) return "";
  std::string text = std::move(it->second);
  tails_.erase(it);
  return text;
}

bool LogRelay::Resume() {
  bool waiting = false;
  for (auto& [token, w] : workers_) {
    for (int i = 0; i < 2; ++i) {
      Stream& s = w->streams[i];
      if (!s.paused) continue;
      if (ready_(w->who.job)) {
        s.paused = false;
        Watch(*w, i);
      } else {
        waiting = true;
      }
    }
  }
  return waiting;
}

void LogRelay::Drain(JobId job) {
  std::vector<uint64_t> tokens;
  for (const auto& [token, w] : workers_) {
    if (job == JobId{} || w->who.job == job) tokens.push_back(token);
  }
  for (uint64_t token : tokens) {
    for (int i = 0; i < 2; ++i) {
      const auto it = workers_.find(token);
      if (it == workers_.end() || !it->second->streams[i].fd.valid()) continue;
      Got got;
      while ((got = Read(it->second.get(), i)) == Got::kData) {
      }
      got == Got::kEnd ? Close(it->second.get(), i) : Emit(it->second.get(), i, true);
    }
  }
}

bool LogRelay::Open(JobId job) const {
  for (const auto& [token, w] : workers_) {
    if (job == JobId{} || w->who.job == job) return true;
  }
  return false;
}

}  // namespace rmpi
