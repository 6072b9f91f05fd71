// SPDX-License-Identifier: Apache-2.0
/// \file
/// The library as the headers see it: its table of functions, and its failures as exceptions.
#pragma once

#include <ray/api/abi.h>
#include <ray/api/ray_exception.h>

#include <string>
#include <string_view>

namespace ray {
inline namespace v1 {
namespace internal {

/// The table, or null when libray-mpi.so is of another version than these headers.
inline const abi::Api* TryApi() {
  static const auto* const api = static_cast<const abi::Api*>(ray_mpi_cpp_interface(abi::kVersion, RAY_MPI_VERSION));
  return api;
}

[[noreturn]] inline void ThrowRefused() { throw RayException(ray_mpi_cpp_refusal()); }

inline const abi::Api& GetApi() {
  const abi::Api* const api = TryApi();
  if (api == nullptr) ThrowRefused();
  return *api;
}

[[noreturn]] inline void ThrowLastError(abi::Code code) {
  const abi::ErrorInfo& e = *GetApi().last_error();
  std::string text = e.message.str();
  switch (code) {
    case abi::kTaskError:
      throw RayTaskException(std::move(text), {e.function.str(), e.type.str(), e.remote_message.str(), e.host.str(),
                                               e.language.str(), e.pid});
    case abi::kWorkerDied:
      throw RayWorkerException(std::move(text));
    case abi::kTimeout:
      throw RayTimeoutException(std::move(text));
    case abi::kFunctionNotFound:
      throw RayFunctionNotFound(std::move(text));
    case abi::kObjectLost:
      throw UnreconstructableException(std::move(text));
    case abi::kCancelled:
      throw RayTaskCancelledException(std::move(text));
    case abi::kStoreFull:
      throw RayObjectStoreFullException(std::move(text));
    case abi::kUnschedulable:
      throw RayTaskUnschedulableException(std::move(text));
    case abi::kOk:
    case abi::kError:
      break;
  }
  throw RayException(std::move(text));
}

inline void Check(abi::Code code) {
  if (code != abi::kOk) ThrowLastError(code);
}

/// The name of a type, for messages.
template <typename T>
std::string TypeName() {
  // "... [with T = int; ...]" by gcc, "... [T = int]" by clang.
  const std::string_view text = __PRETTY_FUNCTION__;
  const size_t begin = text.find("T = ") + 4;
  size_t end = text.find(';', begin);
  if (end == std::string_view::npos) end = text.rfind(']');
  return std::string(text.substr(begin, end - begin));
}

}  // namespace internal
}  // namespace v1
}  // namespace ray
