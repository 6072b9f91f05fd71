// SPDX-License-Identifier: Apache-2.0
/// \file
/// Says in one line what msgpack says in a page: that a type has no MSGPACK_DEFINE. A class that is no
/// template and has neither that macro nor an adaptor of its own would end in the middle of msgpack's
/// headers; here it meets a static_assert first. Adaptors (full specialisations) of user code win over this.
#pragma once

#include <msgpack.hpp>
#include <type_traits>
#include <utility>

namespace ray {
inline namespace v5 {
namespace internal {

template <typename T>
struct IsTemplate : std::false_type {};
template <template <typename...> class X, typename... A>
struct IsTemplate<X<A...>> : std::true_type {};
template <template <typename, size_t> class X, typename A, size_t N>
struct IsTemplate<X<A, N>> : std::true_type {};

template <typename T, typename = void>
struct HasMsgpackMember : std::false_type {};
template <typename T>
struct HasMsgpackMember<T, std::void_t<decltype(std::declval<const T&>().msgpack_pack(
                               std::declval<msgpack::packer<msgpack::sbuffer>&>()))>> : std::true_type {};

/// True for the types that msgpack knows only through MSGPACK_DEFINE, MSGPACK_ADD_ENUM or an adaptor, and
/// that have no MSGPACK_DEFINE.
template <typename T>
constexpr bool NeedsAdaptor() {
  if constexpr (std::is_enum_v<T>) {
    return true;
  } else if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    return !IsTemplate<T>::value && !HasMsgpackMember<T>::value;
  } else {
    return false;
  }
}

template <typename T>
struct Missing {
  static_assert(
      sizeof(T) == 0,
      "ray-mpi: this type has no msgpack form. Write MSGPACK_DEFINE(members...) into the class (for an enum: "
      "MSGPACK_ADD_ENUM(type); after it), or give it an adaptor of msgpack's");
};

}  // namespace internal
}  // namespace v5
}  // namespace ray

namespace msgpack {
MSGPACK_API_VERSION_NAMESPACE(v1) {  // where msgpack's own adaptors are; later versions look there in the end
  namespace adaptor {

  template <typename T>
  struct pack<T, std::enable_if_t<ray::internal::NeedsAdaptor<T>()>> {
    using ray_mpi_missing = void;
    template <typename Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& o, const T&) const {
      (void)sizeof(ray::internal::Missing<T>);
      return o;
    }
  };

  template <typename T>
  struct convert<T, std::enable_if_t<ray::internal::NeedsAdaptor<T>()>> {
    using ray_mpi_missing = void;
    msgpack::object const& operator()(msgpack::object const& o, T&) const {
      (void)sizeof(ray::internal::Missing<T>);
      return o;
    }
  };

  }  // namespace adaptor
}  // MSGPACK_API_VERSION_NAMESPACE(v1)
}  // namespace msgpack
