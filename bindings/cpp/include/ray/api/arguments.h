// SPDX-License-Identifier: Apache-2.0
/// \file
/// The argument list of a call on its way out: of tasks, of actors' constructors and of their methods.
#pragma once

#include <ray/api/object_ref.h>

#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace ray {
inline namespace v5 {
/// \cond internal
namespace internal {

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

template <typename Parameters>
struct ArgumentsOf;
/// Writes the arguments of a call of a function with these parameters; refuses, while compiling, those that
/// do not fit.
template <typename... P>
struct ArgumentsOf<std::tuple<P...>> {
  template <typename... Args>
  static void AddTo(ArgumentList& list, const Args&... args) {
    static_assert(sizeof...(P) == sizeof...(Args),
                  "ray-mpi: Remote(...) has another number of arguments than the function");
    if constexpr (sizeof...(P) == sizeof...(Args)) (AddOne<P>(list, args), ...);
  }

 private:
  template <typename P1, typename A>
  static void AddOne(ArgumentList& list, const A& argument) {
    static_assert(
        Accepts<P1, A>(),
        "ray-mpi: an argument of Remote(...) does not convert to the function's parameter (nor does the "
        "value of the ObjectRef)");
    if constexpr (Accepts<P1, A>()) list.template Add<std::decay_t<P1>>(argument);
  }
};

}  // namespace internal
/// \endcond
}  // namespace v5
}  // namespace ray
