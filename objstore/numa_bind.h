// SPDX-License-Identifier: Apache-2.0
// Memory binding of a mapping to NUMA nodes, through hwloc.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/status.h"

namespace rmpi::objstore {

// Binds [address, address + bytes) to the NUMA nodes with these OS indexes ("0", "0-1", "0,2") and asks the
// system whether it holds. Call it before the first touch: pages that exist stay where they are.
Status BindToNumaNodes(void* address, uint64_t bytes, const std::string& nodes);

}  // namespace rmpi::objstore
