// SPDX-License-Identifier: Apache-2.0
// The file that a head with --listen writes, for nodes of other hosts that join: where it listens, and the
// run's secret. Only its user can read it; it goes with the run.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/status.h"
#include "runtime/transport/transport.h"

namespace rmpi {

struct ListenFile {
  uint64_t run_id = 0;
  std::string version;  // of the build
  std::string address;
  RunSecret secret{};
};

Status WriteListenFile(const std::string& path, const ListenFile& file);
Status ReadListenFile(const std::string& path, ListenFile* out);
// If it still is that run's.
void RemoveListenFile(const std::string& path, uint64_t run_id);

}  // namespace rmpi
