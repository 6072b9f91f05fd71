// SPDX-License-Identifier: Apache-2.0
// `ray-mpi doctor`: looks at everything that makes a launch fail, hang or crawl, and says what to do about
// it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/node/detect.h"

namespace rmpi {

enum class Health { kOk, kWarn, kFail };

struct DoctorCheck {
  std::string check;  // one word
  Health health = Health::kOk;
  std::string text;    // what was found
  std::string advice;  // what to do; empty if all is well
};

struct DoctorOptions {
  std::string mpi_plugin;            // path of the library that holds all MPI calls; "" if there is none
  std::vector<std::string> command;  // what shall be run, for the srun line; e.g. {"ray-mpi", "app.py"}
  DetectOptions detect;
  // Runs a command and gives its output; tests replace it.
  std::function<std::optional<std::string>(const std::vector<std::string>&)> output_of;
};

std::vector<DoctorCheck> DoctorReport(const DoctorOptions& options);

}  // namespace rmpi
