// SPDX-License-Identifier: Apache-2.0
// TaskError: what a task threw, in the form that every language reads (Tag::kError of value_tags.h). A
// language may append its own form of the exception; others skip that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/blob.h"

namespace rmpi {

struct TaskError {
  std::string language;  // "C++", "Python"
  std::string function;  // the remote function
  std::string task;      // the task's name
  std::string type;      // the exception's class; kCancelledType: the task was cancelled
  std::string message;   // the exception's own text
  std::string host;      // where it ran
  int64_t pid = 0;
  bool in_constructor = false;  // of an actor, which is dead then: all its calls have this error
  std::string text;             // all of it for people: a Python traceback, or the line of Describe
};

// Of the call in which an actor ended itself.
inline constexpr std::string_view kActorExitType = "ray::ActorExit";
inline constexpr std::string_view kCancelledType = "ray::RayTaskCancelledException";

// "the task f failed with std::out_of_range: no such key (process 123 on host)"
std::string Describe(const TaskError& error);

// The bytes from the tag on, without a form of the language's own.
std::string EncodeTaskError(const TaskError& error);
// False: these bytes are no such error. `rest`: what follows (the language's own form), if wanted.
bool DecodeTaskError(Bytes bytes, TaskError* error, Bytes* rest = nullptr);

// For errors that nobody has looked at (CoreWorker::Options::on_unread_error): one line, or a traceback, on
// stderr, unless RAY_IGNORE_UNHANDLED_ERRORS is set. Not of what was cancelled, or ended on purpose.
void SayUnhandled(Bytes error);

}  // namespace rmpi
