// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/actors.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "bindings/cpp/src/groups.h"
#include "bindings/cpp/src/objects.h"
#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/session.h"
#include "bindings/cpp/src/submit.h"

namespace rmpi::cpp {
namespace {

using nlohmann::json;

std::string Dump(const json& value) { return value.dump(-1, ' ', true, json::error_handler_t::replace); }

// The class as handles of all languages name it.
std::string ClassId(const Function& f) { return f.language == kCpp ? "cpp:" + f.class_name : f.id; }

// What every language's worker reads before it makes the actor.
std::string Facts(const abi::ActorOptions& options, const std::string& ray_namespace) {
  json facts;
  facts["name"] = options.name.size == 0 ? json() : json(options.name.str());
  facts["namespace"] = ray_namespace;
  facts["max_concurrency"] = options.max_concurrency;
  return Dump(facts);
}

// What every language reads of an actor that it finds by name.
Blob About(const Function& f, bool ordered) {
  json about;
  about["class_id"] = ClassId(f);
  about["options"] = {{"max_task_retries", 0}, {"max_pending_calls", -1}, {"ordered", ordered}};
  const std::string text = Dump(about);
  return Blob::Copy({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

void ReadAbout(const Blob& about, std::string* class_id, bool* ordered) {
  const std::string_view text(reinterpret_cast<const char*>(about.data()), about.size());
  const json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return;
  *class_id = value.value("class_id", "");
  *ordered = value.value("options", json::object()).value("ordered", true);
}

TaskTemplate CreationTemplate(CoreWorker* core, const Function& f, const abi::ActorOptions& options,
                              const std::string& ray_namespace) {
  TaskTemplate t;
  t.function_id = f.id;
  t.function_name = f.class_name;
  t.name = f.class_name;
  t.language = f.language;
  t.max_retries = options.max_restarts;
  t.creates_actor = true;
  t.retry_list = Facts(options, ray_namespace);
  t.resources = ResourcesOf(options.resources, options.resource_count);
  if (t.resources.empty()) t.strategy = Strategy::kSpread;  // it fills no node
  Place(core, options.placement, &t);
  return t;
}

TaskTemplate CallTemplate(const Function& f, bool ordered, const abi::TaskOptions& options) {
  TaskTemplate t;
  t.function_id = f.id;
  t.function_name = f.name;
  t.name = options.name.size == 0 ? f.name : options.name.str();
  t.language = f.language;
  t.max_retries = options.max_retries;
  t.retry_exceptions = options.retry_exceptions != 0;
  t.ordered = ordered;
  return t;
}

TemplateHandle PreparedCall(CoreWorker* core, const Function& f, bool ordered,
                            const abi::TaskOptions* options) {
  const uint64_t epoch = Session::Get().epoch();
  if (options == nullptr) {
    abi::TaskOptions none;
    none.max_retries = 0;
    return f.templates.Plain(epoch, !ordered, [&] { return core->Prepare(CallTemplate(f, ordered, none)); });
  }
  const TaskTemplate t = CallTemplate(f, ordered, *options);
  return f.templates.Special(epoch, KeyOf(t) + (ordered ? "o" : "u"), [&] { return core->Prepare(t); });
}

void HandOut(Ref handle, bool ordered, std::string class_id, abi::Actor* out) {
  thread_local std::string kept;
  kept = std::move(class_id);
  out->handle = handle.Release();
  out->ordered = ordered ? 1 : 0;
  out->class_name = kept;
}

// The namespace that was given, else the job's.
abi::Code NamespaceOr(const abi::Text& given, std::string* out) {
  if (given.size != 0) {
    *out = given.str();
    return abi::kOk;
  }
  return Session::Get().Namespace(out);
}

abi::Code IsDetached(abi::Lifetime given, bool* detached) {
  *detached = given == abi::kDetached;
  return given == abi::kDefaultLifetime ? Session::Get().DetachesActors(detached) : abi::kOk;
}

}  // namespace

abi::Code CreateActor(const void* factory, const abi::ActorOptions* options, const abi::TaskArgs* args,
                      abi::Actor* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  const Function& f = *static_cast<const Function*>(factory);
  if (!f.clash.empty()) return Fail(abi::kFunctionNotFound, f.clash);
  TaskArgs list;
  if (const abi::Code code = TakeArgs(core.get(), *args, &list); code != abi::kOk) return code;
  ActorOptions named;
  if (const abi::Code code = NamespaceOr(options->ray_namespace, &named.ray_namespace); code != abi::kOk)
    return code;
  if (const abi::Code code = IsDetached(options->lifetime, &named.detached); code != abi::kOk) return code;
  named.name = options->name.str();
  const bool ordered = options->max_concurrency <= 1;
  if (!named.name.empty()) named.about = About(f, ordered);
  const TaskTemplate t = CreationTemplate(core.get(), f, *options, named.ray_namespace);
  const TemplateHandle handle =
      f.templates.Special(Session::Get().epoch(), KeyOf(t) + t.retry_list, [&] { return core->Prepare(t); });
  Ref actor;
  Blob about;
  const Status status = core->CreateActor(handle, list, named, &actor, &about);
  if (status.code() == StatusCode::kExists) {
    return Fail(abi::kError,
                fmt::format("The name {} (namespace={}) is already taken. Please use a different name or "
                            "get the existing actor using ray::GetActor",
                            named.name, named.ray_namespace));
  }
  if (!status.ok()) return Fail(status);
  HandOut(std::move(actor), ordered, ClassId(f), out);
  return abi::kOk;
}

abi::Code CallActor(abi::Handle actor, uint32_t ordered, const void* method, const abi::TaskOptions* options,
                    const abi::TaskArgs* args, abi::Handle* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  const Function& f = *static_cast<const Function*>(method);
  if (!f.clash.empty()) return Fail(abi::kFunctionNotFound, f.clash);
  const BorrowedRef target(actor);
  if (!core->Knows(*target)) return FailStaleRef();
  TaskArgs list;
  if (const abi::Code code = TakeArgs(core.get(), *args, &list); code != abi::kOk) return code;
  const TemplateHandle handle = PreparedCall(core.get(), f, ordered != 0, options);
  thread_local std::vector<Ref> returns;
  const Status status = core->Call(*target, handle, list, -1, &returns);
  if (!status.ok()) return Fail(status);
  *out = returns[0].Release();
  returns.clear();
  return abi::kOk;
}

abi::Code KillActor(abi::Handle actor, uint32_t no_restart) {
  const InCore core;
  if (!core) return FailNotConnected();
  const BorrowedRef target(actor);
  if (!core->Knows(*target)) return FailStaleRef();
  return Fail(core->KillActor(*target, no_restart != 0));
}

abi::Code FindActor(abi::Text ray_namespace, abi::Text name, abi::Actor* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  std::string where;
  if (const abi::Code code = NamespaceOr(ray_namespace, &where); code != abi::kOk) return code;
  Ref actor;
  Blob about;
  const Status status = core->FindActor(where, name.str(), &actor, &about);
  if (status.code() == StatusCode::kNotFound) return abi::kOk;
  if (!status.ok()) return Fail(status);
  std::string class_id;
  bool ordered = true;
  ReadAbout(about, &class_id, &ordered);
  HandOut(std::move(actor), ordered, std::move(class_id), out);
  return abi::kOk;
}

abi::Code CheckInActor() {
  const InCore core;
  if (!core) return FailNotConnected();
  if (!core->actor().nil()) return abi::kOk;
  return Fail(abi::kError,
              "ray::ExitActor() was called where there is no actor: it is for the methods of actors");
}

uint32_t ActorWasRestarted() {
  const InCore core;
  return core && !core->actor().nil() && core->actor_incarnation() > 0 ? 1 : 0;
}

}  // namespace rmpi::cpp
