// SPDX-License-Identifier: Apache-2.0
// What a worker and its raylet tell one another: blocking, ends, output.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/ids/ids.h"
#include "runtime/message/task_messages.h"

namespace rmpi {

struct Blocked {       // kBlocked, kUnblocked
  uint64_t lease = 0;  // of the task that waits: by the time it is read the worker may have another one
  uint32_t depth = 0;

  template <class C>
  void Fields(C& c) {
    c(lease, depth);
  }
};

struct KillTask {  // owner -> raylet of the worker. Killed iff that claim is current; or, with a lease, iff
                   // that is
  Address worker;
  TaskId task;
  uint32_t attempt = 0;
  uint64_t lease = 0;

  template <class C>
  void Fields(C& c) {
    c(worker, task, attempt, lease);
  }
};

struct Exit {  // raylet -> worker: leave; worker -> raylet (kRetire): no more leases, I leave when nobody
               // needs me
  uint32_t reason = 0;

  template <class C>
  void Fields(C& c) {
    c(reason);
  }
};

struct LogLines {  // raylet -> driver's node -> driver
  bool is_stderr = false;
  int32_t pid = 0;
  std::string name;  // "(name" part of the prefix
  std::string host;  // ip or host; empty: the driver's own node
  std::string text;  // whole lines, each with its newline

  template <class C>
  void Fields(C& c) {
    c(is_stderr, pid, name, host, text);
  }
};

struct LogAck {  // driver -> raylet: so many bytes of its LogLines are printed
  uint64_t bytes = 0;

  template <class C>
  void Fields(C& c) {
    c(bytes);
  }
};

struct CorruptPeer {  // client -> its raylet: what this process of our node wrote to me cannot be read
  Address who;

  template <class C>
  void Fields(C& c) {
    c(who);
  }
};

struct StatsReply {
  uint64_t nonce = 0, capacity = 0, used = 0, objects = 0, moved = 0;

  template <class C>
  void Fields(C& c) {
    c(nonce, capacity, used, objects, moved);
  }
};

struct Nonce {  // kStats, kJobOver, kJobOverReply, kNodesRequest
  uint64_t nonce = 0;

  template <class C>
  void Fields(C& c) {
    c(nonce);
  }
};

struct Eof {  // the last message about an address: nothing of it comes after
  Address who;
  bool claims_known = true;
  std::vector<TaskRef> claimed;  // started and unanswered
  int32_t wait_status = 0;
  std::string cause;           // for people: what died, where, how
  bool out_of_memory = false;  // it was ended since its node had too little: a retry costs nothing
  bool drained = false;        // its node was to leave: a retry or restart costs nothing

  template <class C>
  void Fields(C& c) {
    c(who, claims_known, claimed, wait_status, cause, out_of_memory, drained);
  }
  // Whether user code of it may have started there, and is unanswered.
  bool Claimed(const TaskId& task, uint32_t attempt) const {
    return !claims_known || std::any_of(claimed.begin(), claimed.end(), [&](const TaskRef& c) {
      return c.task == task && c.attempt == attempt;
    });
  }
};

}  // namespace rmpi
