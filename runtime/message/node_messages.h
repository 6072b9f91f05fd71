// SPDX-License-Identifier: Apache-2.0
// Raylets and the GCS: nodes, demand, jobs, key/value pairs, names.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/blob.h"
#include "runtime/ids/ids.h"
#include "runtime/message/group_messages.h"
#include "runtime/message/lease_messages.h"

namespace rmpi {

struct NodeRecord {
  uint32_t node = 0;
  int32_t rank = 0;
  int32_t pid = 0;
  bool alive = true;
  bool draining = false;  // nothing new starts there
  bool drained = false;   // nothing is left there; a rank of the launch stays
  std::string hostname, ip, data_address, death_reason;
  std::vector<std::pair<std::string, int64_t>> total;
  std::vector<std::pair<std::string, int64_t>> available;
  std::vector<std::pair<std::string, std::string>> labels;
  // Where its objects that do not fit into memory go, as far as the head sees these folders too: there they
  // outlive the node. (In a JOIN, and of the head: all that the user named.)
  std::vector<std::string> spill_folders;

  template <class C>
  void Fields(C& c) {
    c(node, rank, pid, alive, draining, drained, hostname, ip, data_address, death_reason, total, available,
      labels, spill_folders);
  }
};

struct SpillShared {  // raylet -> GCS, behind its JOIN: the head sees these folders of mine
  std::vector<std::string> folders;

  template <class C>
  void Fields(C& c) {
    c(folders);
  }
};

struct Join {  // kJoin: raylet -> GCS; kNodeAdded, kNodeDead: GCS -> raylets
  NodeRecord record;

  template <class C>
  void Fields(C& c) {
    c(record);
  }
};

struct Joined {  // GCS -> raylet: your node id, and everybody who is here
  uint32_t node = 0;
  uint64_t run_id = 0;
  std::vector<std::pair<std::string, std::string>> labels;  // yours, with those that the head has added
  std::vector<NodeRecord> nodes;

  template <class C>
  void Fields(C& c) {
    c(node, run_id, labels, nodes);
  }
};

struct Heartbeat {  // raylet -> GCS, also the load report: only what changed since the last one
  uint64_t sequence = 0;
  bool changed = false;
  std::vector<std::pair<std::string, int64_t>> available;
  std::vector<std::pair<std::string, int64_t>> kept;  // by actors: no end of it is in sight
  std::vector<BundleReport> bundles;                  // those that changed
  bool earmarked = false;                             // a task waits with an earmark

  template <class C>
  void Fields(C& c) {
    c(sequence, changed, available, kept, bundles, earmarked);
  }
};

// An aggregating raylet -> GCS: its own, and those of the nodes that report to it, each merged since the last
// such frame. Answered by one HeartbeatAck for all.
struct Heartbeats {
  Heartbeat own;
  std::vector<std::pair<uint32_t, Heartbeat>> others;  // by node

  template <class C>
  void Fields(C& c) {
    c(own, others);
  }
};

struct ReportTo {     // GCS -> raylet: where its heartbeats go from now on
  uint32_t node = 0;  // an aggregating one, or the head's

  template <class C>
  void Fields(C& c) {
    c(node);
  }
};

struct Demand {
  Address owner;
  uint32_t shape_key = 0;
  uint32_t epoch = 0;  // of the owner's request
  // raylet -> GCS: what the raylet does not serve itself, since the epoch's beginning. With an assignment or
  // a rejection: that many.
  uint64_t count = 0;
  uint32_t run_us = 0;  // of such tasks, on the average; 0: not known
  Shape shape;
  bool stays = false;  // an assignment that has nowhere else to go: it is not rejected for lack of room
  // An assignment that has starved elsewhere: for so long what becomes free goes here before anybody gets it.
  // With its rejection: how long that stood, and 1.
  uint32_t earmark_ms = 0;

  template <class C>
  void Fields(C& c) {
    c(owner, shape_key, epoch, count, run_us, shape, stays, earmark_ms);
  }
};

struct HandedOff {  // GCS -> origin raylet: placed elsewhere
  Address owner;
  uint32_t shape_key = 0;
  uint32_t epoch = 0;
  uint64_t count = 0;

