// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/task_error.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <msgpack.hpp>

#include "bindings/cpp/include/ray/api/value_tags.h"

namespace rmpi {

using ray::internal::Tag;

std::string Describe(const TaskError& e) {
  if (e.type == kActorExitType) return e.message;
  if (e.in_constructor) {
    return fmt::format("the actor is dead: its constructor {} failed with {}: {} (process {} on {})",
                       e.function, e.type, e.message, e.pid, e.host);
  }
  const std::string named =
      e.task.empty() || e.task == e.function ? "" : fmt::format(" (function {})", e.function);
  return fmt::format("the task {}{} failed with {}: {} (process {} on {})",
                     e.task.empty() ? e.function : e.task, named, e.type, e.message, e.pid, e.host);
}

std::string EncodeTaskError(const TaskError& e) {
  msgpack::sbuffer body;
  msgpack::packer<msgpack::sbuffer> packer(body);
  packer.pack_map(9);
  const auto put = [&packer](const char* key, const auto& value) {
    packer.pack(key);
    packer.pack(value);
  };
  put("language", e.language);
  put("function", e.function);
  put("task", e.task);
  put("type", e.type);
  put("message", e.message);
  put("host", e.host);
  put("pid", e.pid);
  put("constructor", e.in_constructor);
  put("text", e.text);
  const uint64_t size = body.size();
  std::string out(1 + sizeof size, static_cast<char>(Tag::kError));
  std::memcpy(out.data() + 1, &size, sizeof size);
  return out.append(body.data(), body.size());
}

bool DecodeTaskError(Bytes bytes, TaskError* error, Bytes* rest) {
  uint64_t size = 0;
  constexpr size_t kHead = 1 + sizeof size;
  if (bytes.size() < kHead || static_cast<Tag>(bytes[0]) != Tag::kError) return false;
  std::memcpy(&size, bytes.data() + 1, sizeof size);
  if (size > bytes.size() - kHead) return false;
  try {
    const msgpack::object_handle body =
        msgpack::unpack(reinterpret_cast<const char*>(bytes.data()) + kHead, static_cast<size_t>(size));
    for (const auto& [key, value] : body->as<std::map<std::string, msgpack::object>>()) {
      if (key == "language") value.convert(error->language);
      if (key == "function") value.convert(error->function);
      if (key == "task") value.convert(error->task);
      if (key == "type") value.convert(error->type);
      if (key == "message") value.convert(error->message);
      if (key == "host") value.convert(error->host);
      if (key == "pid") value.convert(error->pid);
      if (key == "constructor") value.convert(error->in_constructor);
      if (key == "text") value.convert(error->text);
    }
  } catch (const std::exception&) {
    return false;
  }
  if (rest != nullptr) *rest = bytes.subspan(kHead + static_cast<size_t>(size));
  return true;
}

void SayUnhandled(Bytes bytes) {
  TaskError error;
  if (std::getenv("RAY_IGNORE_UNHANDLED_ERRORS") != nullptr || !DecodeTaskError(bytes, &error)) return;
  if (error.type == kCancelledType || error.type == kActorExitType) return;
  const std::string line = fmt::format(
      "{:%F %T}\tERROR ray-mpi -- Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'): {}\n",
      fmt::localtime(std::time(nullptr)), error.text.empty() ? Describe(error) : error.text);
  [[maybe_unused]] const ssize_t n =
      ::write(STDERR_FILENO, line.data(), line.size());  // at once, not in pieces
}

}  // namespace rmpi
