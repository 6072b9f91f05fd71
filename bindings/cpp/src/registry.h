// SPDX-License-Identifier: Apache-2.0
// The remote functions, and actors' factories and methods, that this process knows: those that RAY_REMOTE of
// the program and of loaded libraries named, and Python's that were asked for. Entries are made and never
// removed, so a pointer to one stays good. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bindings/cpp/include/ray/api/abi.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::cpp {

namespace abi = ray::internal::abi;

inline constexpr uint8_t kPython = 1;
inline constexpr uint8_t kCpp = 2;

// The templates of one function's calls, by options. Any thread.
class Templates {
 public:
  // The one without options of its own, in session `epoch`; of methods there are two, for unordered actors
  // and others.
  template <class Make>
  TemplateHandle Plain(uint64_t epoch, bool second, Make&& make) {
    const std::lock_guard<std::mutex> lock(mutex_);
    StartEpoch(epoch);
    TemplateHandle& plain = plain_[second ? 1 : 0];
    if (plain == nullptr) plain = make();
    return plain;
  }
  // Of these options, which `key` tells from others.
  template <class Make>
  TemplateHandle Special(uint64_t epoch, std::string key, Make&& make) {
    const std::lock_guard<std::mutex> lock(mutex_);
    StartEpoch(epoch);
    const auto known = special_.find(key);
    if (known != special_.end()) return known->second;
    if (special_.size() >= kMostSpecial) special_.clear();  // a program that names each task differently
    return special_.emplace(std::move(key), make()).first->second;
  }

 private:
  static constexpr size_t kMostSpecial = 1024;

  void StartEpoch(uint64_t epoch) {
    if (epoch_ == epoch) return;
    plain_ = {};
    special_.clear();
    epoch_ = epoch;
  }

  std::mutex mutex_;
  uint64_t epoch_ = 0;
  std::array<TemplateHandle, 2> plain_;
  std::unordered_map<std::string, TemplateHandle> special_;
};

struct Function {
  uint8_t language = kCpp;
  std::string id;          // for the runtime: "cpp:<name>", "py:<module>:<name>", "py:<method>"
  std::string name;        // without spaces that mean nothing
  std::string type;        // C++: of the function pointer
  std::string place;       // C++: "file:line of library"
  std::string text;        // for messages: name and place
  std::string clash;       // C++: another function has the same name; says where both are
  std::string class_name;  // C++ factories and methods: of the actor; Python classes: their name
  std::string method;      // C++ methods: the bytes of the pointer to a member; else ""
  void (*address)() = nullptr;
  abi::Thunk thunk = nullptr;
  mutable Templates templates;

  bool is_factory() const { return language == kCpp && !class_name.empty() && method.empty(); }
  bool is_method() const { return !method.empty(); }
};

class Registry {
 public:
  static Registry& Get();

  bool Add(const abi::Function& f);
  const Function* FindAddress(void (*address)());
  // `bytes` of a pointer to a member, and its type.
  const Function* FindMethod(std::string_view bytes, std::string_view type);
  const Function* FindId(const std::string& id);
  const Function* Python(std::string_view module, std::string_view name);
  const Function* PythonMethod(std::string_view name);

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
  bool AddAgain(Function& first, const abi::Function& f, const std::string& place);
  void Index(const abi::Function& f, Function& entry);
  const Function* MakePython(std::string id, std::string name);

  std::mutex mutex_;
  std::deque<Function> functions_;
  std::unordered_map<void (*)(), const Function*> by_address_;
  std::unordered_map<std::string, const Function*> by_method_;  // bytes and type
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
