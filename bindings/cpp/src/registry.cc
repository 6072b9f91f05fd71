// SPDX-License-Identifier: Apache-2.0
#include "bindings/cpp/src/registry.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <utility>

namespace rmpi::cpp {
namespace {

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string ModuleOf(void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "the program";
  return info.dli_fname;
}

std::string MethodBytes(const abi::Function& f) {
  return {static_cast<const char*>(f.method), static_cast<size_t>(f.method_size)};
}

// How many letters must change: for "did you mean".
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({replaced, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

}  // namespace

std::string NormalName(std::string_view text) {
  std::string name;
  for (size_t i = 0; i < text.size(); ++i) {
    if (std::isspace(static_cast<unsigned char>(text[i])) == 0) {
      name.push_back(text[i]);
      continue;
    }
    while (i + 1 < text.size() && std::isspace(static_cast<unsigned char>(text[i + 1])) != 0) ++i;
    const bool between_words =
        !name.empty() && i + 1 < text.size() && IsWord(name.back()) && IsWord(text[i + 1]);
    if (between_words) name.push_back(' ');
  }
  constexpr std::string_view kOverload = "RAY_FUNC(";
  const size_t at = name.starts_with(kOverload) ? kOverload.size() : 0;
  if (name.compare(at, 1, "&") == 0) name.erase(at, 1);
  if (name.compare(at, 2, "::") == 0) name.erase(at, 2);
  return name;
}

std::string CppFunctionId(std::string_view name) { return "cpp:" + NormalName(name); }

std::string DescribeAddress(void (*address)()) {
  Dl_info info{};
  auto* const at = reinterpret_cast<void*>(address);
  if (::dladdr(at, &info) == 0 || info.dli_fname == nullptr) return "this function";
  if (info.dli_sname != nullptr && info.dli_saddr == at) {
    int status = 0;
    char* const plain = ::abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
    std::string name = fmt::format("{} of {}", status == 0 ? plain : info.dli_sname, info.dli_fname);
    std::free(plain);
    return name;
  }
  // A program's own functions are mostly not among its dynamic symbols.
  const auto offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(info.dli_fbase);
  return fmt::format("the function that `addr2line -Cfe {} {:#x}` shows", info.dli_fname, offset);
}

Registry& Registry::Get() {
  static auto* registry = new Registry;  // used by static initialisers and destructors of others
  return *registry;
}

bool Registry::Add(const abi::Function& f) {
  const std::string name = NormalName(f.name.view());
  const std::string id = "cpp:" + name;
  const std::string file = fmt::format("{}:{}", f.file.view(), f.line);
  const std::string place = fmt::format("{} of {}", file, ModuleOf(reinterpret_cast<void*>(f.thunk)));
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto known = by_id_.find(id);
  if (known != by_id_.end()) return AddAgain(*known->second, f, place);
  Function& made = functions_.emplace_back();
  made.id = id;
  made.name = name;
  made.type = f.type.view();
  made.place = place;
  made.text = fmt::format("{} (RAY_REMOTE at {})", name, place);
  made.class_name = f.class_name.view();
  made.method = MethodBytes(f);
  made.address = f.address;
  made.thunk = f.thunk;
  by_id_.emplace(made.id, &made);
  Index(f, made);
  ++cpp_;
  return true;
}

// By what callers in C++ have, and, a method, by its class's full name: another language has that of a
// handle.
void Registry::Index(const abi::Function& f, Function& entry) {
  if (f.method == nullptr) {
    by_address_.emplace(f.address, &entry);
    return;
  }
  by_method_.emplace(MethodBytes(f) + f.type.str(), &entry);
  const size_t last = entry.name.rfind("::");
  if (last == std::string::npos || entry.name.starts_with("RAY_FUNC(")) return;
  by_id_.emplace(fmt::format("cpp:{}{}", entry.class_name, entry.name.substr(last)), &entry);
}

// The same RAY_REMOTE again, if it stands in a header that several sources, or several libraries, include.
bool Registry::AddAgain(Function& first, const abi::Function& f, const std::string& place) {
  Index(f, first);
  const std::string file = place.substr(0, place.find(' ') + 1);
  const bool same_pointer = f.method == nullptr
                                ? first.address == f.address
                                : first.method == MethodBytes(f) && first.type == f.type.view();
  if (same_pointer || (first.place.starts_with(file) && first.type == f.type.view())) return true;
  first.clash = fmt::format(
      "the remote function {} is there twice: RAY_REMOTE at {} and at {}. Rename one, or put "
      "one into a namespace and write that in RAY_REMOTE",
      first.name, first.place, place);
  return false;
}

const Function* Registry::FindAddress(void (*address)()) {
  // Programs call one function many times.
  thread_local void (*last_address)() = nullptr;
  thread_local const Function* last = nullptr;
  if (address == last_address && last != nullptr) return last;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = by_address_.find(address);
  if (it == by_address_.end()) return nullptr;
  last_address = address;
  last = it->second;
  return last;
}

const Function* Registry::FindId(const std::string& id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

const Function* Registry::FindMethod(std::string_view bytes, std::string_view type) {
  const std::string key = fmt::format("{}{}", bytes, type);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = by_method_.find(key);
  return it == by_method_.end() ? nullptr : it->second;
}

const Function* Registry::Python(std::string_view module, std::string_view name) {
  return MakePython(fmt::format("py:{}:{}", module, name), fmt::format("{}.{}", module, name));
}

const Function* Registry::PythonMethod(std::string_view name) {
  return MakePython(fmt::format("py:{}", name), std::string(name));
}

const Function* Registry::MakePython(std::string id, std::string name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto known = by_id_.find(id);
  if (known != by_id_.end()) return known->second;
  Function& made = functions_.emplace_back();
  made.language = kPython;
  made.class_name = name.substr(name.rfind('.') + 1);
  made.name = std::move(name);
  made.text = fmt::format("the Python function {}", made.name);
  made.id = std::move(id);
  by_id_.emplace(made.id, &made);
  return &made;
}

void Registry::Refuse(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (std::find(refusals_.begin(), refusals_.end(), text) == refusals_.end()) refusals_.push_back(text);
}

std::string Registry::refusals() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return fmt::format("{}", fmt::join(refusals_, "; "));
}

std::string Registry::clashes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> all;
  for (const Function& f : functions_) {
    if (!f.clash.empty()) all.push_back(f.clash);
  }
  return fmt::format("{}", fmt::join(all, "; "));
}

size_t Registry::cpp_functions() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return cpp_;
}

std::string Registry::Known(const std::string& name) {
  constexpr size_t kMost = 20;
  std::vector<std::pair<size_t, std::string>> names;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Function& f : functions_) {
      if (f.language == kCpp) names.emplace_back(Distance(name, f.name), f.name);
    }
  }
  if (names.empty()) return "no functions at all";
  std::sort(names.begin(), names.end());
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) text += (i == 0 ? "" : ", ") + names[i].second;
  if (names.size() > kMost) text += fmt::format(" and {} more", names.size() - kMost);
  return text;
}

}  // namespace rmpi::cpp
