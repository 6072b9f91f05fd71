// SPDX-License-Identifier: Apache-2.0
/// \file
/// ray::Task(f).SetName(..).SetResource(..).Remote(arguments...).
#pragma once

#include <ray/api/ray_remote.h>
#include <ray/api/xlang_function.h>

#include <cmath>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ray {
inline namespace v1 {
namespace internal {
/// \cond internal

/// Rules on amounts, as Ray has them.
inline void CheckResources(const std::unordered_map<std::string, double>& resources) {
  for (const auto& [name, amount] : resources) {
    double whole = 0;
    if (name.empty() || !(amount > 0)) {
      throw RayException("Resource values should be positive, and have a name. Specified resource: " + name +
                         " = " + std::to_string(amount) + ".");
    }
    if (amount > 1 && std::modf(amount, &whole) != 0.0) {
      throw RayException(
          "A resource value should be an integer if it is greater than 1.0. Specified resource: " + name +
          " = " + std::to_string(amount) + ".");
    }
  }
}

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

/// Arguments that travel as text, whatever they are.
template <typename A>
constexpr bool kIsText = std::is_convertible_v<const A&, std::string_view> && !std::is_class_v<A>;

/// One argument list on its way out.
class ArgumentList {
 public:
  explicit ArgumentList(uint32_t count) {
    if (count == 0) return;
    encoder_.Put(count);
    encoder_.Put(uint32_t{0});
  }

  /// An argument for a parameter of type P.
  template <typename P, typename A>
  void Add(const A& argument) {
    if constexpr (kIsObjectRef<A> && kIsObjectRef<P>) {
      Value<P>::Encode(encoder_, argument);  // the reference itself
    } else if constexpr (kIsObjectRef<A>) {
      AddRef(RefHandle(argument.handle().Checked(), argument.handle()));
    } else if constexpr (std::is_same_v<P, A>) {
      AddValue<P>(argument);
    } else if constexpr (std::is_same_v<P, std::string> &&
                         std::is_convertible_v<const A&, std::string_view>) {
      AddValue<P>(std::string_view(argument));
    } else if constexpr (kViewOf<P, A>) {
      AddValue<A>(argument);
    } else {
      encoder_.set_copy_data(true);  // the converted value is gone before the call is made
      AddValue<P>(static_cast<P>(argument));
      encoder_.set_copy_data(false);
    }
  }

  /// An argument for Python, in its own type.
  template <typename A>
  void AddAsIs(const A& argument) {
    if constexpr (kIsText<A>) {
      Add<std::string>(argument);
    } else {
      Add<std::conditional_t<kIsObjectRef<A>, typename RefTarget<A>::type, A>>(argument);
    }
  }

  abi::TaskArgs Take() {
    abi::TaskArgs args;
    args.list = encoder_.Take();
    args.refs = refs_.data();
    args.ref_count = refs_.size();
    return args;
  }

  /// A View parameter takes the row itself; nothing is converted.
  template <typename P, typename A>
  static constexpr bool kViewOf =
      kIsRow<P>&& kIsRow<A>&& std::is_same_v<typename RowOf<P>::Element, typename RowOf<A>::Element>;

 private:
  struct RefHandle {
    RefHandle(abi::Handle, const internal::RefHandle& ref) : copy(ref.Copy()) {}
    abi::Handle copy;
  };

  void AddRef(RefHandle ref) {
    encoder_.PutTag(Tag::kArgument);
    encoder_.Put(static_cast<uint32_t>(refs_.size()));
    refs_.Add(ref.copy);
  }

  template <typename P, typename A>
  void AddValue(const A& value) {
    const Encoder::Mark mark = encoder_.mark();
    Value<P>::Encode(encoder_, value);
    const abi::Api& api = GetApi();
    if (encoder_.size() <= api.inline_limit) return;
    // The list would be too long for a message: this value becomes an object of its own.
    encoder_.Rewind(mark);
    Encoder alone;
    Value<P>::Encode(alone, value);
    const abi::ValueIn in = alone.Take();
    abi::Handle h = nullptr;
    Check(api.put(&in, &h));
    encoder_.PutTag(Tag::kArgument);
    encoder_.Put(static_cast<uint32_t>(refs_.size()));
    refs_.Add(h);
  }

  Encoder encoder_;
  Handles refs_;
};

/// Whether an argument of type A (or a ref to one) does for a parameter of type P.
template <typename P, typename A>
constexpr bool Accepts() {
  using Given = typename RefTarget<std::decay_t<A>>::type;
  using Wanted = std::decay_t<P>;
  if constexpr (kIsObjectRef<A> && kIsObjectRef<P>) {
    return std::is_same_v<std::decay_t<A>, Wanted>;
  } else if constexpr (std::is_void_v<Given>) {
    return false;
  } else {
    return std::is_convertible_v<Given, Wanted> || ArgumentList::kViewOf<Wanted, Given> ||
           (std::is_same_v<Wanted, View<char>> && std::is_same_v<Given, std::string>);
  }
}

/// \endcond

/// One call with its options; made by ray::Task. Each setter returns the call, so that they can be chained.
template <typename F>
class TaskCaller {
 public:
  using Result = typename CallTraits<F>::Result;  ///< of the function

  explicit TaskCaller(const void* function) : function_(function) {}  ///< the library's

  /// The task's name in lists and messages; the default is the function's.
  TaskCaller& SetName(std::string name) {
    name_ = std::move(name);
    has_options_ = true;
    return *this;
  }

  /// What the task occupies while it runs, in place of all set before: "CPU", "GPU", "memory" (bytes), or
  /// names of the site's own. A task that does not name "CPU" takes one.
  TaskCaller& SetResources(std::unordered_map<std::string, double> resources) {
    resources_ = std::move(resources);
    has_options_ = true;
    return *this;
  }
  /// One of them. Amounts up to 1 may be fractions (of 1/10000), larger ones are whole numbers.
  TaskCaller& SetResource(std::string name, double value) {
    resources_[std::move(name)] = value;
    has_options_ = true;
    return *this;
  }

  /// How often the task is run again when its worker or node died (an extension of Ray's API; default 3, -1:
  /// always).
  TaskCaller& SetMaxRetries(int max_retries) {
    if (max_retries < -1) {
      throw RayException("SetMaxRetries: " + std::to_string(max_retries) +
                         " is neither -1 (always) nor a count");
    }
    max_retries_ = max_retries;
    has_options_ = true;
    return *this;
  }
  /// Whether a task that threw is run again, too, as long as retries are left (an extension; default false).
  TaskCaller& SetRetryExceptions(bool retry) {
    retry_exceptions_ = retry;
    has_options_ = true;
    return *this;
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
      using Parameters = typename FunctionTraits<F>::Parameters;
      static_assert(std::tuple_size_v<Parameters> == sizeof...(Args),
                    "ray-mpi: Remote(...) has another number of arguments than the function");
      if constexpr (std::tuple_size_v<Parameters> == sizeof...(Args)) {
        AddAll<Parameters>(list, std::index_sequence_for<Args...>(), args...);
      }
    }
    return Submit(list);
  }

 private:
  template <typename Parameters, size_t... I, typename... Args>
  static void AddAll(ArgumentList& list, std::index_sequence<I...>, const Args&... args) {
    (AddOne<std::tuple_element_t<I, Parameters>>(list, args), ...);
  }
  template <typename P, typename A>
  static void AddOne(ArgumentList& list, const A& argument) {
    static_assert(
        Accepts<P, A>(),
        "ray-mpi: an argument of Remote(...) does not convert to the function's parameter (nor does the "
        "value of the ObjectRef)");
    if constexpr (Accepts<P, A>()) list.template Add<std::decay_t<P>>(argument);
  }

  ObjectRef<Result> Submit(ArgumentList& list) {
    const abi::TaskArgs args = list.Take();
    abi::Handle h = nullptr;
    if (!has_options_) {
      Check(GetApi().submit(function_, nullptr, &args, &h));
      return ObjectRef<Result>(RefHandle(h, function_));
    }
    CheckResources(resources_);
    std::vector<abi::Resource> resources;
    resources.reserve(resources_.size());
    for (const auto& [name, amount] : resources_) resources.push_back({name, amount});
    abi::TaskOptions options;
    options.name = name_;
    options.resources = resources.data();
    options.resource_count = resources.size();
    options.max_retries = max_retries_;
    options.retry_exceptions = retry_exceptions_ ? 1 : 0;
    Check(GetApi().submit(function_, &options, &args, &h));
    return ObjectRef<Result>(RefHandle(h, function_));
  }

  const void* function_;
  bool has_options_ = false;
  bool retry_exceptions_ = false;
  int max_retries_ = 3;
  std::string name_;
  std::unordered_map<std::string, double> resources_;
};

}  // namespace internal

