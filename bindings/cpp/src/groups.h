// SPDX-License-Identifier: Apache-2.0
// Placement groups for the table. A group is its public id here.
#pragma once

#include "bindings/cpp/src/failure.h"

namespace rmpi::cpp {

// The runtime's number of a group; 0: no group, or no id.
uint32_t GroupNumber(abi::Text id);

// Where a task or an actor runs: there, or if it names no group, in that of the task that submits it, should
// that capture what it submits.
void Place(CoreWorker* core, const abi::InGroup& placement, TaskTemplate* t);

abi::Code CreateGroup(const abi::Group* wanted, abi::Group* out);
abi::Code RemoveGroup(abi::Text id);
abi::Code FindGroups(abi::Text id, abi::Text name, const abi::Group** out, uint64_t* count);
abi::Code GroupReady(abi::Text id, abi::Handle* out);

}  // namespace rmpi::cpp
