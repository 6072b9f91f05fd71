// SPDX-License-Identifier: Apache-2.0
// ScopedEnvironment: variables that a library reads while it is loaded, gone again afterwards, so that the
// user's own programs, our children, do not inherit settings that were meant for us. Main thread only, before
// there are others.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

namespace rmpi {

class ScopedEnvironment {
 public:
  ScopedEnvironment() = default;
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;
  ~ScopedEnvironment() {
    for (const std::string& name : ours_) unsetenv(name.c_str());
  }
  // What the user has set stays as it is.
  void Default(const char* name, const std::string& value) {
    if (getenv(name) != nullptr) return;
    setenv(name, value.c_str(), /*overwrite=*/0);
    ours_.push_back(name);
  }

 private:
  std::vector<std::string> ours_;
};

}  // namespace rmpi
