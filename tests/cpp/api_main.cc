// SPDX-License-Identifier: Apache-2.0
#include "tests/cpp/api_main.h"

#include <gtest/gtest.h>
#include <ray/api.h>
#include <unistd.h>

#include <string_view>

namespace test {
namespace {
Run given;
}
const Run& Given() { return given; }

std::filesystem::path SharedFolder(const std::string& name) {
  const std::filesystem::path folder =
      given.shared / ("ray-mpi-cpp-api-" + name + "-" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.substr(0, 8) == "--nodes=") test::given.nodes = std::stoi(std::string(word.substr(8)));
    if (word.substr(0, 9) == "--shared=") test::given.shared = word.substr(9);
  }
  ray::RayConfig config;
  config.head_args = {"--num-cpus", "2", "--num-gpus", "2", "--object-store-memory", "256M"};
  ray::Init(config, argc, argv);
  const int failed = RUN_ALL_TESTS();
  ray::Shutdown();
  return failed;
}
