// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/failure.h"

#include <fmt/format.h>

#include <utility>

#include "bindings/cpp/src/task_error.h"

namespace rmpi::cpp {
namespace {

struct Last {
  std::string message;
  TaskError origin;
  abi::ErrorInfo info;
};

Last& ThreadLast() {
  thread_local Last last;
  return last;
}

abi::Code Set(abi::Code code, std::string message, TaskError origin) {
  Last& last = ThreadLast();
  last.message = std::move(message);
  last.origin = std::move(origin);
  last.info.message = last.message;
  last.info.function = last.origin.function;
  last.info.type = last.origin.type;
  last.info.remote_message = last.origin.message;
  last.info.host = last.origin.host;
  last.info.language = last.origin.language;
  last.info.pid = last.origin.pid;
  return code;
}

abi::Code FailWithSystemError(const ValueView& view, const Ref& ref) {
  const SystemError e = DecodeSystemError(view.bytes);
  const std::string object = "object " + Hex(ref.id());
  switch (e.type) {
    case ErrorType::kWorkerCrashed:
    case ErrorType::kNodeDied:
    case ErrorType::kOutOfMemory:
      return Fail(abi::kWorkerDied, e.message.empty() ? "the worker of the task died" : e.message);
    case ErrorType::kActorDied:
    case ErrorType::kActorUnavailable:
      return Fail(abi::kActorDied, e.message);
    case ErrorType::kTaskCancelled:
      return Fail(abi::kCancelled, e.message.empty() ? "the task was cancelled" : e.message);
    case ErrorType::kObjectLost:
    case ErrorType::kEndOfStream:
    case ErrorType::kStreamInconsistent:
      return Fail(abi::kObjectLost, fmt::format("{} is lost: {}", object, e.message));
    case ErrorType::kLostPut:
    case ErrorType::kLostNoRetries:
    case ErrorType::kLostRetriesSpent:
    case ErrorType::kLostLineageEvicted:
    case ErrorType::kLostCancelled:
    case ErrorType::kLostNoActor:
      return Fail(abi::kObjectLost, fmt::format("object {} is lost: {}", e.context, e.message));
    case ErrorType::kOwnerDied:
      return Fail(abi::kObjectLost, fmt::format("{} is lost with its owner: {}", object, e.message));
    case ErrorType::kObjectStoreFull:
      return Fail(abi::kStoreFull, e.message);
    case ErrorType::kTaskUnschedulable:
    case ErrorType::kTaskGroupRemoved:
    case ErrorType::kActorGroupRemoved:
    case ErrorType::kActorUnschedulable:
      return Fail(abi::kUnschedulable, e.message);
    case ErrorType::kFunctionMissing:
      return Fail(abi::kFunctionNotFound, e.message);
    case ErrorType::kRuntimeShutdown:
    case ErrorType::kNone:
      break;
  }
  return Fail(abi::kError, e.message);
}

}  // namespace

const abi::ErrorInfo* LastError() { return &ThreadLast().info; }

abi::Code Fail(abi::Code code, std::string message) { return Set(code, std::move(message), {}); }

abi::Code Fail(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return abi::kOk;
    case StatusCode::kTimeout:
      return Fail(abi::kTimeout, status.message());
    case StatusCode::kStoreFull:
    case StatusCode::kOutOfDisk:
      return Fail(abi::kStoreFull, status.message());
    default:
      return Fail(abi::kError, status.message());
  }
}

abi::Code FailWith(const ValueView& view, const Ref& ref) {
  if (view.kind == ValueKind::kSystemError) return FailWithSystemError(view, ref);
  TaskError error;
  if (!DecodeTaskError(view.bytes, &error)) {
    return Fail(abi::kTaskError,
                "the task of object " + Hex(ref.id()) + " failed with an exception of another language");
  }
  if (error.type == kCancelledType) return Fail(abi::kCancelled, error.text);
  std::string text = error.text.empty() ? Describe(error) : error.text;
  if (error.in_constructor || error.type == kActorExitType) return Fail(abi::kActorDied, std::move(text));
  return Set(abi::kTaskError, std::move(text), std::move(error));
}

}  // namespace rmpi::cpp
