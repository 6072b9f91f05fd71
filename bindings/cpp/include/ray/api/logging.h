// SPDX-License-Identifier: Apache-2.0
/// \file
/// RAYLOG(level) << ...: a line on stderr with level, time and place; the driver shows its workers' lines.
#pragma once

#include <ray/api/runtime.h>

#include <sstream>
#include <string_view>

namespace ray {
inline namespace v5 {

/// How serious a line is. FATAL ends the process (abort) after it.
enum class RayLoggerLevel { DEBUG = -1, INFO = 0, WARNING = 1, ERROR = 2, FATAL = 3 };

/// \cond internal
namespace internal {

/// One line; written when it goes.
class LogLine {
 public:
  LogLine(RayLoggerLevel level, const char* file, int line) : level_(level), file_(file), line_(line) {}
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;
  ~LogLine() {
    const std::string text = stream_.str();
    const abi::Api* const api = TryApi();
    if (api != nullptr) api->log(static_cast<int32_t>(level_), std::string_view(file_), line_, text);
  }
  std::ostream& stream() { return stream_; }

 private:
  RayLoggerLevel level_;
  const char* file_;
  int line_;
  std::ostringstream stream_;
};

}  // namespace internal
/// \endcond
}  // namespace v5
}  // namespace ray

/// RAYLOG(INFO) << "text"; levels below the environment's RAY_MPI_LOG_LEVEL (debug, info, warning, error;
/// default info) are not shown.
#define RAYLOG(level) ::ray::internal::LogLine(::ray::RayLoggerLevel::level, __FILE__, __LINE__).stream()
