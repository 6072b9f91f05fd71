// SPDX-License-Identifier: Apache-2.0
/// \file
/// ray::Task(f).SetName(..).SetResource(..).Remote(arguments...).
#pragma once

#include <ray/api/arguments.h>
#include <ray/api/call_options.h>
#include <ray/api/ray_remote.h>
#include <ray/api/xlang_function.h>

#include <string>
#include <type_traits>
#include <vector>

namespace ray {
inline namespace v5 {
namespace internal {
/// \cond internal

template <typename F>
struct CallTraits {
  static constexpr bool kIsPython = false;
  using Result = typename FunctionTraits<F>::Result;
};
template <typename R>
struct CallTraits<PyFunction<R>> {
  static constexpr bool kIsPython = true;
  using Result = R;
};

/// \endcond

/// One call with its options; made by ray::Task. SetName: of the task. SetResource: what it occupies while it
/// runs; a task that does not name "CPU" takes one.
template <typename F>
class TaskCaller : public CallOptions<TaskCaller<F>> {
 public:
  using Result = typename CallTraits<F>::Result;  ///< of the function

  explicit TaskCaller(const void* function) : function_(function) {}  ///< the library's

  /// How often the task is run again when its worker or node died (an extension of Ray's API; default 3, -1:
  /// always).
  TaskCaller& SetMaxRetries(int max_retries) {
    this->CheckCount("SetMaxRetries", max_retries);
    max_retries_ = max_retries;
    return this->Changed();
  }
  /// Whether a task that threw is run again, too, as long as retries are left (an extension; default false).
  TaskCaller& SetRetryExceptions(bool retry) {
    retry_exceptions_ = retry;
    return this->Changed();
  }

  /// Submits the call and returns at once. An argument is a value that converts to the parameter's type, or
  /// an ObjectRef to one: the task then starts when that is there, and is given its value. A parameter that
  /// is an ObjectRef itself is given the reference. \throws RayException for resources that cannot be,
  /// RayObjectStoreFullException when a large argument has no room.
  template <typename... Args>
  ObjectRef<Result> Remote(Args&&... args) {
    ArgumentList list(sizeof...(Args));
    if constexpr (CallTraits<F>::kIsPython) {
      (list.AddAsIs(args), ...);
    } else {
      ArgumentsOf<typename FunctionTraits<F>::Parameters>::AddTo(list, args...);
    }
    return Submit(list);
  }

 private:
  ObjectRef<Result> Submit(ArgumentList& list) {
    const abi::TaskArgs args = list.Take();
    abi::Handle h = nullptr;
    if (!this->has_options_) {
      Check(GetApi().submit(function_, nullptr, &args, &h));
      return ObjectRef<Result>(RefHandle(h, function_));
    }
    const std::vector<abi::Resource> resources = this->Resources();
    abi::TaskOptions options;
    options.name = this->name_;
    options.resources = resources.data();
    options.resource_count = resources.size();
    options.max_retries = max_retries_;
    options.retry_exceptions = retry_exceptions_ ? 1 : 0;
    options.placement = this->Placement();
    Check(GetApi().submit(function_, &options, &args, &h));
    return ObjectRef<Result>(RefHandle(h, function_));
  }

  const void* function_;
  bool retry_exceptions_ = false;
  int max_retries_ = 3;
};

}  // namespace internal

/// A call of a remote function to be made: ray::Task(f).Remote(arguments...). `function` is a free or static
/// member function that RAY_REMOTE names; of overloads RAY_FUNC picks one. \throws RayFunctionNotFound when
/// no RAY_REMOTE of this program names it.
template <typename F>
internal::TaskCaller<F> Task(F function) {
  static_assert(
      !std::is_member_function_pointer_v<F>,
      "ray-mpi: a member function is called through an actor's handle: handle.Task(&Class::Method)");
  static_assert(
      internal::FunctionTraits<F>::kIsFunction || std::is_member_function_pointer_v<F>,
      "ray-mpi: ray::Task takes free functions and static member functions (no lambdas, no functors)");
  static_assert(!internal::kIsFactory<F>,
                "ray-mpi: a function that returns a T* makes an actor: use ray::Actor");
  return internal::TaskCaller<F>(internal::FindFunction(function));
}

/// The same for a Python function. Arguments go in their own types: numbers, text, bytes, rows of numbers
/// (numpy arrays there), and all that msgpack can write; R is what the result is read as.
template <typename R>
internal::TaskCaller<PyFunction<R>> Task(PyFunction<R> function) {
  return internal::TaskCaller<PyFunction<R>>(
      internal::GetApi().find_python_function(function.module_name, function.function_name));
}

}  // namespace v5
}  // namespace ray
