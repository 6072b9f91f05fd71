// SPDX-License-Identifier: Apache-2.0
// Small files of /proc and /sys, read whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rmpi {

// The file's text; nothing if it cannot be read.
std::optional<std::string> ReadSmallFile(const std::string& path);
std::vector<std::string> ReadLines(const std::string& path);
// The number that the file starts with; nothing for "max" and the like.
std::optional<int64_t> ReadNumber(const std::string& path);
// The number behind "key" or "key:" at the beginning of a line, e.g. "MemTotal" in /proc/meminfo.
std::optional<int64_t> ReadField(const std::string& path, const std::string& key);

std::vector<std::string> Split(const std::string& text, char separator);

}  // namespace rmpi
