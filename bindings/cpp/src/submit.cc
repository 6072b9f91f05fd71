// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/submit.h"

#include <algorithm>
#include <utility>

#include "bindings/cpp/src/groups.h"
#include "bindings/cpp/src/objects.h"
#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/session.h"

namespace rmpi::cpp {
namespace {

TaskTemplate Template(CoreWorker* core, const Function& f, const abi::TaskOptions& options) {
  TaskTemplate t;
  t.function_id = f.id;
  t.function_name = f.name;
  t.name = options.name.size == 0 ? f.name : options.name.str();
  t.language = f.language;
  t.max_retries = options.max_retries;
  t.retry_exceptions = options.retry_exceptions != 0;
  t.resources = ResourcesOf(options.resources, options.resource_count);
  const bool has_cpu =
      std::any_of(t.resources.begin(), t.resources.end(), [](const auto& r) { return r.first == "CPU"; });
  if (!has_cpu) t.resources.emplace_back("CPU", 1.0);
  std::sort(t.resources.begin(), t.resources.end());
  Place(core, options.placement, &t);
  return t;
}

TemplateHandle Prepared(CoreWorker* core, const Function& f, const abi::TaskOptions* options) {
  const uint64_t epoch = Session::Get().epoch();
  if (options == nullptr) {
    return f.templates.Plain(epoch, false,
                             [&] { return core->Prepare(Template(core, f, abi::TaskOptions{})); });
  }
  const TaskTemplate t = Template(core, f, *options);
  return f.templates.Special(epoch, KeyOf(t), [&] { return core->Prepare(t); });
}

}  // namespace

ResourceList ResourcesOf(const abi::Resource* resources, uint64_t count) {
  ResourceList list;
  for (uint64_t i = 0; i < count; ++i) list.emplace_back(resources[i].name.str(), resources[i].amount);
  std::sort(list.begin(), list.end());
  return list;
}

std::string KeyOf(const TaskTemplate& t) {
  std::string key = t.name;
  key.append(1, '\0').append(std::to_string(t.max_retries)).append(t.retry_exceptions ? "r" : "");
  key.append(1, '\0')
      .append(std::to_string(t.group))
      .append(1, '.')
      .append(std::to_string(t.bundle))
      .append(t.capture ? "c" : "");
  for (const auto& [name, amount] : t.resources) {
    key.append(1, '\0').append(name).append(1, '=').append(std::to_string(amount));
  }
  return key;
}

uint32_t RegisterFunction(const abi::Function* function) { return Registry::Get().Add(*function) ? 1 : 0; }

const void* FindFunction(void (*address)()) { return Registry::Get().FindAddress(address); }

const void* FindPythonFunction(abi::Text module, abi::Text name) {
  return Registry::Get().Python(module.view(), name.view());
}

const void* FindMethod(const void* method, uint64_t size, abi::Text type) {
  return Registry::Get().FindMethod({static_cast<const char*>(method), static_cast<size_t>(size)},
                                    type.view());
}

const void* FindPythonMethod(abi::Text name) { return Registry::Get().PythonMethod(name.view()); }

abi::Text DescribeFunction(const void* function) { return static_cast<const Function*>(function)->text; }

abi::Code TakeArgs(CoreWorker* core, const abi::TaskArgs& args, TaskArgs* list) {
  list->size = SizeOf(args.list);
  list->write = [&args](std::byte* dest) { Gather(args.list, dest); };
  if (args.ref_count != 0) list->refs = BorrowedRefs(args.refs, args.ref_count).Copies();
  if (args.list.ref_count != 0) list->nested = BorrowedRefs(args.list.refs, args.list.ref_count).Copies();
  for (const std::vector<Ref>* refs : {&list->refs, &list->nested}) {
    for (const Ref& ref : *refs) {
      if (!core->Knows(ref)) return FailStaleRef();
    }
  }
  return core->HasRoom() ? abi::kOk : WaitForRoom(core);
}

abi::Code Submit(const void* function, const abi::TaskOptions* options, const abi::TaskArgs* args,
                 abi::Handle* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  const Function& f = *static_cast<const Function*>(function);
  if (!f.clash.empty()) return Fail(abi::kFunctionNotFound, f.clash);
  TaskArgs list;
  if (const abi::Code code = TakeArgs(core.get(), *args, &list); code != abi::kOk) return code;
  const TemplateHandle handle = Prepared(core.get(), f, options);
  thread_local std::vector<Ref> returns;
  Status status;
  do {
    status = core->Submit(handle, list, &returns);
  } while (status.code() == StatusCode::kInterrupted);
  if (!status.ok()) return Fail(status);
  *out = returns[0].Release();
  returns.clear();
  return abi::kOk;
}

}  // namespace rmpi::cpp
