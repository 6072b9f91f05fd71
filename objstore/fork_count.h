// SPDX-License-Identifier: Apache-2.0
// How often this process was forked off since the program's start, counted by a pthread_atfork handler. A
// child that user code forks shares its parent's slot, and must neither take nor release pins there.
#pragma once

#include <cstdint>

namespace rmpi::objstore {

uint32_t ForkCount();

}  // namespace rmpi::objstore
