// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/files.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "runtime/base/unique_fd.h"

namespace rmpi {

std::optional<std::string> ReadSmallFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  std::string text;
  char buffer[8192];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
}

std::vector<std::string> ReadLines(const std::string& path) {
  return Split(ReadSmallFile(path).value_or(""), '\n');
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  const auto text = ReadSmallFile(path);
  if (!text) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text->c_str(), &end, 10);
  if (end == text->c_str() || errno != 0) return std::nullopt;
  return value;
}

std::optional<int64_t> ReadField(const std::string& path, const std::string& key) {
  for (const std::string& line : ReadLines(path)) {
    std::istringstream words(line);
    std::string name;
    int64_t value = 0;
    if (words >> name >> value && (name == key || name == key + ":")) return value;
  }
  return std::nullopt;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream rest(text);
  for (std::string part; std::getline(rest, part, separator);) parts.push_back(part);
  return parts;
}

}  // namespace rmpi
