// SPDX-License-Identifier: Apache-2.0
// Failures on their way to the caller: a Code, and the details that the thread can ask for.
#pragma once

#include <string>

#include "bindings/cpp/include/ray/api/abi.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::cpp {

namespace abi = ray::internal::abi;

abi::Code Fail(abi::Code code, std::string message);
abi::Code Fail(const Status& status);
// For an object whose value is an error.
abi::Code FailWith(const ValueView& error, const Ref& ref);

const abi::ErrorInfo* LastError();

}  // namespace rmpi::cpp
