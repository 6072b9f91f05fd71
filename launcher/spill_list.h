// SPDX-License-Identifier: Apache-2.0
// `ray-mpi spill ls FILE...`: what is in files of spilled objects.
#pragma once

#include <string>
#include <vector>

namespace rmpi::launcher {

// Prints a table for people where stdout is a terminal, else one line per object, fields separated by tabs:
// file, object, attempt, offset, size, checksum. 0; 1 if a file is damaged or none of ours.
int ListSpillFiles(const std::vector<std::string>& paths);

}  // namespace rmpi::launcher
