// SPDX-License-Identifier: Apache-2.0
#include "launcher/terminal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rmpi::launcher {

std::string Size(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string Columns(const std::vector<std::string>& headings, const Rows& rows) {
  std::vector<size_t> widths;
  for (const std::string& heading : headings) widths.push_back(heading.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < std::min(row.size(), widths.size()); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) text += fmt::format("{:<{}}  ", cells[i], widths[i]);
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  };
  std::string text = kDim + line(headings) + kPlain + "\n";
  for (const auto& row : rows) text += line(row) + "\n";
  return text;
}

std::string TabLines(const std::string& kind, const Rows& rows) {
  std::string text;
  for (const auto& row : rows) text += fmt::format("{}\t{}\n", kind, fmt::join(row, "\t"));
  return text;
}

}  // namespace rmpi::launcher
