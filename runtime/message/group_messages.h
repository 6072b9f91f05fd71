// SPDX-License-Identifier: Apache-2.0
// Placement groups (PROTOCOL A3): who makes them, the head that places them, the raylets that keep their
// bundles.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/ids/ids.h"
#include "runtime/message/lease_messages.h"

namespace rmpi {

// Ray's numbers.
enum class GroupStrategy : uint8_t { kPack = 0, kSpread = 1, kStrictPack = 2, kStrictSpread = 3 };
enum class GroupState : uint8_t { kPending = 0, kCreated = 1, kRemoved = 2, kRescheduling = 3 };

struct GroupBundle {
  std::vector<std::pair<std::string, int64_t>> resources;  // sorted by name, fixed point
  uint32_t node = 0;                                       // that keeps it; 0: none does yet
  LabelRules labels;                                       // of its node; none: any

  template <class C>
  void Fields(C& c) {
    c(resources, node, labels);
  }
};

struct GroupRecord {
  uint32_t group = 0;  // numbers are given out by the head, and never again
  JobId job;           // in which it ends, unless it is detached
  bool detached = false;
  GroupState state = GroupState::kPending;
  GroupStrategy strategy = GroupStrategy::kPack;
  std::string name, ray_namespace;
  uint32_t soft_node = 0;  // kStrictPack: here, if there is room
  std::vector<GroupBundle> bundles;
  // How it fared: attempts to place it, and the time from the first word of it to its last placing.
  uint32_t attempts = 0;
  int64_t latency_ns = 0;

  template <class C>
  void Fields(C& c) {
    c(group, job, detached, state, strategy, name, ray_namespace, soft_node, bundles, attempts, latency_ns);
  }
};

// kWait has no reply but kGroupReady. kFind: by name; kTable: `group`, or all with group 0.
enum class GroupOp : uint8_t { kCreate = 0, kRemove = 1, kWait = 2, kFind = 3, kTable = 4 };

struct GroupRequest {  // anyone -> GCS
  uint64_t nonce = 0;  // 0: no reply wanted
  GroupOp op = GroupOp::kTable;
  GroupRecord group;

  template <class C>
  void Fields(C& c) {
    c(nonce, op, group);
  }
};

struct GroupReply {
  uint64_t nonce = 0;
  bool taken = false;   // kCreate: another group has the name
  std::string refused;  // kCreate: why
  std::vector<GroupRecord> groups;

  template <class C>
  void Fields(C& c) {
    c(nonce, taken, refused, groups);
  }
};

struct GroupReady {  // GCS -> who waits: it is created, or will never be
  uint32_t group = 0;
  GroupState state = GroupState::kCreated;

  template <class C>
  void Fields(C& c) {
    c(group, state);
  }
};

struct Reserve {  // GCS -> raylet: all of these or none
  uint32_t group = 0;
  uint32_t epoch = 0;    // of the attempt to place it
  bool earmark = false;  // what becomes free goes here before any task gets it, until all is there
  std::vector<std::pair<uint32_t, std::vector<std::pair<std::string, int64_t>>>> bundles;  // by index

  template <class C>
  void Fields(C& c) {
    c(group, epoch, earmark, bundles);
  }
};

struct Reserved {  // raylet -> GCS
  uint32_t group = 0;
  uint32_t epoch = 0;
  bool ok = false;

  template <class C>
  void Fields(C& c) {
    c(group, epoch, ok);
  }
};

struct Release {  // GCS -> raylet
  uint32_t group = 0;
  std::vector<uint32_t> bundles;  // empty: all, the group is removed

  template <class C>
  void Fields(C& c) {
    c(group, bundles);
  }
};

struct BundleReport {  // in a heartbeat
  uint32_t group = 0;
  uint32_t index = 0;
  std::vector<std::pair<std::string, int64_t>> available;

  template <class C>
  void Fields(C& c) {
    c(group, index, available);
  }
};

}  // namespace rmpi
