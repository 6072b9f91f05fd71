// SPDX-License-Identifier: Apache-2.0
// What the tests of the API are told about the run: cpp_api_test [--nodes=N] [--shared=FOLDER].
#pragma once

#include <filesystem>
#include <string>

namespace test {

struct Run {
  int nodes = 1;                                                          // of two CPUs and two GPUs each
  std::filesystem::path shared = std::filesystem::temp_directory_path();  // the same on every node
};
const Run& Given();

// A new, empty folder that every node sees.
std::filesystem::path SharedFolder(const std::string& name);

}  // namespace test