/// A call of a remote function to be made: ray::Task(f).Remote(arguments...). `function` is a free or static
/// member function that RAY_REMOTE names; of overloads RAY_FUNC picks one. \throws RayFunctionNotFound when
/// no RAY_REMOTE of this program names it.
template <typename F>
internal::TaskCaller<F> Task(F function) {
  static_assert(!std::is_member_function_pointer_v<F>,
                "ray-mpi: a member function cannot be called with ray::Task (actors are not there yet)");
  static_assert(
      internal::FunctionTraits<F>::kIsFunction,
      "ray-mpi: ray::Task takes free functions and static member functions (no lambdas, no functors)");
  const void* const found = internal::GetApi().find_function(reinterpret_cast<void (*)()>(function));
  if (found == nullptr) {
    throw RayFunctionNotFound(
        "Function not found. Please use RAY_REMOTE to register this function: no RAY_REMOTE of this program "
        "names " +
        internal::GetApi().describe_address(reinterpret_cast<void (*)()>(function)).str() + ", of type " +
        internal::TypeName<F>());
  }
  return internal::TaskCaller<F>(found);
}

/// The same for a Python function. Arguments go in their own types: numbers, text, bytes, rows of numbers
/// (numpy arrays there), and all that msgpack can write; R is what the result is read as.
template <typename R>
internal::TaskCaller<PyFunction<R>> Task(PyFunction<R> function) {
  return internal::TaskCaller<PyFunction<R>>(
      internal::GetApi().find_python_function(function.module_name, function.function_name));
}

}  // namespace v1
}  // namespace ray
