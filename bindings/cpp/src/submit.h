// SPDX-License-Identifier: Apache-2.0
// The table's functions on remote functions and their calls; see abi.h. Any thread.
#pragma once

#include "bindings/cpp/src/failure.h"

namespace rmpi::cpp {

uint32_t RegisterFunction(const abi::Function* function);
const void* FindFunction(void (*address)());
const void* FindPythonFunction(abi::Text module, abi::Text name);
abi::Text DescribeFunction(const void* function);
abi::Code Submit(const void* function, const abi::TaskOptions* options, const abi::TaskArgs* args,
                 abi::Handle* out);

}  // namespace rmpi::cpp
