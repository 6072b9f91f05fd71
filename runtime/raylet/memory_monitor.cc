// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/memory_monitor.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace rmpi {
namespace {

constexpr size_t kShown = 8;  // of the largest processes

// A number in [low, high] from the environment; what is not one is said and not used.
double Setting(const char* name, double otherwise, double low, double high) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (*end == '\0' && value >= low && value <= high) return value;
  spdlog::warn("{}={} is not a number from {} to {}: {} is used", name, text, low, high, otherwise);
  return otherwise;
}

std::string Size(uint64_t bytes) {
  constexpr double kMiB = 1024.0 * 1024;
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / kMiB);
}

}  // namespace

MemoryMonitor::MemoryMonitor(std::string root)
    : root_(std::move(root)), threshold_(Setting("RAY_memory_usage_threshold", 0.95, 0, 1)) {
  const double ms = Setting("RAY_memory_monitor_refresh_ms", 250, 0, 3.6e6);
  period_ = static_cast<TimeNs>(ms) * kMillisecond;
  if (period_ == 0) next_ = kNever;
}

std::optional<MemoryUse> MemoryMonitor::Check(TimeNs now) {
  if (now < next_) return std::nullopt;
  next_ = now + period_;
  const MemoryUse use = ReadMemoryUse(root_);
  if (use.fraction() <= threshold_) return std::nullopt;
  return use;
}

std::string MemoryMonitor::Reason(const OomCandidate& victim, const MemoryUse& use, size_t candidates) const {
  std::string text = fmt::format(
      "the memory monitor chose it: {} of {} are in use ({:.1f} %, the limit of {}), more than "
      "RAY_memory_usage_threshold={:.2f}. Of {} workers that run something it has the newest {} {}, '{}', "
      "and "
      "{} of its own. Ask for fewer tasks at a time (num_cpus, memory), or for more memory. The largest "
      "processes here:",
      Size(use.used_bytes), Size(use.limit_bytes), use.fraction() * 100, use.limit, threshold_, candidates,
      victim.retriable ? "retriable" : "(none is retriable)", victim.actor ? "actor" : "task", victim.name,
      Size(victim.own_bytes));
  for (const ProcessMemory& p : LargestProcesses(root_, kShown)) {
    text += fmt::format("\n  {:>8} {:>12}  {}", p.pid, Size(p.bytes), p.command);
  }
  return text;
}

}  // namespace rmpi
