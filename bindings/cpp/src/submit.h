// SPDX-License-Identifier: Apache-2.0
// The table's functions on remote functions and their calls; see abi.h. Any thread.
#pragma once

#include <string>

#include "bindings/cpp/src/failure.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::cpp {

uint32_t RegisterFunction(const abi::Function* function);
const void* FindFunction(void (*address)());
const void* FindMethod(const void* method, uint64_t size, abi::Text type);
const void* FindPythonFunction(abi::Text module, abi::Text name);
const void* FindPythonMethod(abi::Text name);
abi::Text DescribeFunction(const void* function);
abi::Code Submit(const void* function, const abi::TaskOptions* options, const abi::TaskArgs* args,
                 abi::Handle* out);

// ---- for actors.cc

// The list as the core takes it; it refers to `args`. Waits until there is room for
// one more. Fails for refs of a session that has ended.
abi::Code TakeArgs(CoreWorker* core, const abi::TaskArgs& args, TaskArgs* list);
// What options with resources say; sorted.
ResourceList ResourcesOf(const abi::Resource* resources, uint64_t count);
// A template's name, retries and resources as a key.
std::string KeyOf(const TaskTemplate& t);

}  // namespace rmpi::cpp
