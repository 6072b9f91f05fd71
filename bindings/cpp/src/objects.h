// SPDX-License-Identifier: Apache-2.0
// The table's functions on objects, refs and the memory of values; see abi.h. Any thread.
#pragma once

#include "bindings/cpp/src/failure.h"

namespace rmpi::cpp {

abi::Code Put(const abi::ValueIn* in, abi::Handle* out);
abi::Code Get(const abi::Handle* handles, uint64_t count, int64_t timeout_ms, abi::ValueOut* out);
abi::Code Wait(const abi::Handle* handles, uint64_t count, uint64_t num_ready, int64_t timeout_ms,
               unsigned char* marks);

abi::Handle RefCopy(abi::Handle h);
void RefDrop(abi::Handle h);
void RefId(abi::Handle h, unsigned char* id);
abi::Code RefFromId(const unsigned char* id, abi::Handle outer, abi::Handle* out);
abi::Code RefPin(abi::Handle h);

void OwnerCopy(const abi::Owner* owner, abi::Owner* out);
void OwnerDrop(abi::Owner* owner);

// For a ref of a session that has ended.
abi::Code FailStaleRef();

}  // namespace rmpi::cpp
