// SPDX-License-Identifier: Apache-2.0
/// \file
/// ObjectRef<T>: a counted handle on an object, its value there or still to come; and ray::Put, Get and
/// GetView.
#pragma once

#include <ray/api/value.h>

#include <array>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ray {
inline namespace v5 {

template <typename T>
class ObjectRef;

/// \cond internal
namespace internal {

/// One count on an object of the runtime, or nothing; and, where this process knows it, whose result the
/// object is.
class RefHandle {
 public:
  RefHandle() = default;
  /// Takes over the count. `function`: as find_function names it.
  explicit RefHandle(abi::Handle h, const void* function = nullptr) : handle_(h), function_(function) {}
  RefHandle(const RefHandle& o) : handle_(o.Copy()), function_(o.function_) {}
  RefHandle(RefHandle&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)), function_(o.function_) {}
  RefHandle& operator=(RefHandle o) noexcept {
    std::swap(handle_, o.handle_);
    std::swap(function_, o.function_);
    return *this;
  }
  ~RefHandle() {
    if (handle_ != nullptr) GetApi().ref_drop(handle_);
  }

  abi::Handle get() const { return handle_; }
  /// Another count, or null.
  abi::Handle Copy() const { return handle_ == nullptr ? nullptr : GetApi().ref_copy(handle_); }
  abi::Handle Checked() const {
    if (handle_ == nullptr)
      throw RayException("this ray::ObjectRef is empty: it was made by default or moved from");
    return handle_;
  }
  std::string Id() const {
    if (handle_ == nullptr) return {};
    std::string id(kRefIdSize, '\0');
    GetApi().ref_id(handle_, reinterpret_cast<unsigned char*>(id.data()));
    return id;
  }
  /// For messages: "the value of object <id>, the result of <function>".
  std::string Describe() const {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string text = "the value of object ";
    for (const char c : Id()) {
      text.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      text.push_back(kHex[static_cast<unsigned char>(c) & 15]);
    }
    if (function_ != nullptr) text += ", the result of " + GetApi().describe_function(function_).str() + ",";
    return text;
  }
  static RefHandle FromId(const void* id, abi::Handle outer) {
    abi::Handle h = nullptr;
    Check(GetApi().ref_from_id(static_cast<const unsigned char*>(id), outer, &h));
    return RefHandle(h);
  }
  static RefHandle FromId(const std::string& id) {
    if (id.empty()) return {};
    if (id.size() != kRefIdSize) {
      throw RayException("an object id has 28 bytes, not " + std::to_string(id.size()));
    }
    return FromId(id.data(), nullptr);
  }

  /// It stands in the value that is being packed; in a packing of the user's own it is held until the job
  /// ends.
  void NotePacked() const {
    if (Encoder::Current() != nullptr) {
      Encoder::Current()->AddRef(Copy());
    } else {
      Check(GetApi().ref_pin(handle_));
    }
  }
  template <typename Stream>
  void Pack(msgpack::packer<Stream>& packer) const {
    if (handle_ == nullptr) {
      packer.pack_nil();
      return;
    }
    NotePacked();
    const std::string id = Id();
    packer.pack_ext(id.size(), kRefExtension);
    packer.pack_ext_body(id.data(), static_cast<uint32_t>(id.size()));
  }
  void Unpack(const msgpack::object& o) {
    if (o.is_nil()) {
      *this = RefHandle();
      return;
    }
    if (o.type != msgpack::type::EXT || o.via.ext.type() != kRefExtension || o.via.ext.size != kRefIdSize) {
      throw msgpack::type_error();
    }
    *this = FromId(o.via.ext.data(), CurrentOuter());
  }

 private:
  abi::Handle handle_ = nullptr;
  const void* function_ = nullptr;
};

/// The bytes of a value while it is read.
class Fetched {
 public:
  Fetched() = default;
  Fetched(const Fetched&) = delete;
  Fetched& operator=(const Fetched&) = delete;
  ~Fetched() {
    if (out_.owner.words[0] != nullptr) GetApi().owner_drop(&out_.owner);
  }
  abi::ValueOut* out() { return &out_; }
  Decoder decoder(abi::Handle outer) const {
    return Decoder(out_.data, static_cast<size_t>(out_.size), &out_.owner, outer);
  }

 private:
  abi::ValueOut out_;
};

template <typename T>
T Read(Decoder decoder, const RefHandle& ref) {
  try {
    return Value<T>::Decode(decoder);
  } catch (const ConversionError& e) {
    throw RayException(ref.Describe() + " cannot be read: " + e.what());
  }
}

template <typename T>
T GetAs(const RefHandle& ref, int64_t timeout_ms) {
  const abi::Handle h = ref.Checked();
  Fetched value;
  Check(GetApi().get(&h, 1, timeout_ms, value.out()));
  return Read<T>(value.decoder(h), ref);
}

/// What ObjectRef<T>::View() reads as.
template <typename T>
struct ViewElement {
  using type = typename RowOf<T>::Element;
};
template <>
struct ViewElement<std::string> {
  using type = char;
};

}  // namespace internal
/// \endcond

