// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace rmpi {

// Of this host, as its kernel has it.
std::string HostName();

}  // namespace rmpi
