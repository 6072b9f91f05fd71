// SPDX-License-Identifier: Apache-2.0
// HeartbeatTree: which nodes of a large launch report through which other. Sections of neighbouring ranks
// have an aggregating one each, which reports to the head; a small launch, and nodes that joined later,
// report to the head all. Part of the Gcs, which tells the nodes (REPORT_TO) what Take() lists.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/ids/ids.h"

namespace rmpi {

struct HeartbeatTreeOptions {
  uint32_t above = 256;   // ranks: with no more of them all report to the head
  uint32_t section = 32;  // ranks
};

class HeartbeatTree {
 public:
  // {node, to whom it is to report}
  using Changes = std::vector<std::pair<uint32_t, uint32_t>>;

  HeartbeatTree(const HeartbeatTreeOptions& options, uint32_t ranks) : options_(options), ranks_(ranks) {}

  Changes OnJoin(uint32_t node, int rank);
  // Those that reported through it report through the next one of its section, or to the head.
  Changes OnDead(uint32_t node);
  // Its heartbeat came straight to the head: it had no answer by way of its aggregating node.
  void OnStraight(uint32_t node, TimeNs now);
  // Those that have come straight for long enough, while their aggregating node goes on: they may go back.
  Changes OnTimer(TimeNs now);
  bool used() const { return ranks_ > options_.above; }

 private:
  struct Section {
    uint32_t aggregator = 0;
    std::set<uint32_t> nodes;
  };

  HeartbeatTreeOptions options_;
  uint32_t ranks_;
  std::map<uint32_t, Section> sections_;
  std::map<uint32_t, uint32_t> section_of_;  // by node
  std::map<uint32_t, TimeNs> straight_;      // nodes that went there by themselves: since when
};

}  // namespace rmpi
