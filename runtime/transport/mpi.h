// SPDX-License-Identifier: Apache-2.0
// The MPI transport: how to load it. MPI itself lives in the plugin libray-mpi-mpi.so and nowhere else, so
// that a program without a launch needs no MPI library at all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/transport/transport.h"

namespace rmpi {

// The version of this build, as ranks compare it at bring-up.
std::string BuildVersion();

// dlopens the plugin and joins the launch, with Open MPI's parameters set as we need them where the user has
// not set them (they are gone from the environment afterwards). Blocks in MPI_Init until every rank is there:
// guard it with a BringUpAlarm. All ranks fail together, with the same message, when they do not run the same
// version.
struct MpiLaunch {
  std::unique_ptr<Transport> transport;
  RunSecret secret{};              // drawn by rank 0
  std::string version_info;        // the MPI library's name
  std::vector<std::string> hosts;  // on rank 0: of each rank
};
Status LoadMpiTransport(const std::string& plugin_path, MpiLaunch* out,
                        const std::string& own_version = BuildVersion());

// While it lives, a bring-up that takes longer than `seconds` ends the process with status `exit_status` and
// one line on stderr. Uses SIGALRM, no thread. At most one at a time.
class BringUpAlarm {
 public:
  BringUpAlarm(unsigned seconds, int exit_status);
  ~BringUpAlarm();
  BringUpAlarm(const BringUpAlarm&) = delete;
  BringUpAlarm& operator=(const BringUpAlarm&) = delete;
};

// The plugin's one entry point, extern "C" under this name.
struct MpiBringUp {
  std::string own_version;  // in
  Status status;            // out
  MpiLaunch launch;
};
using MpiBringUpFunction = void (*)(MpiBringUp*);
constexpr char kMpiBringUpSymbol[] = "RayMpiBringUp";

}  // namespace rmpi
