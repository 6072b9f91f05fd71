// SPDX-License-Identifier: Apache-2.0
// How the run is, for people: a raylet asks the head for one of its clients, the head asks all raylets.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/ids/ids.h"
#include "runtime/message/group_messages.h"
#include "runtime/message/lease_messages.h"
#include "runtime/message/node_messages.h"

namespace rmpi {

struct WorkerStatus {  // a process of a node
  int32_t pid = 0;
  uint16_t slot = 0;
  uint8_t language = 0;  // 0: of a driver
  bool driver = false;
  bool actor = false;
  bool blocked = false;  // its task waits, and has lent its CPU
  JobId job;
  std::string task;                                        // what runs there, or ran last
  bool leased = false;                                     // else it is idle
  std::vector<std::pair<std::string, int64_t>> resources;  // of its lease
  std::vector<uint32_t> cpus;                              // that it is bound to; none: it is not bound
  std::vector<uint32_t> devices;

  template <class C>
  void Fields(C& c) {
    c(pid, slot, language, driver, actor, blocked, job, task, leased, resources, cpus, devices);
  }
};

struct PendingStatus {  // tasks or actors alike that wait for a worker
  Shape shape;          // in a RunStatus as of a class (GlobalScheduler::ClassOf)
  uint64_t count = 0;
  bool infeasible = false;  // no node that is there can ever run it
  std::string reason;       // why it waits, if that is known

  template <class C>
  void Fields(C& c) {
    c(shape, count, infeasible, reason);
  }
};

struct NodeStatus {                                                   // raylet -> GCS
  uint64_t nonce = 0;                                                 // of the request
  uint64_t store_bytes = 0, store_used_bytes = 0, store_objects = 0;  // objects: those on disk, too
  uint64_t spilled_bytes = 0;                                         // on disk
  std::vector<std::pair<std::string, int64_t>> available;             // CPU below 0: a debt
  std::vector<std::pair<std::string, int64_t>> in_groups;             // reserved by bundles
  std::vector<std::pair<std::string, int64_t>> in_groups_available;
  std::vector<WorkerStatus> workers;
  std::vector<PendingStatus> waiting;  // for a worker here, or for the head's word

  template <class C>
  void Fields(C& c) {
    c(nonce, store_bytes, store_used_bytes, store_objects, spilled_bytes, available, in_groups,
      in_groups_available, workers, waiting);
  }
};

struct GroupStatus {
  GroupRecord record;
  bool infeasible = false;  // the nodes that are there could not hold it even if nothing else ran

  template <class C>
  void Fields(C& c) {
    c(record, infeasible);
  }
};

struct RunStatus {  // GCS -> the raylet that asked -> its client
  uint64_t nonce = 0;
  uint64_t run_id = 0;
  uint32_t expected_nodes = 0;  // ranks of the launch
  std::vector<NodeRecord> nodes;
  std::vector<std::pair<uint32_t, NodeStatus>> details;  // by node, of those that answered in time
  std::vector<PendingStatus> pending;
  std::vector<GroupStatus> groups;

  template <class C>
  void Fields(C& c) {
    c(nonce, run_id, expected_nodes, nodes, details, pending, groups);
  }
};

}  // namespace rmpi