  template <class C>
  void Fields(C& c) {
    c(owner, shape_key, epoch, count);
  }
};

struct DrainNode {  // a raylet that is asked to end -> GCS; GCS -> the raylet of a node that is to leave
  uint32_t node = 0;
  int64_t timeout_ns = 0;  // for the work that runs there
  std::string reason;      // for people

  template <class C>
  void Fields(C& c) {
    c(node, timeout_ns, reason);
  }
};

struct Drained {         // raylet -> GCS: how far a node that leaves has come
  bool over = false;     // nothing of the run is here any more, but for what no node had room for
  uint32_t workers = 0;  // processes that are still here
  uint32_t killed = 0;   // of them, those that still ran something when their time was over
  uint32_t moved = 0;    // objects
  uint64_t moved_bytes = 0;
  uint32_t left = 0;  // that have not moved
  uint64_t left_bytes = 0;

  template <class C>
  void Fields(C& c) {
    c(over, workers, killed, moved, moved_bytes, left, left_bytes);
  }
  bool operator==(const Drained&) const = default;
};

struct Shutdown {  // GCS -> raylets: the run is over
  int32_t status = 0;
  std::string reason;

  template <class C>
  void Fields(C& c) {
    c(status, reason);
  }
};

struct JobMessage {  // kJobStart (raylet -> GCS), kJobStartReply, kJobEnd, kJobEndAck
  JobId job;
  Address driver;
  uint64_t nonce = 0;
  std::string ray_namespace;
  uint8_t language = kPythonLanguage;      // of the driver
  std::vector<std::string> native_worker;  // command line of this job's C++ workers; empty: it has none
  std::string native_worker_cwd;           // where that is to be run
  bool detached = false;                   // of detached actors: does not end with its driver

  template <class C>
  void Fields(C& c) {
    c(job, driver, nonce, ray_namespace, language, native_worker, native_worker_cwd, detached);
  }
};

enum class KvOp : uint8_t { kPut = 0, kGet = 1, kDelete = 2, kKeys = 3, kWaitGet = 4 };

struct KvRequest {
  uint64_t nonce = 0;  // 0: no reply wanted
  KvOp op = KvOp::kGet;
  bool overwrite = true;
  std::string ns, key;
  Blob value;

  template <class C>
  void Fields(C& c) {
    c(nonce, op, overwrite, ns, key, value);
  }
};

struct KvReply {
  uint64_t nonce = 0;
  bool found = false;  // kPut: added anew; kDelete: there was one
  Blob value;
  std::vector<std::string> keys;

  template <class C>
  void Fields(C& c) {
    c(nonce, found, value, keys);
  }
};

enum class ActorNameOp : uint8_t { kRegister = 0, kFind = 1, kRemove = 2, kList = 3 };

struct ActorName {     // anybody -> GCS; kRemove: its creator, when it is dead
  uint64_t nonce = 0;  // 0: no reply wanted
  ActorNameOp op = ActorNameOp::kFind;
  bool everywhere = false;  // kList: in all namespaces
  std::string ray_namespace, name;
  ObjectId actor;  // kRegister, kRemove
  Blob about;      // kRegister: what makes a handle of it; the binding's own form

  template <class C>
  void Fields(C& c) {
    c(nonce, op, everywhere, ray_namespace, name, actor, about);
  }
};

struct ActorNameReply {
  uint64_t nonce = 0;
  bool found = false;  // kRegister: the name is taken, by this one
  ObjectId actor;
  Blob about;
  std::vector<std::pair<std::string, std::string>> names;  // kList: (namespace, name)

  template <class C>
  void Fields(C& c) {
    c(nonce, found, actor, about, names);
  }
};

struct NodesReply {
  uint64_t nonce = 0;
  std::vector<NodeRecord> nodes;

  template <class C>
  void Fields(C& c) {
    c(nonce, nodes);
  }
};

}  // namespace rmpi
