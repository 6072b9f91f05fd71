// SPDX-License-Identifier: Apache-2.0
// Status: the value every fallible call inside the runtime returns. OK carries nothing; an error carries a
// code that the bindings map to an exception class, and a message that says what is wrong, where, and what
// to do about it. No exceptions cross a thread, a lane or an MPI callback.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace rmpi {

enum class StatusCode : uint8_t {
  kOk = 0,
  kInvalid,      // bad argument: the caller's fault
  kNotFound,     // no such object, name, node
  kTimeout,      // the deadline passed first
  kInterrupted,  // a signal arrived while waiting; the binding looks at it and calls again
  kStoreFull,    // the object store has no room
  kUnavailable,  // the peer, raylet or runtime is gone
  kIo,           // a system call failed
  kInternal,     // an invariant of ours does not hold
  kExists,       // the name is taken
  kFull,         // a limit that the caller set is reached
  kOutOfDisk,    // a file system has no space, or the user no quota
  kCorrupt,      // bytes are not those that were written
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return {}; }
  static Status Invalid(std::string m) { return {StatusCode::kInvalid, std::move(m)}; }
  static Status NotFound(std::string m) { return {StatusCode::kNotFound, std::move(m)}; }
  static Status Timeout(std::string m) { return {StatusCode::kTimeout, std::move(m)}; }
  static Status StoreFull(std::string m) { return {StatusCode::kStoreFull, std::move(m)}; }
  static Status Unavailable(std::string m) { return {StatusCode::kUnavailable, std::move(m)}; }
  static Status OutOfDisk(std::string m) { return {StatusCode::kOutOfDisk, std::move(m)}; }
  static Status Corrupt(std::string m) { return {StatusCode::kCorrupt, std::move(m)}; }
  static Status Internal(std::string m) { return {StatusCode::kInternal, std::move(m)}; }
  // An I/O error from errno: "what: strerror(err)".
  static Status Io(const std::string& what, int err);

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

}  // namespace rmpi
