// SPDX-License-Identifier: Apache-2.0
// From the words of options to values. Every error names the option and shows what would be right.
#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <vector>

#include "launcher/options.h"

namespace rmpi::launcher {

// The options in groups, as --help shows them. `all` also holds the hidden ones.
struct OptionTable {
  std::vector<boost::program_options::options_description> groups;
  boost::program_options::options_description all;
};
const OptionTable& Table();

// The long names of all visible options.
std::vector<std::string> OptionNames();

// Fills `out` from the parsed words.
Status ApplyValues(const boost::program_options::variables_map& values, Options* out);

}  // namespace rmpi::launcher
