// SPDX-License-Identifier: Apache-2.0
/// \file
/// RAY_REMOTE and RAY_FUNC: making functions known to the runtime under their names.
#pragma once

#include <ray/api/function.h>

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ray {
inline namespace v5 {
/// \cond internal
namespace internal {

/// The next of the names in RAY_REMOTE's text: up to a comma outside of brackets.
inline std::string_view NextName(std::string_view* text) {
  int depth = 0;
  size_t end = 0;
  for (; end < text->size(); ++end) {
    const char c = (*text)[end];
    if (c == '(' || c == '<') ++depth;
    if (c == ')' || c == '>') --depth;
    if (c == ',' && depth == 0) break;
  }
  const std::string_view name = text->substr(0, end);
  text->remove_prefix(end < text->size() ? end + 1 : end);
  return name;
}

template <typename F>
bool RegisterFunction(std::string_view* names, const char* file, int line, F function) {
  static_assert(
      FunctionTraits<F>::kIsFunction || MethodTraits<F>::kIsMethod,
      "ray-mpi: RAY_REMOTE takes free functions, static member functions and actors' methods (no lambdas, "
      "no functors, no methods with & or && behind them)");
  const std::string_view name = NextName(names);
  abi::Function f;
  std::string type, class_name;
  f.name = name;
  f.file = std::string_view(file);
  f.line = line;
  if constexpr (MethodTraits<F>::kIsMethod) {
    type = TypeName<F>();
    class_name = TypeName<typename MethodTraits<F>::Class>();
    f.method = &function;
    f.method_size = sizeof function;
    f.thunk = ThunkOfMethod<F>();
  } else if constexpr (FunctionTraits<F>::kIsFunction) {
    using Plain = typename FunctionTraits<F>::Plain;
    type = TypeName<Plain>();
    if constexpr (kIsFactory<Plain>) class_name = TypeName<typename ActorTypeOf<Plain>::type>();
    f.address = reinterpret_cast<void (*)()>(function);
    f.thunk = ThunkOf(static_cast<Plain>(function));
  }
  f.type = type;
  f.class_name = class_name;
  const abi::Api* const api = TryApi();
  return api != nullptr && api->register_function(&f) != 0;  // what is wrong is said by ray::Init
}

template <typename... F>
bool RegisterFunctions(std::string_view names, const char* file, int line, F... functions) {
  bool all = true;
  (void)std::initializer_list<int>{(all = RegisterFunction(&names, file, line, functions) && all, 0)...};
  return all;
}

/// Ends RAY_FUNC's list of parameter types.
struct EndOfTypes {};

template <typename... A>
struct OverloadPicker {
  template <typename R>
  constexpr auto operator()(R (*function)(A...)) const {
    return function;
  }
  template <typename R, typename C>
  constexpr auto operator()(R (C::*method)(A...)) const {
    return method;
  }
  template <typename R, typename C>
  constexpr auto operator()(R (C::*method)(A...) const) const {
    return method;
  }
};
template <typename Done, typename... Rest>
struct OverloadTypes;
template <typename... Done>
struct OverloadTypes<std::tuple<Done...>, EndOfTypes> {
  using type = OverloadPicker<Done...>;
};
template <typename... Done, typename Next, typename... Rest>
struct OverloadTypes<std::tuple<Done...>, Next, Rest...> : OverloadTypes<std::tuple<Done..., Next>, Rest...> {
};

template <typename... A>
constexpr typename OverloadTypes<std::tuple<>, A...>::type kOverload{};

}  // namespace internal
/// \endcond
}  // namespace v5
}  // namespace ray

/// \cond
#define RAY_MPI_CONCAT_DIRECT(a, b) a##b
#define RAY_MPI_CONCAT(a, b) RAY_MPI_CONCAT_DIRECT(a, b)
#define RAY_MPI_FUNC(f, ...) ::ray::internal::kOverload<__VA_ARGS__>(f)
/// \endcond

/// Makes functions, and the factories and methods of actors, remote: RAY_REMOTE(Plus, Counter::Create,
/// &Counter::Add); at namespace scope, after their declarations, in every program or library that calls or
/// runs them. The name of a function is what stands here, also for ray.cross_language.cpp_function and
/// cpp_actor_class in Python.
#define RAY_REMOTE(...)                                                             \
  [[maybe_unused]] static const bool RAY_MPI_CONCAT(ray_mpi_remote_, __COUNTER__) = \
      ::ray::internal::RegisterFunctions(#__VA_ARGS__, __FILE__, __LINE__, __VA_ARGS__);

/// One of several overloads, named by its parameter types: RAY_FUNC(Plus, int, int), RAY_FUNC(&Counter::Add,
/// int); RAY_FUNC(Now) takes nothing. For RAY_REMOTE, ray::Task, ray::Actor and ActorHandle::Task.
#define RAY_FUNC(...) RAY_MPI_FUNC(__VA_ARGS__, ::ray::internal::EndOfTypes)
