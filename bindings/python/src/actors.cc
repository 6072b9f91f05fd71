// SPDX-License-Identifier: Apache-2.0
// Actors for Python: creation, names, death. A handle is an ObjectRef; ray_mpi/actor.py wraps it.
#include <optional>

#include "bindings/python/src/args.h"
#include "bindings/python/src/core_call.h"
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"
#include "bindings/python/src/submit.h"

namespace rmpi::python {
namespace {

// (handle, None); or, if the name is taken: (handle of the actor that has it, its `about`).
nb::tuple CreateActor(nb::handle caller, const nb::tuple& args, const nb::dict& kwargs,
                      const std::string& name, const std::string& ray_namespace, const nb::bytes& about,
                      bool detached) {
  CoreWorker* core = Session::Get().CoreOrStart();
  const TemplateHandle handle = BoundTemplate(caller);
  std::vector<PyObject*> values;
  for (nb::handle arg : args) values.push_back(arg.ptr());
  nb::object names = Steal(PyTuple_New(static_cast<Py_ssize_t>(kwargs.size())));
  Py_ssize_t i = 0;
  for (const auto& [key, value] : kwargs) {
    PyTuple_SET_ITEM(names.ptr(), i++, nb::borrow(key).release().ptr());
    values.push_back(value.ptr());
  }
  ArgsEncoder encoder;
  encoder.Encode(core, values.data(), args.size(), names.ptr(), IsForeign(caller));
  const TaskArgs list = encoder.Take();
  const ActorOptions options{name, ray_namespace, Blob::Copy(AsBytes(about)), detached};
  Ref actor;
  Blob taken;
  const auto create = [&] { return core->CreateActor(handle, list, options, &actor, &taken); };
  const Status status = name.empty() && !detached ? create() : Unlocked(create);
  const bool exists = status.code() == StatusCode::kExists;
  if (!exists) CheckStatus(status);
  return nb::make_tuple(WrapRef(std::move(actor)), exists ? nb::object(FromBlob(taken)) : nb::none());
}

void KillActor(nb::handle actor, bool no_restart) {
  CheckStatus(Session::Get().core()->KillActor(LiveRef(actor.ptr()), no_restart));
}

// (handle, about), or None.
nb::object FindActor(const std::string& ray_namespace, const std::string& name) {
  CoreWorker* core = Session::Get().CoreOrStart();
  Ref actor;
  Blob about;
  const Status status = Unlocked([&] { return core->FindActor(ray_namespace, name, &actor, &about); });
  if (status.code() == StatusCode::kNotFound) return nb::none();
  CheckStatus(status);
  return nb::make_tuple(WrapRef(std::move(actor)), FromBlob(about));
}

// [(namespace, name)] of one namespace, or, for None, of all.
nb::list ListActors(const std::optional<std::string>& ray_namespace) {
  CoreWorker* core = Session::Get().CoreOrStart();
  std::vector<std::pair<std::string, std::string>> names;
  CheckStatus(Unlocked([&] { return core->ListActors(ray_namespace ? &*ray_namespace : nullptr, &names); }));
  nb::list out;
  for (const auto& [where, name] : names) out.append(nb::make_tuple(where, name));
  return out;
}

nb::bytes ActorIdOf(nb::handle actor) {
  const auto id = ActorBinary(IdOf(actor.ptr()));
  return nb::bytes(reinterpret_cast<const char*>(id.data()), id.size());
}

// (handle, incarnation) of this worker's actor, or None.
nb::object CurrentActor() {
  CoreWorker* core = Session::Get().core();
  const ObjectId id = core->actor();
  if (id.nil()) return nb::none();
  Ref actor;
  CheckStatus(core->Borrow(id, Ref(), &actor));
  return nb::make_tuple(WrapRef(std::move(actor)), core->actor_incarnation());
}

}  // namespace

void InitActors(nb::module_& m) {
  m.def("create_actor", &CreateActor, "caller"_a, "args"_a, "kwargs"_a, "name"_a, "namespace"_a, "about"_a,
        "detached"_a);
  m.def("kill_actor", &KillActor, "actor"_a, "no_restart"_a);
  m.def("find_actor", &FindActor, "namespace"_a, "name"_a);
  m.def("list_actors", &ListActors, "namespace"_a.none());
  m.def("actor_id_of", &ActorIdOf, "actor"_a);
  m.def(
      "is_actor_call", [](nb::handle ref) { return IdOf(ref.ptr()).task.kind() == TaskKind::kActorCall; },
      "ref"_a);
  m.def("current_actor", &CurrentActor);
  m.def("actor_incarnation", [] { return Session::Get().core()->actor_incarnation(); });
}

}  // namespace rmpi::python
