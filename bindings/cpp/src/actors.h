// SPDX-License-Identifier: Apache-2.0
// The table's functions on actors; see abi.h. Any thread.
#pragma once

#include "bindings/cpp/src/failure.h"

namespace rmpi::cpp {

abi::Code CreateActor(const void* factory, const abi::ActorOptions* options, const abi::TaskArgs* args,
                      abi::Actor* out);
abi::Code CallActor(abi::Handle actor, uint32_t ordered, const void* method, const abi::TaskOptions* options,
                    const abi::TaskArgs* args, abi::Handle* out);
abi::Code KillActor(abi::Handle actor, uint32_t no_restart);
abi::Code FindActor(abi::Text ray_namespace, abi::Text name, abi::Actor* out);
abi::Code CheckInActor();
uint32_t ActorWasRestarted();

}  // namespace rmpi::cpp
