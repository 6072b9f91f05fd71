// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/host_name.h"

#include <unistd.h>

namespace rmpi {

std::string HostName() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace rmpi
