// SPDX-License-Identifier: Apache-2.0
/// \file
/// Decoder: reads one value after the other from bytes, and gives what has no faster way as a msgpack object.
#pragma once

#include <ray/api/runtime.h>
#include <ray/api/value_tags.h>

#include <complex>
#include <cstring>
#include <limits>
#include <memory>
#include <msgpack.hpp>
#include <sstream>
#include <string>
#include <type_traits>

namespace ray {
inline namespace v5 {
namespace internal {

/// A value that cannot be read as the type that was asked for. Whoever knows the function or object adds
/// that.
class ConversionError : public RayException {
 public:
  using RayException::RayException;
};

/// numpy's character of an element type, or 0.
template <typename T>
constexpr char DtypeOf() {
  if constexpr (std::is_same_v<T, float>) {
    return 'f';
  } else if constexpr (std::is_same_v<T, double>) {
    return 'd';
  } else if constexpr (std::is_same_v<T, std::complex<float>>) {
    return 'F';
  } else if constexpr (std::is_same_v<T, std::complex<double>>) {
    return 'D';
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    constexpr bool kSigned = std::is_signed_v<T>;
    return sizeof(T) == 1   ? (kSigned ? 'b' : 'B')
           : sizeof(T) == 2 ? (kSigned ? 'h' : 'H')
           : sizeof(T) == 4 ? (kSigned ? 'i' : 'I')
                            : (kSigned ? 'l' : 'L');
  } else {
    return 0;
  }
}

struct Dtype {
  size_t size;       ///< in bytes; 0: a type that C++ has no word for
  const char* name;  ///< numpy's
  char canonical;    ///< the character of DtypeOf
};

inline Dtype DescribeDtype(char c) {
  switch (c) {
    case '?':
      return {1, "bool", '?'};
    case 'b':
      return {1, "int8", 'b'};
    case 'B':
      return {1, "uint8", 'B'};
    case 'h':
      return {2, "int16", 'h'};
    case 'H':
      return {2, "uint16", 'H'};
    case 'i':
      return {4, "int32", 'i'};
    case 'I':
      return {4, "uint32", 'I'};
    case 'l':
    case 'q':
      return {8, "int64", 'l'};
    case 'L':
    case 'Q':
      return {8, "uint64", 'L'};
    case 'f':
      return {4, "float32", 'f'};
    case 'd':
      return {8, "float64", 'd'};
    case 'F':
      return {8, "complex64", 'F'};
    case 'D':
      return {16, "complex128", 'D'};
    case 'e':
      return {0, "float16", 'e'};
    default:
      return {0, "of an extended type", c};
  }
}

/// The head of an array, and where its data lies.
struct ArrayView {
  Dtype dtype = {0, "", 0};
  char order = 'C';
  std::vector<size_t> shape;
  size_t count = 1;  ///< elements
  const unsigned char* data = nullptr;
};

class Decoder {
 public:
  /// `owner` keeps the bytes in place; null: they live only as long as the decoder. `outer`: the object whose
  /// value this is, or null.
  Decoder(const void* data, size_t size, const abi::Owner* owner, abi::Handle outer)
      : begin_(static_cast<const unsigned char*>(data)),
        at_(begin_),
        end_(begin_ + size),
        owner_(owner),
        outer_(outer) {}

  bool at_end() const { return at_ == end_; }
  abi::Handle outer() const { return outer_; }
  Tag Peek() const { return at_ == end_ ? throw Truncated() : static_cast<Tag>(*at_); }
  Tag TakeTag() { return static_cast<Tag>(Take<uint8_t>()); }
  template <typename T>
  T Take() {
    T value;
    std::memcpy(&value, Advance(sizeof(T)), sizeof(T));
    return value;
  }
  const unsigned char* Advance(size_t n) {
    if (n > static_cast<size_t>(end_ - at_)) throw Truncated();
    const unsigned char* const p = at_;
    at_ += n;
    return p;
  }

  /// What keeps the bytes in place, or null when nothing does.
  std::shared_ptr<const void> Keep() {
    if (owner_ == nullptr || owner_->words[0] == nullptr) return nullptr;
    if (keep_ == nullptr) {
      auto* const copy = new abi::Owner;
      GetApi().owner_copy(owner_, copy);
      keep_ = std::shared_ptr<const void>(copy, [](const void* p) {
        auto* const held = const_cast<abi::Owner*>(static_cast<const abi::Owner*>(p));
        GetApi().owner_drop(held);
        delete held;
      });
    }
    return keep_;
  }

  /// The array whose tag was taken.
  ArrayView TakeArray() {
    ArrayView a;
    a.dtype = DescribeDtype(Take<char>());
    a.order = Take<char>();
    const auto dimensions = Take<uint8_t>();
    for (uint8_t i = 0; i < dimensions; ++i) {
      const auto n = static_cast<size_t>(Take<uint64_t>());
      a.shape.push_back(n);
      a.count *= n;
    }
    if (a.dtype.size == 0) {
      throw ConversionError(std::string("it is a numpy array ") + a.dtype.name +
                            ", which C++ has no type for");
    }
    const size_t rest = static_cast<size_t>(at_ - begin_) % kDataAlignment;
    if (rest != 0) Advance(kDataAlignment - rest);
    a.data = Advance(a.count * a.dtype.size);
    return a;
  }

  /// The next value as a msgpack object; strings and bytes are not copied. What is behind it is not looked
  /// at.
  msgpack::object TakeObject(msgpack::zone& zone) {
    switch (const Tag tag = TakeTag()) {
      case Tag::kNone:
        return msgpack::object();
      case Tag::kTrue:
      case Tag::kFalse:
        return msgpack::object(tag == Tag::kTrue);
      case Tag::kInt8:
        return msgpack::object(static_cast<int>(Take<int8_t>()));
      case Tag::kInt64:
        return msgpack::object(Take<int64_t>());
      case Tag::kFloat:
        return msgpack::object(Take<double>());
      case Tag::kStr:
        return Raw(Take<uint32_t>(), msgpack::type::STR);
      case Tag::kBytes:
        return Raw(Take<uint64_t>(), msgpack::type::BIN);
      case Tag::kTuple:
      case Tag::kList:
        return List(zone);
      case Tag::kDict:
        return Dict(zone);
      case Tag::kRef:
        return Ref(zone);
      case Tag::kArray:
        return Array(TakeArray(), zone);
      case Tag::kMsgpack: {
        const auto n = static_cast<size_t>(Take<uint64_t>());
        const auto* const data = reinterpret_cast<const char*>(Advance(n));
        return msgpack::unpack(zone, data, n, &ByReference);
      }
      case Tag::kPickle:
        throw ConversionError(
            "it is a Python object in Python's own form, which C++ cannot read: have Python make it of None, "
            "bool, "
            "int, float, str, bytes, lists, dicts and numpy arrays");
      case Tag::kArgument:
      case Tag::kError:
        break;
    }
    throw ConversionError("it was written by something else than this version of ray-mpi");
  }

 private:
  static ConversionError Truncated() {
    return ConversionError("it ends before it should: it was written by something else than ray-mpi");
  }
  static bool ByReference(msgpack::type::object_type, size_t, void*) { return true; }

  msgpack::object Raw(uint64_t n, msgpack::type::object_type type) {
    if (n > std::numeric_limits<uint32_t>::max()) {
      throw ConversionError("it is longer than 4 GiB inside of another value");
    }
    msgpack::object o;
    const auto* const data = reinterpret_cast<const char*>(Advance(static_cast<size_t>(n)));
    o.type = type;
    if (type == msgpack::type::STR) {
      o.via.str = {static_cast<uint32_t>(n), data};
    } else {
      o.via.bin = {static_cast<uint32_t>(n), data};
    }
    return o;
  }

  msgpack::object List(msgpack::zone& zone) {
    const auto n = Take<uint32_t>();
    msgpack::object o = NewArray(n, zone);
    for (uint32_t i = 0; i < n; ++i) o.via.array.ptr[i] = TakeObject(zone);
    return o;
  }

  msgpack::object Dict(msgpack::zone& zone) {
    const auto n = Take<uint32_t>();
    if (n > static_cast<size_t>(end_ - at_)) throw Truncated();
    msgpack::object o;
    o.type = msgpack::type::MAP;
    o.via.map.size = n;
    o.via.map.ptr = static_cast<msgpack::object_kv*>(
        zone.allocate_align(n * sizeof(msgpack::object_kv), alignof(msgpack::object_kv)));
    for (uint32_t i = 0; i < n; ++i) {
      o.via.map.ptr[i].key = TakeObject(zone);
      o.via.map.ptr[i].val = TakeObject(zone);
    }
    return o;
  }

  msgpack::object Ref(msgpack::zone& zone) {
    auto* const data = static_cast<char*>(zone.allocate_no_align(kRefIdSize + 1));
    data[0] = static_cast<char>(kRefExtension);
    std::memcpy(data + 1, Advance(kRefIdSize), kRefIdSize);
    msgpack::object o;
    o.type = msgpack::type::EXT;
    o.via.ext = {static_cast<uint32_t>(kRefIdSize), data};
    return o;
  }

  msgpack::object NewArray(size_t n, msgpack::zone& zone) const {
    // An element takes a byte at least, so a count that cannot be true asks for no memory.
    if (n > static_cast<size_t>(end_ - begin_)) throw Truncated();
    msgpack::object o;
    o.type = msgpack::type::ARRAY;
    o.via.array.size = static_cast<uint32_t>(n);
    o.via.array.ptr = static_cast<msgpack::object*>(
        zone.allocate_align(n * sizeof(msgpack::object), alignof(msgpack::object)));
    return o;
  }

  template <typename T>
  static T At(const unsigned char* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
  }

  static msgpack::object Number(char dtype, const unsigned char* p) {
    switch (dtype) {
      case '?':
        return msgpack::object(*p != 0);
      case 'b':
        return msgpack::object(int{At<int8_t>(p)});
      case 'B':
        return msgpack::object(unsigned{At<uint8_t>(p)});
      case 'h':
        return msgpack::object(int{At<int16_t>(p)});
      case 'H':
        return msgpack::object(unsigned{At<uint16_t>(p)});
      case 'i':
        return msgpack::object(At<int32_t>(p));
      case 'I':
        return msgpack::object(At<uint32_t>(p));
      case 'l':
        return msgpack::object(At<int64_t>(p));
      case 'L':
        return msgpack::object(At<uint64_t>(p));
      case 'f':
        return msgpack::object(At<float>(p));
      case 'd':
        return msgpack::object(At<double>(p));
      default:
        throw ConversionError("complex numbers are read as std::vector or ray::View of std::complex only");
    }
  }

  // Lists in lists, as nested containers read them.
  msgpack::object Array(const ArrayView& a, msgpack::zone& zone) const {
    std::vector<size_t> strides(a.shape.size());
    size_t stride = a.dtype.size;
    for (size_t i = 0; i < a.shape.size(); ++i) {
      const size_t dimension = a.order == 'C' ? a.shape.size() - 1 - i : i;
      strides[dimension] = stride;
      stride *= a.shape[dimension];
    }
    return Dimension(a, strides, 0, a.data, zone);
  }
  msgpack::object Dimension(const ArrayView& a, const std::vector<size_t>& strides, size_t dimension,
                            const unsigned char* at, msgpack::zone& zone) const {
    if (dimension == a.shape.size()) return Number(a.dtype.canonical, at);
    msgpack::object o = NewArray(a.shape[dimension], zone);
    for (size_t i = 0; i < a.shape[dimension]; ++i) {
      o.via.array.ptr[i] = Dimension(a, strides, dimension + 1, at + i * strides[dimension], zone);
    }
    return o;
  }

  const unsigned char* begin_;
  const unsigned char* at_;
  const unsigned char* end_;
  const abi::Owner* owner_;
  abi::Handle outer_;
  std::shared_ptr<const void> keep_;
};

/// The object whose value is being read on this thread: it protects the refs inside.
inline abi::Handle& CurrentOuter() {
  thread_local abi::Handle outer = nullptr;
  return outer;
}

class OuterScope {
 public:
  explicit OuterScope(abi::Handle outer) : previous_(CurrentOuter()) { CurrentOuter() = outer; }
  ~OuterScope() { CurrentOuter() = previous_; }
  OuterScope(const OuterScope&) = delete;
  OuterScope& operator=(const OuterScope&) = delete;

 private:
  abi::Handle previous_;
};

/// A msgpack object for a message: its text, cut.
inline std::string Show(const msgpack::object& o) {
  constexpr size_t kMost = 120;
  std::ostringstream out;
  out << o;
  std::string text = out.str();
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

}  // namespace internal
}  // namespace v5
}  // namespace ray
