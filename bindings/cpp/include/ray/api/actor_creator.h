// SPDX-License-Identifier: Apache-2.0
/// \file
/// ray::Actor(factory).SetName(..).Remote(arguments...), ray::GetActor, and what an actor can say of itself.
#pragma once

#include <ray/api/actor_handle.h>
#include <ray/api/ray_config.h>
#include <ray/api/ray_remote.h>

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ray {
inline namespace v5 {
namespace internal {

/// \cond internal
template <typename F>
struct CreatedHandle {
  using type = ActorHandle<typename ActorTypeOf<F>::type>;
};
template <>
struct CreatedHandle<PyActorClass> {
  using type = ActorHandleXlang;
};
/// \endcond

/// An actor to be made, with its options; made by ray::Actor. SetResource: what it holds for its life;
/// without any it asks for nothing, and such actors are spread over the nodes.
template <typename F>
class ActorCreator : public CallOptions<ActorCreator<F>> {
 public:
  using Handle = typename CreatedHandle<F>::type;  ///< on the actor

  explicit ActorCreator(const void* factory) : factory_(factory) {}  ///< the library's

  /// A name for ray::GetActor, in the job's namespace, which no living actor there has. "": none.
  ActorCreator& SetName(std::string name) { return SetName(std::move(name), ""); }
  /// The same in this namespace; "": the job's.
  ActorCreator& SetName(std::string name, std::string ray_namespace) {
    namespace_ = std::move(ray_namespace);
    return CallOptions<ActorCreator>::SetName(std::move(name));
  }
  /// How often the actor is made again, from its factory's arguments, when its worker or node has died
  /// (default 0, -1: always).
  ActorCreator& SetMaxRestarts(int max_restarts) {
    this->CheckCount("SetMaxRestarts", max_restarts);
    max_restarts_ = max_restarts;
    return *this;
  }
  /// How many of its calls run at once, each in a thread of its own (default 1).
  ActorCreator& SetMaxConcurrency(int max_concurrency) {
    if (max_concurrency < 1) {
      throw RayException("SetMaxConcurrency: " + std::to_string(max_concurrency) + " is not at least 1");
    }
    max_concurrency_ = max_concurrency;
    return *this;
  }
  /// Detached or not, whatever RayConfig::default_actor_lifetime says. A detached actor lives until it is
  /// killed or ends by itself, without any handle and beyond its creator's job: give it a name.
  ActorCreator& SetLifetime(ActorLifetime lifetime) {
    lifetime_ = LifetimeOf(lifetime);
    return *this;
  }

  /// Makes the actor; returns at once, or, if it has a name or is detached, when that is known to be free.
  /// Arguments as of ray::internal::TaskCaller::Remote. What the factory throws is thrown by the first use of
  /// a call's result, as RayActorException. \throws RayException when the name is taken, or for resources
  /// that cannot be.
  template <typename... Args>
  Handle Remote(Args&&... args) {
    ArgumentList list(sizeof...(Args));
    if constexpr (std::is_same_v<F, PyActorClass>) {
      (list.AddAsIs(args), ...);
    } else {
      ArgumentsOf<typename FunctionTraits<F>::Parameters>::AddTo(list, args...);
    }
    const abi::TaskArgs in = list.Take();
    const std::vector<abi::Resource> resources = this->Resources();
    abi::ActorOptions options;
    options.name = this->name_;
    options.ray_namespace = namespace_;
    options.resources = resources.data();
    options.resource_count = resources.size();
    options.max_restarts = max_restarts_;
    options.max_concurrency = static_cast<uint32_t>(max_concurrency_);
    options.lifetime = lifetime_;
    options.placement = this->Placement();
    abi::Actor actor;
    Check(GetApi().create_actor(factory_, &options, &in, &actor));
    return Handle(ActorRef::From(actor));
  }

 private:
  const void* factory_;
  std::string namespace_;
  int max_restarts_ = 0;
  int max_concurrency_ = 1;
  abi::Lifetime lifetime_ = abi::kDefaultLifetime;
};

/// What GetActor returns: a std::optional that also converts to others of the kind (Ray's is a
/// boost::optional).
template <typename Handle>
class FoundActor : public std::optional<Handle> {
 public:
  using std::optional<Handle>::optional;  ///< as of std::optional

  /// Another kind of optional with the same handle.
  template <typename Other, typename = std::enable_if_t<std::is_same_v<typename Other::value_type, Handle> &&
                                                        !std::is_base_of_v<std::optional<Handle>, Other>>>
  operator Other() const {
    return this->has_value() ? Other(**this) : Other();
  }
};

/// \cond internal
template <typename Handle>
FoundActor<Handle> FindActor(const std::string& name, const std::string& ray_namespace) {
  if (name.empty()) return {};
  abi::Actor found;
  Check(GetApi().find_actor(ray_namespace, name, &found));
  if (found.handle == nullptr) return {};
  return Handle(ActorRef::From(found));
}
/// \endcond

}  // namespace internal

/// An actor to be made: ray::Actor(Counter::Create).Remote(arguments...). `factory` is a free or static
/// member function that returns a new T*, and that RAY_REMOTE names; of overloads RAY_FUNC picks one. The
/// actor is its T; when it ends by itself (no handle is left, ray::ExitActor), it is deleted. \throws
/// RayFunctionNotFound when no RAY_REMOTE of this program names it.
template <typename F>
internal::ActorCreator<F> Actor(F factory) {
  static_assert(internal::kIsFactory<F>,
                "ray-mpi: ray::Actor takes a function that returns a pointer to a new actor, T* Create(...) "
                "(no lambdas, "
                "no functors)");
  return internal::ActorCreator<F>(internal::FindFunction(factory));
}

/// The same for a Python class; arguments go as those of ray::Task(PyFunction).
inline internal::ActorCreator<PyActorClass> Actor(const PyActorClass& actor_class) {
  return internal::ActorCreator<PyActorClass>(
      internal::GetApi().find_python_class(actor_class.module_name, actor_class.class_name));
}

/// The actor of this name in a namespace ("": the job's), if there is one; waits for the head, at most 60 s.
/// What it is a T of is for the caller to know: calls of another class's methods fail. \throws RayException
/// before Init, or when the head does not answer.
template <typename T>
internal::FoundActor<ActorHandle<T>> GetActor(const std::string& name,
                                              const std::string& ray_namespace = "") {
  return internal::FindActor<ActorHandle<T>>(name, ray_namespace);
}
/// The same for an actor of Python.
inline internal::FoundActor<ActorHandleXlang> GetActor(const std::string& name,
                                                       const std::string& ray_namespace = "") {
  return internal::FindActor<ActorHandleXlang>(name, ray_namespace);
}

/// Ends the actor that runs this method, on purpose: it is not restarted; this call and all that have not
/// started fail with RayActorException. Does not return. Only on the thread that runs the method. \throws
/// RayException where there is no actor.
[[noreturn]] inline void ExitActor() {
  internal::Check(internal::GetApi().check_in_actor());
  throw internal::ActorExit();
}

/// Whether the actor of this process has been restarted; false where there is no actor.
inline bool WasCurrentActorRestarted() { return internal::GetApi().actor_was_restarted() != 0; }

}  // namespace v5
}  // namespace ray
