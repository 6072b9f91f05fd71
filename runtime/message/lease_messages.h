// SPDX-License-Identifier: Apache-2.0
// Leases: what a task needs, who asks for it, and who has it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/ids/ids.h"

namespace rmpi {

enum class LabelOp : uint8_t { kIn = 0, kNotIn = 1, kExists = 2, kDoesNotExist = 3 };

struct LabelRule {  // about one label of a node
  std::string key;
  LabelOp op = LabelOp::kIn;
  std::vector<std::string> values;  // of kIn and kNotIn

  template <class C>
  void Fields(C& c) {
    c(key, op, values);
  }
  auto operator<=>(const LabelRule&) const = default;
};
using LabelRules = std::vector<LabelRule>;  // all must hold

enum class Strategy : uint8_t { kDefault = 0, kSpread = 1, kNodeAffinity = 2 };

// What a lease asks for. Two tasks of one shape may use each other's leases. Amounts are fixed point,
// 1/10000.
struct Shape {
  std::vector<std::pair<std::string, int64_t>> resources;  // sorted by name
  Strategy strategy = Strategy::kDefault;
  bool affinity_soft = false;
  bool affinity_now = false;  // what is free there now decides, not what the node is
  uint8_t language = kPythonLanguage;
  bool actor = false;  // the worker is an actor's, to the end of both
  // kNodeAffinity; or, for kDefault, the node that holds most argument bytes (a wish)
  uint32_t affinity_node = 0;
  uint8_t wish_log2_bytes = 0;  // of the arguments that lie there, for a wish
  uint32_t depth = 0;           // nesting depth of the task: deeper ones go first
  uint32_t group = 0;           // placement group; 0: none
  int32_t bundle = -1;          // of the group; -1: any
  JobId job;
  std::vector<LabelRules> labels;  // of the node: alternatives, the preferred one first; none: any node

  template <class C>
  void Fields(C& c) {
    c(resources, strategy, affinity_soft, affinity_now, language, actor, affinity_node, wish_log2_bytes,
      depth, group, bundle, job, labels);
  }
  auto operator<=>(const Shape&) const = default;
};

// owner -> its raylet. Counted from the beginning of an epoch, so that neither side has to guess which grants
// are on their way: `wanted` leases in all, those that have come included.
struct LeaseRequest {
  uint32_t shape_key = 0;  // the owner's own number for the shape
  uint32_t epoch = 0;      // a new one begins when some of what was asked for may be lost
  uint64_t wanted = 0;
  uint32_t run_us = 0;  // of such tasks, on the average; 0: not known
  Shape shape;

  template <class C>
  void Fields(C& c) {
    c(shape_key, epoch, wanted, run_us, shape);
  }
};

struct Grant {  // granting raylet -> owner
  uint32_t shape_key = 0;
  uint32_t epoch = 0;  // of the request
  uint64_t lease = 0;  // unique per granting raylet
  Address worker;

  template <class C>
  void Fields(C& c) {
    c(shape_key, epoch, lease, worker);
  }
};

enum class WorkerAfter : uint8_t {
  kIdle = 0,     // may serve others
  kRetires = 1,  // has said that it takes no more
  kLeaves = 2,   // is to be told so: its actor has ended
};

struct LeaseReturn {  // owner -> granting raylet
  uint64_t lease = 0;
  WorkerAfter worker = WorkerAfter::kIdle;

  template <class C>
  void Fields(C& c) {
    c(lease, worker);
  }
};

struct Reclaim {                 // raylet -> owner: others wait, give back what is idle
  std::vector<uint64_t> leases;  // of this raylet: these as soon as what runs there has ended

  template <class C>
  void Fields(C& c) {
    c(leases);
  }
};

struct Unschedulable {  // raylet or GCS -> owner: tasks of this shape can never start
  uint32_t shape_key = 0;
  std::string reason;
  bool group_removed = false;  // their placement group is gone

  template <class C>
  void Fields(C& c) {
    c(shape_key, reason, group_removed);
  }
};

}  // namespace rmpi
