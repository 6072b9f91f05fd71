// SPDX-License-Identifier: Apache-2.0
// What this process does, besides giving back what it has leased, when others wait for room in its node's
// object store. Set by the language's binding, which knows what keeps objects without need.
#pragma once

namespace rmpi {

// For all sessions of the process from now on; null: nothing, and no call is under way any more. It is called
// by any thread, with the core lock held, and must return at once.
void OnStorePressure(void (*fn)());

}  // namespace rmpi
