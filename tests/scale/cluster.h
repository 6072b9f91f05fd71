// SPDX-License-Identifier: Apache-2.0
// Cluster: virtual time, links of constant latency, and what the head and the nodes' schedulers cost in real
// CPU time.
//
// A process handles its messages one after the other, and each takes it a moment of virtual time (Costs): so
// a queue before the head, or before an owner, is a delay here as it is in life.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/base/time.h"
#include "runtime/gcs/gcs.h"
#include "runtime/message/messages.h"
#include "runtime/worker/core_worker.h"

namespace rmpi::scale {

class Node;
class Owner;

struct Costs {
  TimeNs lane = 2 * kMicrosecond;          // between processes of one node
  TimeNs wire = 40 * kMicrosecond;         // to another node, both raylets included
  TimeNs head_message = 2 * kMicrosecond;  // what one more message to or from the GCS keeps the head busy
  TimeNs owner_message = kMicrosecond;     // the same of an owner
  TimeNs fork = 3 * kMillisecond;          // of a worker; a node's zygote does one at a time
};

struct Size {
  uint32_t nodes = 1000;
  uint32_t cpus = 128;  // of each
  uint32_t gpus = 0;    // of every fourth one
  bool flat = false;    // all nodes report to the head

  uint32_t GpusOf(uint32_t node) const { return node % 4 == 0 ? gpus : 0; }
};

// Of the head's GCS.
struct HeadLoad {
  uint64_t in = 0, out = 0;  // messages; heartbeats and their answers are apart
  uint64_t heartbeats = 0;   // frames
  uint64_t assigned = 0;     // leases and bundles that it placed
  TimeNs cpu = 0;            // real time in Gcs, all messages included
};

class Cluster : public Outbox, public Gcs::Host {
 public:
  Cluster(const Size& size, const Costs& costs, uint32_t owners);
  ~Cluster();

  TimeNs now() const { return now_; }
  const Size& size() const { return size_; }
  const Costs& costs() const { return costs_; }
  Owner& owner(uint32_t i) { return *owners_[i]; }
  const std::vector<std::unique_ptr<Owner>>& owners() const { return owners_; }
  uint32_t owner_count() const { return static_cast<uint32_t>(owners_.size()); }
  Owner* OwnerAt(const Address& a);
  Node& node(uint32_t id) { return *nodes_[id - 1]; }
  void KillNode(uint32_t id);

  // Runs until nothing is to do for any owner, or the time has come. False: it was the time.
  bool RunUntilIdle(TimeNs limit);
  void RunFor(TimeNs span) { Run(now_ + span, false); }

  // Arrives after the latency of the link, behind all that was sent there before.
  void Send(const Address& from, const Address& to, MsgType type, Bytes body);
  enum class Timer : uint8_t { kHead, kNode, kOwner, kForked, kTaskDone };
  void At(TimeNs when, Timer timer, uint32_t who, uint64_t what = 0);

  void Started(TimeNs submitted);  // a task
  uint64_t started() const { return started_; }
  TimeNs last_start() const { return last_start_; }
  // Of the tasks that started since the last call: how long after their submission, ascending.
  std::vector<TimeNs> TakeLatencies();

  HeadLoad TakeHeadLoad();
  size_t head_bytes() const { return head_bytes_; }  // that the GCS keeps of the nodes
  void AddLocalCpu(TimeNs cpu, uint64_t grants) { local_cpu_ += cpu, local_grants_ += grants; }
  double LocalGrantsPerSecond() const;
  uint64_t events() const { return events_; }
  bool Alive(uint32_t node) const { return alive_[node - 1]; }
  // Tasks of all owners that are not done.
  uint64_t unfinished = 0;

 private:
  struct Event {
    TimeNs at = 0;
    uint64_t order = 0;
    uint32_t message = 0;  // index into messages_, or kNone
    Timer timer = Timer::kHead;
    uint32_t who = 0;
    uint64_t what = 0;
    bool operator>(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  struct Message {
    MessageHeader header;
    Blob body;
  };

  bool Run(TimeNs limit, bool until_idle);
  void Handle(const Event& e);
  void Deliver(const Message& m);
  void ToHead(const Message& m);
  void HeadTimer();
  TimeNs Busy(TimeNs* until, TimeNs from, TimeNs cost);

  // ---- Outbox and Host of the Gcs
  void Post(const Address& to, MsgType type, Bytes body) override;
  void OnNodeJoined(const NodeRecord&) override {}
  void OnNodeDead(uint32_t) override {}
  void OnBringUpFailed(const std::string& text) override;
  void Warn(const std::string&) override {}

  Size size_;
  Costs costs_;
  TimeNs now_ = kSecond;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_due_;
  std::vector<Message> messages_;
  std::vector<uint32_t> free_messages_;
  uint64_t next_order_ = 0;
  uint64_t events_ = 0;
  std::unique_ptr<Gcs> gcs_;
  TimeNs head_busy_until_ = 0;
  TimeNs head_timer_ = kNever;
  HeadLoad head_;
  size_t head_bytes_ = 0;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<bool> alive_;
  std::vector<std::unique_ptr<Owner>> owners_;
  std::unordered_map<Address, Owner*> owner_at_;
  std::vector<TimeNs> latencies_;
  uint64_t started_ = 0;
  TimeNs last_start_ = 0;
  TimeNs local_cpu_ = 0;
  uint64_t local_grants_ = 0;
};

// Real CPU time of this thread.
TimeNs CpuNow();

}  // namespace rmpi::scale
