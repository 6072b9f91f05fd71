// SPDX-License-Identifier: Apache-2.0
// What each rank does in the tests under mpirun: a scenario prints one line "rank <r> ok <what>" when it
// holds.
#pragma once

#include <string>

namespace rmpi {

// Returns the process's exit status.
int RunScenario(const std::string& name);

}  // namespace rmpi
