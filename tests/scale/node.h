// SPDX-License-Identifier: Apache-2.0
// Node: the real LocalScheduler over workers that do nothing but take time. A task's arguments say how long
// (Work); a worker runs what it was pushed one after the other and gives back what it has not begun when
// asked.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "runtime/raylet/heartbeat_link.h"
#include "sched/local_scheduler.h"
#include "tests/scale/cluster.h"

namespace rmpi::scale {

// The bytes of a task's arguments.
struct Work {
  TimeNs run = 0;
  TimeNs submitted = 0;
  uint32_t data = 0;  // the node that has its large arguments; 0: there are none

  template <class C>
  void Fields(C& c) {
    c(run, submitted, data);
  }
};

class Node : public sched::LocalScheduler::Host {
 public:
  Node(Cluster* cluster, uint32_t id);

  NodeRecord Record() const;
  Address OpenSlot();
  void OnMessage(const MessageHeader& header, Bytes body);
  void OnTimer();
  void OnForked(uint8_t language);
  void OnTaskDone(uint16_t slot);
  const sched::LocalScheduler& scheduler() const { return scheduler_; }

 private:
  class Mail : public Outbox {
   public:
    explicit Mail(Node* node) : node_(node) {}
    void Post(const Address& to, MsgType type, Bytes body) override {
      node_->cluster_->Send(RayletOf(node_->id_), to, type, body);
    }

   private:
    Node* node_;
  };
  struct Worker {
    Address self;
    bool running = false;
    struct Item {
      Address owner;
      TaskId task;
      uint32_t attempt;
      Work work;
    };
    std::deque<Item> items;  // the first one runs, if any does
  };

  void ToWorker(Worker* w, const MessageHeader& header, Bytes body);
  void StartNext(Worker* w);
  void Settle();

  // ---- LocalScheduler::Host
  void SendGrant(const Address& owner, const Grant& grant) override;
  void AssignDevices(const Address&, uint64_t, const sched::Devices&) override {}
  void SendReclaim(const Address& owner, const Reclaim& m) override;
  void AssignCpus(const Address&, uint64_t, const sched::CpuSet&) override {}
  void SendReserved(const Reserved& m) override;
  void SendDemand(const Demand& demand) override;
  void SendReject(const Demand& demand) override;
  void StartWorker(JobId job, uint8_t language) override;
  void SendUnschedulable(const Address& owner, const Unschedulable& m) override;
  void StopWorker(const Address& worker) override;

  template <class M>
  void Send(const Address& from, const Address& to, MsgType type, const M& m) {
    writer_.Clear();
    writer_(m);
    cluster_->Send(from, to, type, writer_.bytes());
  }

  Cluster* cluster_;
  uint32_t id_;
  sched::LocalScheduler scheduler_;
  std::vector<std::unique_ptr<Worker>> workers_;  // by slot - 1; null: an owner's slot, or free
  JobId job_;
  Writer writer_;
  TimeNs zygote_until_ = 0;
  TimeNs timer_at_ = kNever;
  uint64_t grants_ = 0;
  Mail mail_{this};
  Fence fence_;
  HeartbeatLink heartbeats_{&scheduler_, &mail_, &fence_};
};

}  // namespace rmpi::scale
