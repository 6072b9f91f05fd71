// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/status.h"

#include <system_error>

namespace rmpi {

Status Status::Io(const std::string& what, int err) {
  return {StatusCode::kIo, what + ": " + std::generic_category().message(err)};
}

}  // namespace rmpi