/// A reference to an object: its value is there, or is being made by a task. Copies count; when the last one
/// in the whole run is gone, so is the object. It may be passed to remote functions, put inside of other
/// values (containers, members with MSGPACK_DEFINE), and dropped by any thread.
template <typename T>
class ObjectRef {
 public:
  using value_type = T;  ///< of the object's value

  /// An empty one, which refers to nothing.
  ObjectRef() = default;
  /// The object of an ID(), while somebody holds a ref to it. \throws RayException if it is not known any
  /// more.
  explicit ObjectRef(const std::string& id) : ref_(internal::RefHandle::FromId(id)) {}
  explicit ObjectRef(internal::RefHandle ref) : ref_(std::move(ref)) {}  ///< the library's

  static bool IsObjectRef() { return true; }  ///< always; Ray has it

  /// 28 bytes that name the object in this run; "" for an empty ref.
  std::string ID() const { return ref_.Id(); }

  bool operator==(const ObjectRef& o) const { return ref_.get() == o.ref_.get(); }  ///< the same object
  bool operator!=(const ObjectRef& o) const { return !(*this == o); }               ///< not the same object

  /// See ray::Get.
  std::shared_ptr<T> Get() const { return Get(-1); }
  /// See ray::Get. Milliseconds; negative: for ever.
  std::shared_ptr<T> Get(const int& timeout_ms) const {
    return std::make_shared<T>(internal::GetAs<T>(ref_, timeout_ms));
  }

  /// See ray::GetView.
  template <typename U = T, typename E = typename internal::ViewElement<U>::type>
  ray::View<E> View(int timeout_ms = -1) const {
    static_assert(!std::is_void_v<E>,
                  "ray-mpi: a View is of std::vector of numbers or bytes, or of std::string");
    return internal::GetAs<ray::View<E>>(ref_, timeout_ms);
  }

  const internal::RefHandle& handle() const { return ref_; }  ///< the library's

  /// Makes refs members of values. In a packing of the user's own, the object is held until the job ends.
  template <typename Packer>
  void msgpack_pack(Packer& packer) const {
    ref_.Pack(packer);
  }
  /// The other way. \throws msgpack::type_error when it is no ref.
  void msgpack_unpack(const msgpack::object& o) { ref_.Unpack(o); }

 private:
  internal::RefHandle ref_;
};

/// A reference to a task without a result: Get waits for its end.
template <>
class ObjectRef<void> {
 public:
  using value_type = void;  ///< there is no value

  ObjectRef() = default;  ///< an empty one, which refers to nothing
  /// The task of an ID(), while somebody holds a ref to it. \throws RayException if it is not known any more.
  explicit ObjectRef(const std::string& id) : ref_(internal::RefHandle::FromId(id)) {}
  explicit ObjectRef(internal::RefHandle ref) : ref_(std::move(ref)) {}  ///< the library's

  static bool IsObjectRef() { return true; }  ///< always; Ray has it
  std::string ID() const {
    return ref_.Id();
  }  ///< 28 bytes that name the task's end in this run; "" for an empty ref
  bool operator==(const ObjectRef& o) const { return ref_.get() == o.ref_.get(); }  ///< the same task
  bool operator!=(const ObjectRef& o) const { return !(*this == o); }               ///< not the same task

