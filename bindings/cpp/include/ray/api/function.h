// SPDX-License-Identifier: Apache-2.0
/// \file
/// What a remote function, an actor's factory and a method are to the runtime: their signature while
/// compiling, and the thunk that a worker calls with a task's bytes.
#pragma once

#include <ray/api/object_ref.h>

#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ray {
inline namespace v5 {
namespace internal {

/// Free functions and static member functions; everything else has kIsFunction false.
template <typename F>
struct FunctionTraits {
  static constexpr bool kIsFunction = false;
};
template <typename R, typename... A>
struct FunctionTraits<R (*)(A...)> {
  static constexpr bool kIsFunction = true;
  using Result = R;
  using Parameters = std::tuple<A...>;
  using Plain = R (*)(A...);
};
template <typename R, typename... A>
struct FunctionTraits<R (*)(A...) noexcept> : FunctionTraits<R (*)(A...)> {};

/// Member functions that are not static; everything else has kIsMethod false.
template <typename F>
struct MethodTraits {
  static constexpr bool kIsMethod = false;
};
template <typename R, typename C, typename... A>
struct MethodTraits<R (C::*)(A...)> {
  static constexpr bool kIsMethod = true;
  using Class = C;
  using Result = R;
  using Parameters = std::tuple<A...>;
};
template <typename R, typename C, typename... A>
struct MethodTraits<R (C::*)(A...) const> : MethodTraits<R (C::*)(A...)> {};
template <typename R, typename C, typename... A>
struct MethodTraits<R (C::*)(A...) noexcept> : MethodTraits<R (C::*)(A...)> {};
template <typename R, typename C, typename... A>
struct MethodTraits<R (C::*)(A...) const noexcept> : MethodTraits<R (C::*)(A...)> {};

/// The class of the actors that a function makes, or void: it is no factory.
template <typename F, typename = void>
struct ActorTypeOf {
  using type = void;
};
template <typename F>
struct ActorTypeOf<F, std::enable_if_t<FunctionTraits<F>::kIsFunction>> {
  using Pointee = std::remove_pointer_t<typename FunctionTraits<F>::Result>;
  static constexpr bool kMakes = std::is_pointer_v<typename FunctionTraits<F>::Result> &&
                                 std::is_class_v<Pointee> && !std::is_const_v<Pointee>;
  using type = std::conditional_t<kMakes, Pointee, void>;
};
template <typename F>
constexpr bool kIsFactory = !std::is_void_v<typename ActorTypeOf<F>::type>;

/// Thrown by ray::ExitActor through the running method. It is no std::exception, so that user code which
/// catches those lets it through.
struct ActorExit {};

/// The type of the stored result of a function that returns R.
template <typename R>
using ResultOf = std::remove_cv_t<R>;

/// Which part of a task failed, for its message.
enum class Stage { kArguments, kFunction, kResult };

/// Tells the runtime about the exception being handled.
inline void FailWithCurrentException(const abi::Api* api, const abi::Call* call, Stage stage) {
  const std::string type = CurrentExceptionType();
  std::string message;
  abi::Code code = abi::kTaskError;
  try {
    throw;
  } catch (const ActorExit&) {
    code = abi::kActorDied;
    message = "The actor is dead because it ended itself with ray::ExitActor()";
  } catch (const RayTaskCancelledException& e) {
    code = abi::kCancelled;
    message = e.what();
  } catch (const std::exception& e) {
    message = e.what();
  } catch (const std::string& text) {
    message = text;
  } catch (const char* text) {
    message = text;
  } catch (...) {
    message = "(it is no std::exception, so it has no message)";
  }
  if (stage == Stage::kResult) message = "its result could not be packed: " + message;
  const abi::TaskFailure failure{type, message};
  api->fail(call, code, &failure);
}

template <typename P>
P DecodeArgument(Decoder& list, const abi::Call* call, size_t index) {
  try {
    if (list.Peek() != Tag::kArgument) return Value<P>::Decode(list);
    list.TakeTag();
    const auto at = list.Take<uint32_t>();
    if (at >= call->value_count) throw ConversionError("it did not come with the task");
    const abi::ValueOut& v = call->values[at];
    if constexpr (kIsObjectRef<P>) {
      throw ConversionError(
          "the function takes a reference, but a reference among the arguments is resolved to its value "
          "before the "
          "call: pass it inside of a list");
    } else {
      Decoder value(v.data, static_cast<size_t>(v.size), &v.owner, nullptr);
      return Value<P>::Decode(value);
    }
  } catch (const ConversionError& e) {
    throw RayException("argument " + std::to_string(index + 1) + " cannot be read: " + e.what());
  }
}

/// Reads the arguments of a call, has `invoke` make it, and tells the runtime of its result or its failure.
template <typename R, typename... A>
struct CallThunk {
  template <typename Invoke>
  static void Run(const abi::Api* api, const abi::Call* call, Invoke&& invoke) {
    Stage stage = Stage::kArguments;
    try {
      Run(api, call, &stage, invoke, std::index_sequence_for<A...>());
    } catch (const ::abi::__forced_unwind&) {
      throw;  // the thread is being cancelled
    } catch (...) {
      FailWithCurrentException(api, call, stage);
    }
  }

 private:
  template <typename Invoke, size_t... I>
  static void Run(const abi::Api* api, const abi::Call* call, Stage* stage, Invoke& invoke,
                  std::index_sequence<I...>) {
    // No owner: the list goes with the task, so what stays of it is copied.
    Decoder list(call->args, static_cast<size_t>(call->args_size), nullptr, nullptr);
    const uint32_t count = list.at_end() ? 0 : list.Take<uint32_t>();
    const uint32_t keywords = list.at_end() ? 0 : list.Take<uint32_t>();
    if (count != sizeof...(A) || keywords != 0) {
      throw RayException("it takes " + std::to_string(sizeof...(A)) + " arguments, but was called with " +
                         std::to_string(count) + (keywords != 0 ? " and keywords" : ""));
    }
    std::tuple<std::decay_t<A>...> arguments{DecodeArgument<std::decay_t<A>>(list, call, I)...};
    (void)arguments;
    *stage = Stage::kFunction;
    Encoder encoder;
    if constexpr (std::is_void_v<R>) {
      invoke(static_cast<A&&>(std::get<I>(arguments))...);
      *stage = Stage::kResult;
      encoder.PutTag(Tag::kNone);
    } else {
      const R result = invoke(static_cast<A&&>(std::get<I>(arguments))...);
      *stage = Stage::kResult;
      Value<ResultOf<R>>::Encode(encoder, result);
      const abi::ValueIn in = encoder.Take();  // the result's own memory is read here
      return api->finish(call, &in);
    }
    const abi::ValueIn in = encoder.Take();
    api->finish(call, &in);
  }
};

template <typename R, typename... A>
struct FunctionThunk {
  static void Run(const abi::Api* api, const abi::Call* call) {
    const auto function = reinterpret_cast<R (*)(A...)>(call->address);
    CallThunk<R, A...>::Run(api, call,
                            [function](A&&... args) -> R { return function(static_cast<A&&>(args)...); });
  }
};

/// Makes the actor of this process.
template <typename T, typename... A>
struct FactoryThunk {
  static void Run(const abi::Api* api, const abi::Call* call) {
    const auto function = reinterpret_cast<T* (*)(A...)>(call->address);
    CallThunk<void, A...>::Run(api, call, [=](A&&... args) {
      T* const made = function(static_cast<A&&>(args)...);
      if (made == nullptr) throw RayException("the factory returned nullptr instead of an actor");
      abi::Instance instance;
      const std::string type = TypeName<T>();
      instance.object = made;
      instance.type = type;
      instance.raise = [](void* object) { throw static_cast<T*>(object); };
      instance.destroy = &Destroy;
      api->set_instance(call, &instance);
    });
  }

 private:
  static void Destroy(void* object) {
    // Where it is not known how, it is left to the process's end.
    if constexpr (std::is_destructible_v<T> &&
                  (!std::is_polymorphic_v<T> || std::has_virtual_destructor_v<T>)) {
      delete static_cast<T*>(object);
    }
  }
};

/// The process's actor as a C, which its class is or has as a public base.
template <typename C>
C* ActorAs(const abi::Call* call) {
  const abi::Instance* const instance = call->instance;
  if (instance == nullptr) throw RayException("this process has no actor");
  if (instance->type.view() == TypeName<C>()) return static_cast<C*>(instance->object);
  try {
    instance->raise(instance->object);  // as an exception, a pointer converts to one to a base
  } catch (C* base) {
    return base;
  } catch (...) {
    // another class
  }
  throw RayException("it is a method of " + TypeName<C>() + ", but the actor is a " + instance->type.str());
}

template <typename F, typename Parameters = typename MethodTraits<F>::Parameters>
struct MethodThunk;
template <typename F, typename... A>
struct MethodThunk<F, std::tuple<A...>> {
  using R = typename MethodTraits<F>::Result;
  using C = typename MethodTraits<F>::Class;

  static void Run(const abi::Api* api, const abi::Call* call) {
    F method;
    std::memcpy(static_cast<void*>(&method), call->method, sizeof method);
    CallThunk<R, A...>::Run(api, call, [=](A&&... args) -> R {
      static C* const self = ActorAs<C>(call);  // a process has one actor, to its end
      return (self->*method)(static_cast<A&&>(args)...);
    });
  }
};

/// Refuses, while compiling, functions that cannot be remote; says why.
template <typename R, typename... A>
constexpr void CheckSignature() {
  CheckValueType<R>();
  (CheckValueType<std::decay_t<A>>(), ...);
}

template <typename R, typename... A>
abi::Thunk ThunkOf(R (*)(A...)) {
  using T = typename ActorTypeOf<R (*)(A...)>::type;
  if constexpr (std::is_void_v<T>) {
    CheckSignature<R, A...>();
    return &FunctionThunk<R, A...>::Run;
  } else {
    CheckSignature<void, A...>();
    return &FactoryThunk<T, A...>::Run;
  }
}

template <typename R, typename... A>
constexpr void CheckMethod(const std::tuple<A...>*) {
  CheckSignature<R, A...>();
}
template <typename F>
abi::Thunk ThunkOfMethod() {
  using Parameters = typename MethodTraits<F>::Parameters;
  CheckMethod<typename MethodTraits<F>::Result>(static_cast<const Parameters*>(nullptr));
  return &MethodThunk<F>::Run;
}

/// The registered function, or an exception that names it.
template <typename F>
const void* FindFunction(F function) {
  const abi::Api& api = GetApi();
  const auto address = reinterpret_cast<void (*)()>(function);
  const void* const found = api.find_function(address);
  if (found == nullptr) {
    throw RayFunctionNotFound(
        "Function not found. Please use RAY_REMOTE to register this function: no RAY_REMOTE of this program "
        "names " +
        api.describe_address(address).str() + ", of type " + TypeName<F>());
  }
  return found;
}

/// The registered method, or an exception.
template <typename F>
const void* FindMethod(F method) {
  // Programs call a few methods many times.
  struct Found {
    F method = nullptr;
    const void* entry = nullptr;
  };
  static constexpr size_t kKept = 4;  // of one type
  thread_local Found kept[kKept];
  thread_local size_t next = 0;
  for (const Found& f : kept) {
    if (f.method == method && f.entry != nullptr) return f.entry;
  }
  const std::string type = TypeName<F>();
  const void* const entry = GetApi().find_method(&method, sizeof method, type);
  if (entry == nullptr) {
    throw RayFunctionNotFound(
        "Function not found. Please use RAY_REMOTE to register this function: no RAY_REMOTE of this program "
        "names this method of " +
        TypeName<typename MethodTraits<F>::Class>() + ", of type " + type);
  }
  kept[next] = {method, entry};
  next = (next + 1) % kKept;
  return entry;
}

}  // namespace internal
}  // namespace v5
}  // namespace ray
