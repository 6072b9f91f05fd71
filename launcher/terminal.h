// SPDX-License-Identifier: Apache-2.0
// How commands show things to people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rmpi::launcher {

inline constexpr char kBold[] = "\033[1m";
inline constexpr char kDim[] = "\033[2m";
inline constexpr char kPlain[] = "\033[0m";

std::string Size(uint64_t bytes);  // 1.5 MiB

using Rows = std::vector<std::vector<std::string>>;
// In columns, each as wide as its widest cell; `headings` above, dim.
std::string Columns(const std::vector<std::string>& headings, const Rows& rows);
// For programs: a line each, with tabs, `kind` in front.
std::string TabLines(const std::string& kind, const Rows& rows);

}  // namespace rmpi::launcher
