// SPDX-License-Identifier: Apache-2.0
// SimRaylet: a node. The real LocalScheduler (and, on the head, the real Gcs) glued together as
// runtime/raylet does, over a store that only remembers which version lies where.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/gcs/detached_actors.h"
#include "runtime/gcs/gcs.h"
#include "runtime/raylet/fence.h"
#include "runtime/raylet/heartbeat_link.h"
#include "runtime/raylet/node_drain.h"
#include "sched/local_scheduler.h"
#include "tests/sim/world.h"

namespace rmpi::sim {

constexpr uint64_t kSimRun = 7;

struct Version {
  ObjectId id;
  uint32_t attempt = 0;
  auto operator<=>(const Version&) const = default;
};

struct Stored {
  Blob bytes;  // what a reader finds; `size` is what it is said to take
  uint64_t size = 0;
  uint64_t offset = 0;
  Address creator;         // nil: a copy
  bool announced = false;  // SEALED has been handled
  bool kept = false;       // a copy that became the primary
};

class SimRaylet : public Outbox,
                  public sched::LocalScheduler::Host,
                  public Gcs::Host,
                  public NodeDrain::Host,
                  public DetachedActors::Host {
 public:
  SimRaylet(World* world, uint32_t node, sched::Amounts total, uint32_t expected_nodes);

  uint32_t node() const { return node_; }
  Gcs* gcs() { return gcs_.get(); }
  DetachedActors& detached() { return *detached_; }  // on the head
  sched::LocalScheduler& scheduler() { return scheduler_; }
  NodeRecord Record() const;
  void SetJoined() { joined_ = true; }  // later, or at least not with the launch
  void Meet(const SimRaylet& other) { scheduler_.AddOther(other.node_, other.scheduler_.total()); }
  void Arrive(const Packet& packet);
  // The socket of a client closed. Its EOF follows when its lanes are drained.
  void StartDeath(const Address& who);
  Address OpenSlot();
  void Kill(const Address& worker);  // soon
  void EvictSomething();
  void SpillSomething();
  bool Quiet() const;
  void Poke() { Turn(); }  // somebody left mail here

  struct Assigned {
    uint64_t lease = 0;
    sched::Devices devices;
  };
  const Assigned* AssignedTo(const Address& worker) const;

  // ---- the store, which processes of this node read directly
  std::map<Version, Stored>& store() { return store_; }
  Place Write(const ObjectId& id, uint32_t attempt, uint64_t size, Blob bytes, const Address& creator);
  const Stored* Find(const ObjectId& id, uint32_t attempt) const;
  std::string Describe() const;
  // What it wrote to its files. Nothing is ever taken out of them.
  const std::map<Version, Blob>& disk() const { return disk_; }

  void Post(const Address& to, MsgType type, Bytes body) override {
    PostFrom(RayletOf(node_), to, type, body);
  }

 private:
  class HeadOutbox : public Outbox {
   public:
    HeadOutbox(SimRaylet* raylet, const Address& self) : raylet_(raylet), self_(self) {}
    void Post(const Address& to, MsgType type, Bytes body) override {
      raylet_->PostFrom(self_, to, type, body);
    }

   private:
    SimRaylet* raylet_;
    Address self_;
  };
  struct Transfer {
    uint64_t request = 0;
    uint64_t size = 0;
    std::vector<Place> places;
    Place source;
    std::vector<std::pair<Address, PullPriority>> waiters;
    std::vector<uint32_t> gone;  // nodes that no longer hold it
    uint32_t moves_from = 0;
    bool freed = false;
  };
  struct Client {
    Address address;
    JobId job;
    bool dying = false;
    bool drained = false;
    TimeNs informed_at = 0;
    std::vector<bool> met;
  };

  void PostFrom(const Address& from, const Address& to, MsgType type, Bytes body);
  bool Forward(const MessageHeader& header, const Blob& body);
  void Deliver(const MessageHeader& header, const Blob& body);
  void Unreachable(const MessageHeader& header);
  void OnMessage(const MessageHeader& header, Bytes body);
  void OnStoreMessage(const MessageHeader& header, Bytes body);
  void OnNodeDeath(const NodeRecord& record, Bytes body);
  void OnDetached(const MessageHeader& header, Bytes body);
  void OnJobEnd(const JobMessage& m);
  void Broadcast(MsgType type, Bytes body);
  void Turn();  // the end of every event
  void NoteMet(uint16_t slot, uint32_t node);
  void FinishDeaths();
  void FinishDeath(const Address& who);
  void EndOwner(const Address& owner);
  void FreeIf(const std::function<bool(const Version&)>& doomed);
  void OnPull(const Address& from, const Pull& m);
  void TryNext(const Version& version);
  void FinishPull(const Version& version, PullReply reply);
  void Arrived(const Version& version, uint64_t request, Blob bytes);
  void TellOwner(const Version& version, uint32_t moves_from);
  void ReadLeft(const Version& version, uint64_t request, uint32_t node);
  void EndDrained(Client* c);

  // ---- LocalScheduler::Host
  void SendGrant(const Address& owner, const Grant& grant) override;
  void AssignDevices(const Address& worker, uint64_t lease, const sched::Devices& devices) override {
    assigned_[worker] = {lease, devices};
  }
  void AssignCpus(const Address&, uint64_t, const sched::CpuSet&) override {}
  void SendReclaim(const Address& owner, const Reclaim& m) override { Send(owner, MsgType::kReclaim, m); }
  void SendReserved(const Reserved& m) override { Send(GcsAddress(), MsgType::kGroupReserved, m); }
  void SendDemand(const Demand& demand) override { Send(GcsAddress(), MsgType::kDemand, demand); }
  void SendReject(const Demand& demand) override { Send(GcsAddress(), MsgType::kAssignReject, demand); }
  void StartWorker(JobId job, uint8_t language) override;
  void SendUnschedulable(const Address& owner, const Unschedulable& m) override {
    Send(owner, MsgType::kUnschedulable, m);
  }
  void StopWorker(const Address& worker) override { Send(worker, MsgType::kExit, Exit{}); }
  // ---- Gcs::Host
  void OnNodeJoined(const NodeRecord&) override {}
  void OnNodeDead(uint32_t node) override { gone_nodes_.insert(node); }
  void Warn(const std::string&) override {}
  void OnBringUpFailed(const std::string& text) override { throw std::logic_error(text); }
  // ---- NodeDrain::Host
  bool WorkLeft() const override { return scheduler_.task_leases() != 0 || (joined_ && HasDriver()); }
  bool EndIdleActors() override;
  uint32_t EndWorkers() override;
  uint32_t Workers() const override;
  std::vector<ObjectAt> Primaries() const override;
  std::vector<uint32_t> OtherNodes() const override;
  void SendPull(uint32_t node, const Pull& m) override { Send(RayletOf(node), MsgType::kPull, m); }
  void SendDrained(const Drained& m) override;
  bool HasDriver() const;
  bool Spared(const Client& c) const;
  // ---- DetachedActors::Host
  std::optional<JobId> StartDetachedJob(JobId of) override { return gcs_->StartDetachedJob(of); }
  void EndDetachedJob(JobId job) override { gcs_->EndDetachedJob(job, world_->now()); }
  std::optional<Blob> ReadStored(const ObjectId& id, uint32_t attempt) override;

  World* world_;
  uint32_t node_;
  sched::Labels labels_;
  sched::LocalScheduler scheduler_;
  HeadOutbox head_outbox_{this, GcsAddress()}, detached_outbox_{this, DetachedOwner()};
  std::unique_ptr<Gcs> gcs_;
  std::unique_ptr<DetachedActors> detached_;
  std::deque<Packet> local_;
  std::map<uint16_t, Client> clients_;
  std::map<uint16_t, uint32_t> generations_;
  std::map<Address, Assigned> assigned_;
  std::map<Version, Stored> store_;
  std::map<Version, Transfer> transfers_;
  std::map<Version, Blob> disk_;
  std::unordered_set<uint32_t> gone_nodes_;
  std::unordered_set<uint32_t> left_files_;  // of them: what they have on disk may be read
  std::unordered_set<Address> gone_owners_;
  uint64_t next_offset_ = 1;
  uint64_t next_request_ = 1;
  Fence fence_;
  HeartbeatLink heartbeats_{&scheduler_, this, &fence_};
  NodeDrain drain_{this};
  bool fenced_ = false;
  bool joined_ = false;
  TimeNs timer_at_ = kNever;
  uint32_t starting_ = 0;
  bool turning_ = false;
};

}  // namespace rmpi::sim
