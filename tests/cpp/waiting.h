// SPDX-License-Identifier: Apache-2.0
// What tests of actors have in common: errors of calls, names that nobody has, waiting for what comes soon.
#pragma once

#include <ray/api.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

namespace test {

// The text of the RayActorException that a call's result throws.
template <typename T>
std::string ActorError(const ray::ObjectRef<T>& ref) {
  try {
    ref.Get(30'000);
  } catch (const ray::RayActorException& e) {
    return e.what();
  }
  return "(nothing was thrown)";
}

template <typename Condition>
bool Soon(Condition&& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

inline std::string RandomName(const std::string& what) {
  static int count = 0;
  return what + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

}  // namespace test
