// SPDX-License-Identifier: Apache-2.0
#include "slurm/features.h"

#include <sstream>

namespace rmpi {
namespace {

// The text of the field "key=text"; "" if the line has none. `key` ends with '='.
std::string FieldOf(const std::string& line, const std::string& key) {
  std::istringstream fields(line);
  for (std::string field; fields >> field;) {
    if (field.starts_with(key)) return field.substr(key.size());
  }
  return "";
}

}  // namespace

std::map<std::string, std::vector<std::string>> ParseNodeFeatures(const std::string& text) {
  std::map<std::string, std::vector<std::string>> features;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::string node = FieldOf(line, "NodeName="), list = FieldOf(line, "ActiveFeatures=");
    if (node.empty() || list.empty() || list == "(null)") continue;
    std::istringstream names(list);
    for (std::string name; std::getline(names, name, ',');) features[node].push_back(name);
  }
  return features;
}

}  // namespace rmpi
