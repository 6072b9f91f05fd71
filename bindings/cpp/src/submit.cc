// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/submit.h"

#include <algorithm>
#include <utility>

#include "bindings/cpp/src/objects.h"
#include "bindings/cpp/src/registry.h"
#include "bindings/cpp/src/session.h"

namespace rmpi::cpp {
namespace {

constexpr size_t kMostSpecial = 1024;  // templates of one function that are kept

TaskTemplate Template(const Function& f, const abi::TaskOptions& options) {
  TaskTemplate t;
  t.function_id = f.id;
  t.function_name = f.name;
  t.name = options.name.size == 0 ? f.name : options.name.str();
  t.language = f.language;
  t.max_retries = options.max_retries;
  t.retry_exceptions = options.retry_exceptions != 0;
  bool has_cpu = false;
  for (uint64_t i = 0; i < options.resource_count; ++i) {
    t.resources.emplace_back(options.resources[i].name.str(), options.resources[i].amount);
    has_cpu |= t.resources.back().first == "CPU";
  }
  if (!has_cpu) t.resources.emplace_back("CPU", 1.0);
  std::sort(t.resources.begin(), t.resources.end());
  return t;
}

// Options as a key: what makes two templates different.
std::string KeyOf(const TaskTemplate& t) {
  std::string key = t.name;
  key.append(1, '\0').append(std::to_string(t.max_retries)).append(t.retry_exceptions ? "r" : "");
  for (const auto& [name, amount] : t.resources) {
    key.append(1, '\0').append(name).append(1, '=').append(std::to_string(amount));
  }
  return key;
}

TemplateHandle Prepared(CoreWorker* core, const Function& f, const abi::TaskOptions* options) {
  const std::lock_guard<std::mutex> lock(f.mutex);
  if (f.epoch != Session::Get().epoch()) {
    f.plain = core->Prepare(Template(f, abi::TaskOptions{}));
    f.special.clear();
    f.epoch = Session::Get().epoch();
  }
  if (options == nullptr) return f.plain;
  const TaskTemplate t = Template(f, *options);
  std::string key = KeyOf(t);
  const auto known = f.special.find(key);
  if (known != f.special.end()) return known->second;
  if (f.special.size() >= kMostSpecial) f.special.clear();  // a program that names each task differently
  TemplateHandle made = core->Prepare(t);
  f.special.emplace(std::move(key), made);
  return made;
}

}  // namespace

uint32_t RegisterFunction(const abi::Function* function) { return Registry::Get().Add(*function) ? 1 : 0; }

const void* FindFunction(void (*address)()) { return Registry::Get().FindAddress(address); }

const void* FindPythonFunction(abi::Text module, abi::Text name) {
  return Registry::Get().Python(module.view(), name.view());
}

abi::Text DescribeFunction(const void* function) { return static_cast<const Function*>(function)->text; }

abi::Code Submit(const void* function, const abi::TaskOptions* options, const abi::TaskArgs* args,
                 abi::Handle* out) {
  const InCore core;
  if (!core) return FailNotConnected();
  const Function& f = *static_cast<const Function*>(function);
  if (!f.clash.empty()) return Fail(abi::kFunctionNotFound, f.clash);
  TaskArgs list;
  list.size = SizeOf(args->list);
  list.write = [args](std::byte* dest) { Gather(args->list, dest); };
  if (args->ref_count != 0) list.refs = BorrowedRefs(args->refs, args->ref_count).Copies();
  if (args->list.ref_count != 0) list.nested = BorrowedRefs(args->list.refs, args->list.ref_count).Copies();
  for (const std::vector<Ref>* refs : {&list.refs, &list.nested}) {
    for (const Ref& ref : *refs) {
      if (!core->Knows(ref)) return FailStaleRef();
    }
  }
  if (!core->HasRoom()) {
    if (const abi::Code code = WaitForRoom(core.get()); code != abi::kOk) return code;
  }
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
