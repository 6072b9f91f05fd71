// SPDX-License-Identifier: Apache-2.0
// Rules about labels of nodes, as _labels.py makes them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
#include <vector>

#include "runtime/message/lease_messages.h"

namespace rmpi::python {

// A list of lists of (label, operator, [values]).
inline std::vector<LabelRules> LabelsOf(nanobind::handle lists) {
  std::vector<LabelRules> out;
  for (nanobind::handle rules : nanobind::cast<nanobind::list>(lists)) {
    LabelRules& to = out.emplace_back();
    for (nanobind::handle rule : nanobind::cast<nanobind::list>(rules)) {
      const nanobind::tuple parts = nanobind::cast<nanobind::tuple>(rule);
      LabelRule& r = to.emplace_back();
      r.key = nanobind::cast<std::string>(parts[0]);
      r.op = static_cast<LabelOp>(nanobind::cast<int>(parts[1]));
      for (nanobind::handle value : nanobind::cast<nanobind::list>(parts[2]))
        r.values.push_back(nanobind::cast<std::string>(value));
    }
  }
  return out;
}

}  // namespace rmpi::python
