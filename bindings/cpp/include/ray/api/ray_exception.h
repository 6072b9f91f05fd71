// SPDX-License-Identifier: Apache-2.0
/// \file
/// The exceptions of the API. Every one is a RayException, and every what() says what happened, to which
/// function or object, where, and what to do about it.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace ray {
inline namespace v5 {

/// The base of all of them, and what is thrown when no other fits: wrong use, no runtime.
class RayException : public std::exception {
 public:
  explicit RayException(std::string msg) : msg_(std::move(msg)) {}     ///< one with this text
  const char* what() const noexcept override { return msg_.c_str(); }  ///< all that is known, for people

  std::string msg_;  ///< what() as a string
};

/// A task threw. what() has all of it; the parts are there one by one, too.
class RayTaskException : public RayException {
 public:
  /// The parts of what(). A RayTaskException that user code makes itself has them empty.
  struct Origin {
    std::string function;  ///< the remote function
    std::string type;      ///< the exception's class, e.g. std::out_of_range
    std::string message;   ///< the exception's own what()
    std::string host;      ///< where the task ran
    std::string language;  ///< "C++" or "Python"
    int64_t pid = 0;       ///< of the worker
  };

  explicit RayTaskException(std::string msg) : RayException(std::move(msg)) {}  ///< one without an origin
  /// One with all its parts.
  RayTaskException(std::string msg, Origin origin)
      : RayException(std::move(msg)), origin_(std::move(origin)) {}

  /// What was thrown, and where.
  const Origin& origin() const noexcept { return origin_; }

 private:
  Origin origin_;
};

/// The process or the node that ran the task died, more often than the task may be retried.
class RayWorkerException : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// The actor is dead, or restarts while the call, which has no retries, was running; or its constructor
/// threw. what() says which actor, how it ended, and where.
class RayActorException : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// Every copy of the object is gone, or its owner is.
class UnreconstructableException : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// No RAY_REMOTE names the function, in this program or where the task ran.
class RayFunctionNotFound : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// Get: the time was over before the values were there.
class RayTimeoutException : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// The task, or one that it depends on, was cancelled (from Python).
class RayTaskCancelledException : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// The node's object store has no room for the value.
class RayObjectStoreFullException : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// No node can ever run the task: it wants what nobody has.
class RayTaskUnschedulableException : public RayException {
 public:
  using RayException::RayException;  ///< one with this text
};

/// \cond internal
// Ray's programs know the exceptions under these names.
namespace internal {
using ray::v5::RayActorException;
using ray::v5::RayException;
using ray::v5::RayFunctionNotFound;
using ray::v5::RayTaskException;
using ray::v5::RayTimeoutException;
using ray::v5::RayWorkerException;
using ray::v5::UnreconstructableException;
}  // namespace internal
/// \endcond

}  // namespace v5
}  // namespace ray
