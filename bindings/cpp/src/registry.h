// SPDX-License-Identifier: Apache-2.0
// The remote functions that this process knows: those that RAY_REMOTE of the program and of loaded libraries
// named, and the Python functions that were asked for. Entries are made and never removed, so a pointer to
// one stays good. Any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bindings/cpp/include/ray/api/abi.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::cpp {

namespace abi = ray::internal::abi;

inline constexpr uint8_t kPython = 1;
inline constexpr uint8_t kCpp = 2;

struct Function {
  uint8_t language = kCpp;
  std::string id;     // for the runtime: "cpp:<name>" or "py:<module>:<name>"
  std::string name;   // without spaces that mean nothing
  std::string type;   // C++: of the function pointer
  std::string place;  // C++: "file:line of library"
  std::string text;   // for messages: name and place
  std::string clash;  // C++: another function has the same name; says where both are
  void (*address)() = nullptr;
  abi::Thunk thunk = nullptr;

  // Guarded by `mutex`: the templates of its calls in session `epoch`, by options; "" has the defaults.
  mutable std::mutex mutex;
  mutable uint64_t epoch = 0;
  mutable TemplateHandle plain;
  mutable std::unordered_map<std::string, TemplateHandle> special;
};

class Registry {
 public:
  static Registry& Get();

  bool Add(const abi::Function& f);
  const Function* FindAddress(void (*address)());
  const Function* FindId(const std::string& id);
  const Function* Python(std::string_view module, std::string_view name);

  // A library that was compiled for another version wanted to register.
  void Refuse(const std::string& text);
  // Why RAY_REMOTEs failed so far, or "".
  std::string refusals();
  // What is wrong with the program's own RAY_REMOTEs: clashing names; or "".
  std::string clashes();
  size_t cpp_functions();
  // For a message: the names that are there, the nearest to `name` first.
  std::string Known(const std::string& name);

 private:
  std::mutex mutex_;
  std::deque<Function> functions_;
  std::unordered_map<void (*)(), const Function*> by_address_;
  std::unordered_map<std::string, Function*> by_id_;
  size_t cpp_ = 0;
  std::vector<std::string> refusals_;
};

// The name as RAY_REMOTE's text gives it, without what people write differently: spaces, a leading & or ::.
std::string NormalName(std::string_view text);
// A function that no RAY_REMOTE names: as well as its module's symbols tell.
std::string DescribeAddress(void (*address)());
// "cpp:<normal name>"
std::string CppFunctionId(std::string_view name);

}  // namespace rmpi::cpp