  /// Waits for the task's end; throws what the task threw. See ray::Get.
  void Get() const { Get(-1); }
  /// The same for at most so many milliseconds; negative: for ever. \throws RayTimeoutException
  void Get(const int& timeout_ms) const {
    const internal::abi::Handle h = ref_.Checked();
    internal::Fetched value;
    internal::Check(internal::GetApi().get(&h, 1, timeout_ms, value.out()));
  }

  const internal::RefHandle& handle() const { return ref_; }  ///< the library's

  /// Makes refs members of values, see ObjectRef.
  template <typename Packer>
  void msgpack_pack(Packer& packer) const {
    ref_.Pack(packer);
  }
  /// The other way. \throws msgpack::type_error when it is no ref.
  void msgpack_unpack(const msgpack::object& o) { ref_.Unpack(o); }

 private:
  internal::RefHandle ref_;
};

/// \cond internal
namespace internal {

template <typename T>
struct RefTarget {
  static constexpr bool kIsRef = false;
  using type = T;
};
template <typename T>
struct RefTarget<ObjectRef<T>> {
  static constexpr bool kIsRef = true;
  using type = T;
};
template <typename T>
constexpr bool kIsObjectRef = RefTarget<std::decay_t<T>>::kIsRef;

template <typename T>
struct Value<ObjectRef<T>> {
  static void Encode(Encoder& e, const ObjectRef<T>& ref) {
    const RefHandle& handle = ref.handle();
    if (handle.get() == nullptr) {
      e.PutTag(Tag::kNone);
      return;
    }
    const std::string id = handle.Id();
    e.PutTag(Tag::kRef);
    e.PutBytes(id.data(), id.size());
    e.AddRef(handle.Copy());
  }
  static ObjectRef<T> Decode(Decoder& d) {
    if (d.Peek() != Tag::kRef) return DecodeObject<ObjectRef<T>>(d);
    d.TakeTag();
    return ObjectRef<T>(RefHandle::FromId(d.Advance(kRefIdSize), d.outer()));
  }
};

template <typename T>
RefHandle PutValue(const T& value) {
  CheckValueType<T>();
  Encoder encoder;
  Value<T>::Encode(encoder, value);
  const abi::ValueIn in = encoder.Take();
  abi::Handle h = nullptr;
  Check(GetApi().put(&in, &h));
  return RefHandle(h);
}

}  // namespace internal
/// \endcond

/// Stores a value and returns its reference. Up to 100 KiB it stays in this process; a larger one is written
/// once, in place, into the object store of this node. \throws RayObjectStoreFullException after 2 s without
/// room.
template <typename T>
ObjectRef<T> Put(const T& value) {
  static_assert(
      !internal::kIsObjectRef<T>,
      "ray-mpi: ray::Put of an ObjectRef: it is one already (put it into a std::vector to store the ref)");
  return ObjectRef<T>(internal::PutValue(value));
}

/// Stores `count` elements that `fill(T* memory, size_t count)` makes where they will lie, in the object
/// store of this node: there is no copy (an extension of Ray's API). The memory is what ray::GetView gives
/// later, here and in other processes of the node. It is not zeroed, and fill must write all of it. An
/// exception of fill is thrown on, and then there is no object. T: a number or a byte type. \throws
/// RayObjectStoreFullException as Put.
template <typename T = std::byte, typename Fill>
ObjectRef<View<T>> PutBuffer(size_t count, Fill&& fill) {
  static_assert(internal::kIsElement<T>, "ray-mpi: a buffer is of numbers or bytes");
  struct Making {
    Fill& fill;
    size_t count;
    std::exception_ptr error;
  } making{fill, count, nullptr};
  internal::Encoder encoder;
  internal::EncodeRowHead<T>(encoder, count);
  encoder.PutLater(
      count * sizeof(T),
      [](void* context, void* memory) {
        auto& m = *static_cast<Making*>(context);
        try {
          m.fill(static_cast<T*>(memory), m.count);
        } catch (...) {  // the table's functions let no exception through
          m.error = std::current_exception();
        }
      },
      &making);
  const internal::abi::ValueIn in = encoder.Take();
  internal::abi::Handle h = nullptr;
  internal::Check(internal::GetApi().put(&in, &h));
  ObjectRef<View<T>> ref{internal::RefHandle(h)};
  if (making.error) std::rethrow_exception(making.error);
  return ref;
}

