// SPDX-License-Identifier: Apache-2.0
// The text of `ray-mpi --help`.
#pragma once

#include <string>

namespace rmpi::launcher {

std::string HelpText();

}  // namespace rmpi::launcher
