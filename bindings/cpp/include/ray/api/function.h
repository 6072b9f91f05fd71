// SPDX-License-Identifier: Apache-2.0
/// \file
/// What a remote function is to the runtime: its signature while compiling, and the thunk that a worker calls
/// with a task's bytes.
#pragma once

#include <ray/api/object_ref.h>

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ray {
inline namespace v1 {
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

template <typename R, typename... A>
struct FunctionThunk {
  using Arguments = std::tuple<std::decay_t<A>...>;

  static void Run(const abi::Api* api, const abi::Call* call) {
    Stage stage = Stage::kArguments;
    try {
      Run(api, call, &stage, std::index_sequence_for<A...>());
    } catch (const ::abi::__forced_unwind&) {
      throw;  // the thread is being cancelled
    } catch (...) {
      FailWithCurrentException(api, call, stage);
    }
  }

 private:
  template <size_t... I>
  static void Run(const abi::Api* api, const abi::Call* call, Stage* stage, std::index_sequence<I...>) {
    // No owner: the list goes with the task, so what stays of it is copied.
    Decoder list(call->args, static_cast<size_t>(call->args_size), nullptr, nullptr);
    const uint32_t count = list.at_end() ? 0 : list.Take<uint32_t>();
    const uint32_t keywords = list.at_end() ? 0 : list.Take<uint32_t>();
    if (count != sizeof...(A) || keywords != 0) {
      throw RayException("it takes " + std::to_string(sizeof...(A)) + " arguments, but was called with " +
                         std::to_string(count) + (keywords != 0 ? " and keywords" : ""));
    }
    Arguments arguments{DecodeArgument<std::decay_t<A>>(list, call, I)...};
    (void)arguments;
    *stage = Stage::kFunction;
    const auto function = reinterpret_cast<R (*)(A...)>(call->address);
    Encoder encoder;
    if constexpr (std::is_void_v<R>) {
      function(static_cast<A&&>(std::get<I>(arguments))...);
      *stage = Stage::kResult;
      encoder.PutTag(Tag::kNone);
      const abi::ValueIn in = encoder.Take();
      api->finish(call, &in);
    } else {
      const R result = function(static_cast<A&&>(std::get<I>(arguments))...);
      *stage = Stage::kResult;
      Value<ResultOf<R>>::Encode(encoder, result);
      const abi::ValueIn in = encoder.Take();
      api->finish(call, &in);
    }
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
  CheckSignature<R, A...>();
  return &FunctionThunk<R, A...>::Run;
}

}  // namespace internal
}  // namespace v1
}  // namespace ray
