// SPDX-License-Identifier: Apache-2.0
// library_driver PATH...: calls the functions of the libraries there, and prints what comes back.
#include <iostream>

#include "tests/cpp/programs/library_functions.h"

int LibPlus(int, int) { return -1; }
double LibSum(ray::View<double>) { return -1; }
int LibThrow() { return -1; }
int LibNested(int) { return -1; }
int LibTwo() { return -1; }
int LibClash() { return -1; }
RAY_REMOTE(LibPlus, LibSum, LibThrow, LibNested, LibTwo, LibClash);

template <typename Call>
void Show(const char* name, Call&& call) {
  try {
    const auto value = ray::Get(call());
    std::cout << name << " = " << *value << "\n";
  } catch (const ray::RayException& e) {
    std::cout << name << ": " << e.what() << "\n";
  }
}

int main(int argc, char** argv) {
  ray::RayConfig config;
  config.head_args = {"--num-cpus", "2", "--object-store-memory", "128M"};
  config.code_search_path = {argv + 1, argv + argc};
  ray::Init(config);
  Show("LibPlus", [] { return ray::Task(LibPlus).Remote(1, 2); });
  Show("LibSum", [] { return ray::Task(LibSum).Remote(std::vector<double>(1000, 2.0)); });
  Show("LibThrow", [] { return ray::Task(LibThrow).Remote(); });
  Show("LibNested", [] { return ray::Task(LibNested).Remote(5); });
  Show("LibTwo", [] { return ray::Task(LibTwo).Remote(); });
  Show("LibShared", [] { return ray::Task(LibShared).Remote(); });
  Show("LibClash", [] { return ray::Task(LibClash).Remote(); });
  const auto actor = ray::Actor(LibActor::Create).Remote(5);
  Show("LibActor::Add", [&] { return actor.Task(&LibActor::Add).Remote(1); });
  Show("LibActor::Twice", [&] { return actor.Task(&LibActor::Twice).Remote(); });
}
