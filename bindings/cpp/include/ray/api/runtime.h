// SPDX-License-Identifier: Apache-2.0
/// \file
/// The library as the headers see it: its table of functions, and its failures as exceptions.
#pragma once

#include <cxxabi.h>
#include <ray/api/abi.h>
#include <ray/api/ray_exception.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

namespace ray {
inline namespace v5 {
namespace internal {

/// The table, or null when libray-mpi.so is of another version than these headers.
inline const abi::Api* TryApi() {
  static const auto* const api =
      static_cast<const abi::Api*>(ray_mpi_cpp_interface(abi::kVersion, RAY_MPI_VERSION));
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
      throw RayTaskException(std::move(text), {e.function.str(), e.type.str(), e.remote_message.str(),
                                               e.host.str(), e.language.str(), e.pid});
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
    case abi::kActorDied:
      throw RayActorException(std::move(text));
    case abi::kOk:
    case abi::kError:
      break;
  }
  throw RayException(std::move(text));
}

inline void Check(abi::Code code) {
  if (code != abi::kOk) ThrowLastError(code);
}

/// A type's name as people write it: the version's namespace and the library's inner names are no business of
/// theirs.
inline std::string PlainType(std::string name) {
  constexpr std::pair<std::string_view, std::string_view> kPlain[] = {
      {"ray::v5::", "ray::"},
      {"std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string"},
      {"std::__cxx11::basic_string<char>", "std::string"},
      {"std::basic_string<char>", "std::string"},
  };
  for (const auto& [full, plain] : kPlain) {
    for (size_t at = name.find(full); at != std::string::npos; at = name.find(full)) {
      name.replace(at, full.size(), plain);
    }
  }
  return name;
}

/// The class of the exception that is being handled.
inline std::string CurrentExceptionType() {
  const std::type_info* const type = ::abi::__cxa_current_exception_type();
  if (type == nullptr) return "an exception of another language";
  int status = 0;
  char* const text = ::abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
  const std::string name = status == 0 && text != nullptr ? text : type->name();
  std::free(text);
  return PlainType(name);
}

/// The name of a type, for messages.
template <typename T>
std::string TypeName() {
  // "... [with T = int; ...]" by gcc, "... [T = int]" by clang.
  const std::string_view text = __PRETTY_FUNCTION__;
  const size_t begin = text.find("T = ") + 4;
  size_t end = text.find(';', begin);
  if (end == std::string_view::npos) end = text.rfind(']');
  return PlainType(std::string(text.substr(begin, end - begin)));
}

}  // namespace internal
}  // namespace v5
}  // namespace ray
