// SPDX-License-Identifier: Apache-2.0
/// \file
/// Value<T>: how a C++ type is written and read. Numbers, text, bytes and rows of numbers have forms of their
/// own, without msgpack and with one copy at most; everything else goes through msgpack.
#pragma once

#include <ray/api/decoder.h>
#include <ray/api/encoder.h>
#include <ray/api/msgpack_check.h>
#include <ray/api/view.h>

#include <array>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ray {
inline namespace v5 {
namespace internal {

// ---- what a type is ---------------------------------------------------------------------------------------

template <typename T>
constexpr bool kIsByte =
    std::is_same_v<T, char> || std::is_same_v<T, unsigned char> || std::is_same_v<T, std::byte>;

/// Element types that lie in a row as an array's or as bytes.
template <typename T>
constexpr bool kIsElement = kIsByte<T> || DtypeOf<T>() != 0;

template <typename T>
struct RowOf {
  using Element = void;
};
template <typename E, typename A>
struct RowOf<std::vector<E, A>> {
  using Element = std::conditional_t<kIsElement<E>, E, void>;
};
template <typename E>
struct RowOf<View<E>> {
  using Element = E;
};

template <typename T>
constexpr bool kIsRow = !std::is_void_v<typename RowOf<T>::Element>;

/// Refuses, while compiling, what can be no argument, result or stored value.
template <typename T>
constexpr void CheckValueType() {
  static_assert(!std::is_reference_v<T>, "ray-mpi: a value is stored by itself: no references as results");
  static_assert(
      !std::is_pointer_v<T> && !std::is_member_pointer_v<T>,
      "ray-mpi: pointers mean nothing in another process: use the value, std::string, std::vector or "
      "std::unique_ptr (a function that returns a T* of a class makes actors: see ray::Actor)");
  static_assert(!std::is_same_v<T, long double>, "ray-mpi: msgpack has no long double: use double");
}

// ---- errors -----------------------------------------------------------------------------------------------

inline std::string DescribeNext(Decoder decoder) {
  switch (decoder.Peek()) {
    case Tag::kNone:
      return "nothing (nil, None, void)";
    case Tag::kTrue:
    case Tag::kFalse:
      return "a bool";
    case Tag::kInt8:
    case Tag::kInt64:
      return "an integer";
    case Tag::kFloat:
      return "a floating point number";
    case Tag::kStr:
      return "text";
    case Tag::kBytes:
      return "bytes";
    case Tag::kTuple:
    case Tag::kList:
      return "a list";
    case Tag::kDict:
      return "a map";
    case Tag::kRef:
      return "a reference to another object";
    case Tag::kArray: {
      decoder.TakeTag();
      const ArrayView a = decoder.TakeArray();
      return "a " + std::to_string(a.shape.size()) + "-dimensional array of " + a.dtype.name;
    }
    case Tag::kPickle:
      return "a pickled Python object";
    case Tag::kMsgpack: {
      msgpack::zone zone;
      return "the msgpack value " + Show(decoder.TakeObject(zone));
    }
    default:
      return "not known to this version";
  }
}

template <typename T>
[[noreturn]] void ThrowWrongType(const Decoder& at) {
  throw ConversionError("it is " + DescribeNext(at) + ", which does not convert to " + TypeName<T>());
}

// ---- the general form: msgpack ----------------------------------------------------------------------------

/// Reads through msgpack whatever form the value has.
template <typename T>
T DecodeObject(Decoder& decoder) {
  const Decoder start = decoder;
  msgpack::zone zone;
  try {
    const msgpack::object o = decoder.TakeObject(zone);
    const OuterScope outer(decoder.outer());
    if constexpr (std::is_default_constructible_v<T>) {
      T value{};
      o.convert(value);
      return value;
    } else {
      static_assert(msgpack::has_as<T>::value,
                    "ray-mpi: to read this type it needs a default constructor, or msgpack's adaptor `as`");
      return o.as<T>();
    }
  } catch (const msgpack::type_error&) {
    ThrowWrongType<T>(start);
  } catch (const msgpack::unpack_error& e) {
    throw ConversionError(std::string("its msgpack form is damaged: ") + e.what());
  } catch (const RayException&) {
    throw;  // says itself what is wrong
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {  // of the user's own msgpack_unpack
    throw ConversionError("as " + TypeName<T>() + " it throws " + CurrentExceptionType() + ": " + e.what());
  }
}

template <typename T, typename = void>
struct Value {
  static void Encode(Encoder& e, const T& value) {
    CheckValueType<T>();
    e.Msgpack([&value](Encoder& stream) { msgpack::packer<Encoder>(stream).pack(value); });
  }
  static T Decode(Decoder& d) {
    CheckValueType<T>();
    return DecodeObject<T>(d);
  }
};

// ---- numbers ----------------------------------------------------------------------------------------------

template <>
struct Value<bool> {
  static void Encode(Encoder& e, bool value) { e.PutTag(value ? Tag::kTrue : Tag::kFalse); }
  static bool Decode(Decoder& d) {
    if (d.Peek() != Tag::kTrue && d.Peek() != Tag::kFalse) return DecodeObject<bool>(d);
    return d.TakeTag() == Tag::kTrue;
  }
};

template <typename T>
struct Value<T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>> {
  static void Encode(Encoder& e, T value) {
    if constexpr (std::is_unsigned_v<T> && sizeof(T) == sizeof(uint64_t)) {
      if (value > static_cast<T>(std::numeric_limits<int64_t>::max())) {
        return e.Msgpack([value](Encoder& stream) { msgpack::packer<Encoder>(stream).pack_uint64(value); });
      }
    }
    const auto wide = static_cast<int64_t>(value);
    if (wide >= std::numeric_limits<int8_t>::min() && wide <= std::numeric_limits<int8_t>::max()) {
      e.PutTag(Tag::kInt8);
      e.Put(static_cast<int8_t>(wide));
    } else {
      e.PutTag(Tag::kInt64);
      e.Put(wide);
    }
  }
  static T Decode(Decoder& d) {
    const Tag tag = d.Peek();
    if (tag != Tag::kInt8 && tag != Tag::kInt64) return FromObject(d);
    d.TakeTag();
    const int64_t wide = tag == Tag::kInt8 ? d.Take<int8_t>() : d.Take<int64_t>();
    if constexpr (std::is_unsigned_v<T>) {
      if (wide < 0) ThrowRange(std::to_string(wide));
    }
    const T value = static_cast<T>(wide);
    if (static_cast<int64_t>(value) != wide) ThrowRange(std::to_string(wide));
    return value;
  }

 private:
  static T FromObject(Decoder& d) {
    if (d.Peek() != Tag::kMsgpack) ThrowWrongType<T>(d);
    if constexpr (std::is_unsigned_v<T>) {
      const auto wide = DecodeObject<uint64_t>(d);
      if (wide > std::numeric_limits<T>::max()) ThrowRange(std::to_string(wide));
      return static_cast<T>(wide);
    } else {
      const auto wide = DecodeObject<int64_t>(d);
      if (wide > std::numeric_limits<T>::max() || wide < std::numeric_limits<T>::min()) {
        ThrowRange(std::to_string(wide));
      }
      return static_cast<T>(wide);
    }
  }
  [[noreturn]] static void ThrowRange(const std::string& number) {
    throw ConversionError("it is " + number + ", which does not fit " + TypeName<T>());
  }
};

template <typename T>
struct Value<T, std::enable_if_t<std::is_same_v<T, float> || std::is_same_v<T, double>>> {
  static void Encode(Encoder& e, T value) {
    e.PutTag(Tag::kFloat);
    e.Put(static_cast<double>(value));
  }
  static T Decode(Decoder& d) {
    switch (d.Peek()) {
      case Tag::kFloat:
        d.TakeTag();
        return static_cast<T>(d.Take<double>());
      case Tag::kInt8:
        d.TakeTag();
        return static_cast<T>(d.Take<int8_t>());
      case Tag::kInt64:
        d.TakeTag();
        return static_cast<T>(d.Take<int64_t>());
      default:
        return DecodeObject<T>(d);
    }
  }
};

// ---- text -------------------------------------------------------------------------------------------------

inline void EncodeText(Encoder& e, std::string_view text) {
  if (text.size() > std::numeric_limits<int32_t>::max()) {
    e.PutTag(Tag::kBytes);
    e.Put(static_cast<uint64_t>(text.size()));
  } else {
    e.PutTag(Tag::kStr);
    e.Put(static_cast<uint32_t>(text.size()));
  }
  e.PutData(text.data(), text.size());
}

template <>
struct Value<std::string> {
  static void Encode(Encoder& e, std::string_view value) { EncodeText(e, value); }
  static std::string Decode(Decoder& d) {
    const Tag tag = d.Peek();
    if (tag != Tag::kStr && tag != Tag::kBytes) return DecodeObject<std::string>(d);
    d.TakeTag();
    const size_t n = tag == Tag::kStr ? d.Take<uint32_t>() : static_cast<size_t>(d.Take<uint64_t>());
    return std::string(reinterpret_cast<const char*>(d.Advance(n)), n);
  }
};

// ---- rows of numbers or bytes -----------------------------------------------------------------------------

/// What stands before the elements.
template <typename E>
void EncodeRowHead(Encoder& e, size_t n, const std::vector<size_t>* shape = nullptr) {
  if constexpr (kIsByte<E>) {
    e.PutTag(Tag::kBytes);
    e.Put(static_cast<uint64_t>(n));
  } else {
    e.PutTag(Tag::kArray);
    e.Put(DtypeOf<E>());
    e.Put('C');
    if (shape == nullptr) {
      e.Put(uint8_t{1});
      e.Put(static_cast<uint64_t>(n));
    } else {
      e.Put(static_cast<uint8_t>(shape->size()));
      for (const size_t extent : *shape) e.Put(static_cast<uint64_t>(extent));
    }
    e.Align();
  }
}

template <typename E>
void EncodeRow(Encoder& e, const E* data, size_t n, const std::vector<size_t>* shape = nullptr) {
  EncodeRowHead<E>(e, n, shape);
  e.PutData(data, n * sizeof(E));
}

/// The next value's data as a row of E, in place; false: it has another form.
template <typename E>
bool TakeRow(Decoder& d, const unsigned char** data, size_t* count, std::vector<size_t>* shape) {
  const Tag tag = d.Peek();
  const Decoder start = d;
  if constexpr (sizeof(E) == 1) {
    if (tag == Tag::kBytes || tag == Tag::kStr) {
      d.TakeTag();
      *count = tag == Tag::kStr ? d.Take<uint32_t>() : static_cast<size_t>(d.Take<uint64_t>());
      *data = d.Advance(*count);
      return true;
    }
  }
  if (tag != Tag::kArray) return false;
  d.TakeTag();
  ArrayView a = d.TakeArray();
  const bool same = kIsByte<E> ? a.dtype.size == 1 : a.dtype.canonical == DtypeOf<E>();
  if (!same || (a.order != 'C' && a.shape.size() > 1)) {
    d = start;
    return false;
  }
  *data = a.data;
  *count = a.count;
  *shape = std::move(a.shape);
  return true;
}

template <typename E, typename A>
struct Value<std::vector<E, A>, std::enable_if_t<kIsElement<E>>> {
  using Vector = std::vector<E, A>;
  static void Encode(Encoder& e, const Vector& value) { EncodeRow(e, value.data(), value.size()); }
  static Vector Decode(Decoder& d) {
    const unsigned char* data = nullptr;
    size_t count = 0;
    std::vector<size_t> shape;
    const Decoder start = d;
    if (!TakeRow<E>(d, &data, &count, &shape)) return DecodeObject<Vector>(d);
    if (shape.size() > 1) {
      throw ConversionError("it is " + DescribeNext(start) + ", which does not convert to " +
                            TypeName<Vector>() + ": take a ray::View of the elements, which knows the shape");
    }
    Vector value(count);
    if (count != 0) std::memcpy(value.data(), data, count * sizeof(E));
    return value;
  }
};

template <typename E>
struct Value<View<E>> {
  static_assert(kIsElement<E>, "ray-mpi: a ray::View is of numbers or bytes");
  static void Encode(Encoder& e, const View<E>& value) {
    const std::vector<size_t> shape = value.shape();
    EncodeRow(e, value.data(), value.size(), &shape);
  }
  static View<E> Decode(Decoder& d) {
    const unsigned char* data = nullptr;
    size_t count = 0;
    std::vector<size_t> shape;
    if (!TakeRow<E>(d, &data, &count, &shape)) return FromObject(d);
    std::shared_ptr<const void> keep = d.Keep();
    if (keep == nullptr || reinterpret_cast<uintptr_t>(data) % alignof(E) != 0) {
      return Own(std::vector<E>(count), data, std::move(shape));
    }
    return View<E>(reinterpret_cast<const E*>(data), count, std::move(shape), std::move(keep));
  }

 private:
  static View<E> Own(std::vector<E> elements, const unsigned char* data, std::vector<size_t> shape) {
    const auto owner = std::make_shared<std::vector<E>>(std::move(elements));
    if (data != nullptr && !owner->empty()) std::memcpy(owner->data(), data, owner->size() * sizeof(E));
    return View<E>(owner->data(), owner->size(), std::move(shape), owner);
  }
  // Numbers of another type, or a list of them: converted, in memory of the View's own.
  static View<E> FromObject(Decoder& d) { return Own(DecodeObject<std::vector<E>>(d), nullptr, {}); }
};

}  // namespace internal
}  // namespace v5
}  // namespace ray