/// The value of an object; waits until it is there.
/// \throws RayTaskException when the task that makes it threw, and the other exceptions of ray_exception.h.
template <typename T>
std::shared_ptr<T> Get(const ObjectRef<T>& object) {
  return object.Get();
}

/// The same, for at most `timeout_ms` milliseconds (negative: for ever; 0: only a look).
/// \throws RayTimeoutException when the value was not there in time.
template <typename T>
std::shared_ptr<T> Get(const ObjectRef<T>& object, const int& timeout_ms) {
  return object.Get(timeout_ms);
}

/// Waits for the end of a task without a result. \throws RayTaskException when the task threw, and so on.
inline void Get(const ObjectRef<void>& object) { object.Get(); }
/// The same, for at most `timeout_ms` milliseconds. \throws RayTimeoutException when the task had not ended
/// in time.
inline void Get(const ObjectRef<void>& object, const int& timeout_ms) { object.Get(timeout_ms); }

/// \cond internal
namespace internal {

template <typename T>
class FetchedMany {
 public:
  FetchedMany(const std::vector<ObjectRef<T>>& refs, int64_t timeout_ms) : values_(refs.size()) {
    handles_.reserve(refs.size());
    for (const ObjectRef<T>& ref : refs) handles_.push_back(ref.handle().Checked());
    if (!refs.empty()) Check(GetApi().get(handles_.data(), handles_.size(), timeout_ms, values_.data()));
  }
  FetchedMany(const FetchedMany&) = delete;
  FetchedMany& operator=(const FetchedMany&) = delete;
  ~FetchedMany() {
    for (abi::ValueOut& v : values_) {
      if (v.owner.words[0] != nullptr) GetApi().owner_drop(&v.owner);
    }
  }
  Decoder decoder(size_t i) const {
    return Decoder(values_[i].data, static_cast<size_t>(values_[i].size), &values_[i].owner, handles_[i]);
  }

 private:
  std::vector<abi::Handle> handles_;
  std::vector<abi::ValueOut> values_;
};

}  // namespace internal
/// \endcond

/// All values, in the order of the refs; waits until all are there, for at most `timeout_ms` milliseconds
/// together. A task's exception is thrown as soon as it is known, also while others run. \throws
/// RayTimeoutException when not all were there in time.
template <typename T>
std::vector<std::shared_ptr<T>> Get(const std::vector<ObjectRef<T>>& objects, const int& timeout_ms) {
  const internal::FetchedMany<T> values(objects, timeout_ms);
  std::vector<std::shared_ptr<T>> out;
  out.reserve(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) {
    out.push_back(std::make_shared<T>(internal::Read<T>(values.decoder(i), objects[i].handle())));
  }
  return out;
}
/// The same without a limit.
template <typename T>
std::vector<std::shared_ptr<T>> Get(const std::vector<ObjectRef<T>>& objects) {
  return Get<T>(objects, -1);
}

/// Waits for the end of tasks without results, for at most `timeout_ms` milliseconds together.
inline void Get(const std::vector<ObjectRef<void>>& objects, const int& timeout_ms) {
  const internal::FetchedMany<void> values(objects, timeout_ms);
}
/// The same without a limit.
inline void Get(const std::vector<ObjectRef<void>>& objects) { Get(objects, -1); }

/// All values by ID(), for ids whose refs are still held somewhere, for at most `timeout_ms` milliseconds
/// together.
template <typename T>
std::vector<std::shared_ptr<T>> Get(const std::vector<std::string>& ids, const int& timeout_ms) {
  std::vector<ObjectRef<T>> refs;
  refs.reserve(ids.size());
  for (const std::string& id : ids) refs.emplace_back(id);
  return Get<T>(refs, timeout_ms);
}
/// The same without a limit.
template <typename T>
std::vector<std::shared_ptr<T>> Get(const std::vector<std::string>& ids) {
  return Get<T>(ids, -1);
}

/// The elements of a value where they lie, without a copy (an extension of Ray's API): of a std::vector of
/// numbers or bytes, or of a std::string. Milliseconds; negative: for ever.
template <typename T>
auto GetView(const ObjectRef<T>& object, int timeout_ms = -1) {
  return object.View(timeout_ms);
}

}  // namespace v5
}  // namespace ray
