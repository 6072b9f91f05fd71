// SPDX-License-Identifier: Apache-2.0
/// \file
/// ActorHandle<T>: a counted handle on an actor, and the calls of its methods.
#pragma once

#include <ray/api/arguments.h>
#include <ray/api/call_options.h>
#include <ray/api/function.h>
#include <ray/api/xlang_function.h>

#include <string>
#include <type_traits>
#include <utility>

namespace ray {
inline namespace v5 {
namespace internal {

/// \cond internal

/// An actor as its handles know it.
struct ActorRef {
  RefHandle ref;
  bool ordered = true;
  std::string class_name;

  static ActorRef From(const abi::Actor& a) {
    return {RefHandle(a.handle), a.ordered != 0, a.class_name.str()};
  }
  const RefHandle& Checked() const {
    if (ref.get() == nullptr) {
      throw RayException("this ray::ActorHandle is empty: it was made by default or moved from");
    }
    return ref;
  }
};

template <typename F>
struct MethodResult {
  using type = typename MethodTraits<F>::Result;
};
template <typename R>
struct MethodResult<PyActorMethod<R>> {
  using type = R;
};

/// \endcond

/// One call of a method with its options; made by ActorHandle::Task. SetName: of the call. SetResource(s):
/// checked, and without effect, as in Ray: what an actor holds is said when it is created.
template <typename F>
class ActorTaskCaller : public CallOptions<ActorTaskCaller<F>> {
 public:
  using Result = typename MethodResult<F>::type;  ///< of the method

  /// The library's.
  ActorTaskCaller(const ActorRef& actor, const void* method)
      : actor_(actor.Checked()), ordered_(actor.ordered ? 1 : 0), method_(method) {}

  /// How often the call is made again when the actor's worker or node died while it ran and the actor is
  /// restarted (an extension of Ray's API; default 0, -1: always).
  ActorTaskCaller& SetMaxRetries(int max_retries) {
    this->CheckCount("SetMaxRetries", max_retries);
    max_retries_ = max_retries;
    return this->Changed();
  }
  /// Whether a call that threw is made again, too, as long as retries are left (an extension; default false).
  ActorTaskCaller& SetRetryExceptions(bool retry) {
    retry_exceptions_ = retry;
    return this->Changed();
  }

  /// Makes the call and returns at once. Arguments as of ray::internal::TaskCaller::Remote. The calls of one
  /// process start in the order in which they were made, also if an earlier one waits for its arguments;
  /// those of an actor with SetMaxConcurrency above 1 as their arguments come. \throws RayException when the
  /// handle is of a session that has ended.
  template <typename... Args>
  ObjectRef<Result> Remote(Args&&... args) {
    ArgumentList list(sizeof...(Args));
    if constexpr (MethodTraits<F>::kIsMethod) {
      ArgumentsOf<typename MethodTraits<F>::Parameters>::AddTo(list, args...);
    } else {
      (list.AddAsIs(args), ...);
    }
    const abi::TaskArgs in = list.Take();
    abi::Handle h = nullptr;
    if (this->has_options_) {
      (void)this->Resources();  // for its errors
      abi::TaskOptions options;
      options.name = this->name_;
      options.max_retries = max_retries_;
      options.retry_exceptions = retry_exceptions_ ? 1 : 0;
      Check(GetApi().call_actor(actor_.get(), ordered_, method_, &options, &in, &h));
    } else {
      Check(GetApi().call_actor(actor_.get(), ordered_, method_, nullptr, &in, &h));
    }
    return ObjectRef<Result>(RefHandle(h, method_));
  }

 private:
  RefHandle actor_;
  uint32_t ordered_;
  const void* method_;
  bool retry_exceptions_ = false;
  int max_retries_ = 0;
};

/// \cond internal

/// What handles of all languages share.
template <typename Self>
class AnyActorHandle {
 public:
  AnyActorHandle() = default;
  explicit AnyActorHandle(ActorRef actor) : actor_(std::move(actor)) {}

  static bool IsActorHandle() { return true; }
  std::string ID() const { return actor_.ref.Id(); }
  bool operator==(const Self& o) const { return actor_.ref.get() == o.actor().ref.get(); }
  bool operator!=(const Self& o) const { return !(*this == o); }
  void Kill() { Kill(true); }
  void Kill(bool no_restart) { Check(GetApi().kill_actor(actor_.Checked().get(), no_restart ? 1 : 0)); }

  const ActorRef& actor() const { return actor_; }

  template <typename Packer>
  void msgpack_pack(Packer& packer) const {
    if (actor_.ref.get() == nullptr) {
      packer.pack_nil();
      return;
    }
    actor_.ref.NotePacked();
    const std::string body = ID() + (actor_.ordered ? '\1' : '\0') + actor_.class_name;
    packer.pack_ext(body.size(), kActorExtension);
    packer.pack_ext_body(body.data(), static_cast<uint32_t>(body.size()));
  }
  void msgpack_unpack(const msgpack::object& o) {
    if (o.is_nil()) {
      actor_ = ActorRef();
      return;
    }
    if (o.type != msgpack::type::EXT || o.via.ext.type() != kActorExtension || o.via.ext.size <= kRefIdSize) {
      throw msgpack::type_error();
    }
    const char* const body = o.via.ext.data();
    actor_.ref = RefHandle::FromId(body, CurrentOuter());
    actor_.ordered = body[kRefIdSize] != 0;
    actor_.class_name.assign(body + kRefIdSize + 1, o.via.ext.size - kRefIdSize - 1);
  }

 private:
  ActorRef actor_;
};

/// \endcond

}  // namespace internal

/// A handle on an actor, which is a T. Copies count; an actor lives as long as some process has a handle on
/// it, or a call to it pending. It may be passed to remote functions and methods, returned, put inside of
/// other values (containers, members with MSGPACK_DEFINE), and dropped by any thread.
template <typename T, bool kIsXlang = false>
class ActorHandle : public internal::AnyActorHandle<ActorHandle<T, kIsXlang>> {
 public:
  using internal::AnyActorHandle<ActorHandle>::AnyActorHandle;

  /// A call of `method` to be made: handle.Task(&T::Method).Remote(arguments...); of overloads RAY_FUNC picks
  /// one. \throws RayFunctionNotFound when no RAY_REMOTE of this program names it; RayException when the
  /// handle is empty.
  template <typename F>
  internal::ActorTaskCaller<F> Task(F method) const {
    static_assert(
        internal::MethodTraits<F>::kIsMethod,
        "ray-mpi: ActorHandle::Task takes pointers to methods, &Class::Method (no static functions, no "
        "lambdas)");
    if constexpr (internal::MethodTraits<F>::kIsMethod) {
      static_assert(std::is_base_of_v<typename internal::MethodTraits<F>::Class, T>,
                    "ray-mpi: this is a method of another class than the actor's");
    }
    return internal::ActorTaskCaller<F>(this->actor(), internal::FindMethod(method));
  }
};

/// A handle on an actor of Python, or of any class: methods are named, not pointed to.
template <>
class ActorHandle<void, true> : public internal::AnyActorHandle<ActorHandle<void, true>> {
 public:
  using internal::AnyActorHandle<ActorHandle>::AnyActorHandle;

  /// A call of a Python method to be made: handle.Task(PyActorMethod<int>{"add"}).Remote(arguments...).
  /// Arguments and result as of ray::Task(PyFunction).
  template <typename R>
  internal::ActorTaskCaller<PyActorMethod<R>> Task(PyActorMethod<R> method) const {
    return internal::ActorTaskCaller<PyActorMethod<R>>(
        actor(), internal::GetApi().find_python_method(method.function_name));
  }
};

/// A handle on an actor of Python.
using ActorHandleXlang = ActorHandle<void, true>;

}  // namespace v5
}  // namespace ray
