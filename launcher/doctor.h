// SPDX-License-Identifier: Apache-2.0
// `ray-mpi doctor`: looks at what a run needs, one line each, and says what to do about what is missing.
#pragma once

#include "launcher/paths.h"

namespace rmpi::launcher {

// 0: a run on this machine will work. 1: something that every run needs is missing.
int RunDoctor(const Paths& paths, const Environment& environment);

}  // namespace rmpi::launcher
