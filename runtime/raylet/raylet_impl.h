// SPDX-License-Identifier: Apache-2.0
// Raylet: the loop of a node's process, and the glue between its parts. One thread, the control thread, owns
// everything here; the data thread of the transfer plugin reports through an eventfd.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "objstore/arena.h"
#include "objstore/pin_table.h"
#include "objstore/prefault.h"
#include "objstore/store.h"
#include "objstore/transfer/transfer.h"
#include "runtime/gcs/detached_actors.h"
#include "runtime/gcs/gcs.h"
#include "runtime/lane/board.h"
#include "runtime/lane/port.h"
#include "runtime/raylet/event_loop.h"
#include "runtime/raylet/fence.h"
#include "runtime/raylet/function_cache.h"
#include "runtime/raylet/handshake.h"
#include "runtime/raylet/heartbeat_link.h"
#include "runtime/raylet/keeper_link.h"
#include "runtime/raylet/log_relay.h"
#include "runtime/raylet/memory_monitor.h"
#include "runtime/raylet/node_drain.h"
#include "runtime/raylet/peer_links.h"
#include "runtime/raylet/pull_manager.h"
#include "runtime/raylet/raylet.h"
#include "runtime/raylet/router.h"
#include "runtime/raylet/served_objects.h"
#include "runtime/raylet/spiller.h"
#include "runtime/transport/direct.h"
#include "runtime/transport/transport.h"
#include "sched/local_scheduler.h"

namespace rmpi {

class Raylet : public sched::LocalScheduler::Host,
               public PullManager::Host,
               public NodeDrain::Host,
               public Gcs::Host,
               public DetachedActors::Host {
 public:
  explicit Raylet(const RayletConfig& config);
  ~Raylet() override;
  int Run();

 private:
  // A driver or worker of this node, from its connection to its EOF.
  struct Client {
    UniqueFd socket;
    UniqueFd pidfd;
    Address address;
    pid_t pid = 0;
    bool is_driver = false;
    bool wants_logs = false;
    bool ready = false;  // has been welcomed
    uint64_t token = 0;
    JobId job;
    std::vector<bool> nodes_met;  // exchanged messages with
    // death
    bool dying = false;
    TimeNs dead_since = 0;
    std::optional<int> wait_status;
    std::string kill_reason;  // we asked for it
    bool out_of_memory = false;
    bool stopped = false;   // for a moment, to see whether it is idle
    bool drained = false;   // ended by us, since the node leaves
    uint64_t question = 0;  // no client: it waits for the answer to this
  };
  struct Spawn {
    JobId job;
    uint8_t language = 0;
    pid_t pid = 0;
    TimeNs since = 0;
  };
  struct Job {
    JobMessage start;
    uint32_t native_failures = 0;  // C++ workers in a row that ended before they had connected
  };
  struct Room {  // an extent request that waits for memory
    Address who;
    ExtentRequest request;
    TimeNs since = 0;
  };
  struct EndingJob {
    JobMessage message;
    std::set<uint16_t> slots;  // workers that must be gone first
    TimeNs deadline = 0;
  };

  // ---- bring-up (raylet.cc)
  Status MapMemory();
  Status BringUp();
  void MakeScheduler();
  Status StartTransport();
  Status MeetRanks();
  Status SwitchToDirect();
  void UseTransport(std::unique_ptr<Transport> transport);
  Status StartTransfer();
  void OnTransfers();
  std::string Origin() const;
  NodeRecord OwnRecord() const;
  void BecomeNode(uint32_t node, uint64_t run_id, const sched::Labels& labels);
  void StartPrefault();

  // ---- nodes that join later (raylet_join.cc)
  Status JoinRun();
  Status OpenToNodes();
  void Invite(int fd);
  void ShowNodes(int fd);
  void OnJoin(int peer, NodeRecord record);
  void Relay(const MessageHeader& header, Bytes body);

  // ---- questions of people (raylet_status.cc)
  void PassQuestion(int fd, Question question, Bytes body);
  void AnswerQuestion(uint64_t question, Bytes answer);
  void SendNodeStatus(uint64_t nonce);
  StatsReply StoreFigures() const;

  // ---- a node that leaves (raylet_drain.cc)
  void Leave(const std::string& reason);
  void OnDrainNode(const DrainNode& m, TimeNs now);
  void EndDrained(Client* c);
  bool WorkLeft() const override;
  bool EndIdleActors() override;
  uint32_t EndWorkers() override;
  uint32_t Workers() const override;
  std::vector<ObjectAt> Primaries() const override;
  std::vector<uint32_t> OtherNodes() const override;
  void SendPull(uint32_t node, const Pull& m) override;
  void SendDrained(const Drained& m) override;

  void Fatal(const std::string& text, int status);
  void Tell(KeeperMessage::Type type, int32_t pid, int32_t status, const std::string& text);

  // ---- the loop (raylet_loop.cc)
  void Loop();
  void Turn();
  TimeNs NextDeadline() const;
  void OnTimers(TimeNs now);
  void OnKeeper();
  void Stop(int status, const std::string& reason);
  bool StopDone(TimeNs now);
  void OnClosedPeers();

  // ---- messages (raylet_messages.cc)
  void OnLaneMessage(uint16_t src_slot, uint32_t src_generation, Bytes message);
  void OnPeerMessage(int peer, const MessageHeader& header, Bytes body);
  void Deliver(const MessageHeader& header, Bytes body);
  void OnMessage(const MessageHeader& header, Bytes body);
  void OnStoreMessage(const MessageHeader& header, Bytes body);
  void OnWorkerMessage(const MessageHeader& header, Bytes body);
  void OnClusterMessage(const MessageHeader& header, Bytes body);
  void Unreachable(const MessageHeader& header);
  void NoteMet(uint16_t slot, uint32_t node);
  void Broadcast(MsgType type, Bytes body);
  void FreeStored(const ObjectId& id, uint32_t attempt);
  const objstore::Store::Entry* FindAnnounced(const ObjectId& id, uint32_t attempt);
  void TellEvicted();
  void EndCorrupt(const Address& who);

  // ---- room in the store, and objects on disk (raylet_room.cc)
  void StartSpiller();
  void ShareSpillFolders(const std::vector<NodeRecord>& nodes);
  void HandleExtent(const Address& from, const ExtentRequest& m, TimeNs now);
  void GrantExtent(const Room& r, const objstore::Range& range);
  void RetryRoom(TimeNs now);
  void AfterFree();
  void Spill(TimeNs now);

  // ---- starting workers (raylet_workers.cc)
  void OnJobStarted(const JobMessage& m);
  void AskZygote(uint64_t token, JobId job, int out, int err);
  void AskKeeper(uint64_t token, const JobMessage& job, int out, int err);
  void OnZygote();
  void OnWorkerStarted(uint64_t token, pid_t pid);
  bool OnSpawnExit(pid_t pid, int wait_status);
  void SpawnFailed(uint64_t token, const std::string& why);
  void ExpireSpawns(TimeNs now);

  // ---- memory (raylet_memory.cc)
  void CheckMemory(TimeNs now);
  std::vector<OomCandidate> OomCandidates() const;
  void NoteKernelKill(Client& c);

  // ---- clients and their ends (raylet_clients.cc)
  void OnChildExit(pid_t pid, int wait_status);
  void OnConnect();
  void OnHello(int fd);
  void Welcome(Client* c);
  void Refuse(int fd, const std::string& why);
  void StartDeath(Client* c, TimeNs now);
  void FinishDeaths(TimeNs now);
  void FinishDeath(Client* c);
  std::string CauseOf(Client& c);
  void EndOwner(const Address& owner);
  void Kill(const Address& worker, const std::string& why);
  Client* ClientAt(const Address& a);
  void OnJobEnd(const JobMessage& m, TimeNs now);
  void CheckEndingJobs(TimeNs now);
  void ForgetJob(JobId job);
  void RelayLines(const WorkerOutput& who, bool is_stderr, std::string_view task, std::string_view lines);
  bool LogsReady(JobId job) const;
  void SendLines(const Address& driver, const LogLines& lines);

  // ---- LocalScheduler::Host
  void SendGrant(const Address& owner, const Grant& grant) override;
  void AssignDevices(const Address& worker, uint64_t lease, const sched::Devices& devices) override;
  void AssignCpus(const Address& worker, uint64_t lease, const sched::CpuSet& cpus) override;
  void SendReclaim(const Address& owner, const Reclaim& m) override;
  void SendReserved(const Reserved& m) override;
  void SendDemand(const Demand& demand) override;
  void SendReject(const Demand& demand) override;
  void StartWorker(JobId job, uint8_t language) override;
  void SendUnschedulable(const Address& owner, const Unschedulable& m) override;
  void StopWorker(const Address& worker) override;
  // ---- PullManager::Host
  void Fetch(uint64_t request, uint32_t node, const ObjectId& id, uint32_t attempt, uint64_t src_offset,
             uint64_t dst_offset, uint64_t bytes, bool coming) override;
  void CancelFetch(uint64_t request) override { transfer_->Cancel(request); }
  void Coming(const objstore::Version& version, const objstore::Locator& at, bool open) override;
  void Came(const objstore::Version& version) override;
  uint64_t ArrivedBytes(const objstore::Version& version) const override { return served_.Arrived(version); }
  bool Reachable(uint32_t node) const override { return transfer_ != nullptr && router_.PeerOf(node) >= 0; }
  void Serving(const objstore::Store::Entry& entry, bool serving) override { served_.Set(entry, serving); }
  void WantRoom() override;
  bool OnDisk(const ObjectId& id, uint32_t attempt) const override {
    return spiller_->manager().Holds(id, attempt);
  }
  uint64_t DiskSize(const ObjectId& id, uint32_t attempt) const override {
    return spiller_->manager().SizeOf(id, attempt);
  }
  std::vector<objstore::spill::SpillManager::Ahead> ReadAhead(const objstore::Version& version) override {
    return spiller_->manager().ReadAhead(version);
  }
  void Restore(const std::vector<objstore::spill::RestoreItem>& items) override { spiller_->Restore(items); }
  bool LeftFiles(uint32_t node) const override { return spiller_->left().Has(node); }
  void RestoreLeft(uint32_t node, const objstore::spill::RestoreItem& item, uint64_t size) override {
    spiller_->left().Restore(node, item, size);
  }
  TimeNs RoomProgress() const override { return room_progress_; }
  std::string StoreFullText(uint64_t wanted) const override;
  // ---- Gcs::Host
  void OnNodeJoined(const NodeRecord& record) override;
  void OnNodeDead(uint32_t node) override;
  void Warn(const std::string& text) override;
  std::string When() const override;
  void OnBringUpFailed(const std::string& text) override { Fatal(text, 1); }
  // ---- DetachedActors::Host
  std::optional<JobId> StartDetachedJob(JobId of) override { return gcs_->StartDetachedJob(of); }
  void EndDetachedJob(JobId job) override;
  std::optional<Blob> ReadStored(const ObjectId& id, uint32_t attempt) override;

  RayletConfig config_;
  EventLoop loop_;
  UniqueFd bell_;  // eventfd of our lanes' bell
  UniqueFd notes_fd_;
  SlotNotes* notes_ = nullptr;
  std::unique_ptr<lane::Board> board_;
  std::unique_ptr<lane::Port> port_;
  std::unique_ptr<objstore::Arena> arena_;
  std::unique_ptr<objstore::PinTable> pins_;
  std::unique_ptr<objstore::Store> store_;
  std::unique_ptr<Spiller> spiller_;
  std::unique_ptr<objstore::Prefaulter> prefaulter_;
  UniqueFd prefault_bell_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Transport> mpi_;      // with --transport direct: brought the run up, rests since
  DirectTransport* joiners_ = nullptr;  // on the head: inside of transport_, once somebody may join
  int launch_size_ = 1;   // ranks of the launch; nodes that join later are numbered from there on
  bool joined_ = false;   // this node did
  bool one_host_ = true;  // all nodes of the run are on this host
  std::unique_ptr<PeerLinks> links_;
  RunSecret secret_{};
  std::vector<std::string> hosts_;  // on the head: of each rank
  ServedObjects served_;
  std::unique_ptr<Transfer> transfer_;  // after served_: its data thread asks there
  Router router_;
  OutboxOf gcs_outbox_, detached_outbox_;
  std::unique_ptr<Gcs> gcs_;                  // on the head
  std::unique_ptr<DetachedActors> detached_;  // on the head
  std::unique_ptr<sched::LocalScheduler> scheduler_;
  std::unique_ptr<PullManager> pulls_;
  NodeDrain drain_{this};
  std::string drain_reason_;
  TimeNs leave_by_ = kNever;  // asked to end: at the latest
  bool termed_ = false;       // all processes of this node that joined were asked to end
  LogRelay logs_;
  FunctionCache functions_;

  int rank_ = 0;
  std::string ip_ = "127.0.0.1";
  uint32_t node_ = 0;
  uint64_t run_id_ = 0;
  bool head_ = true;
  std::unordered_map<int, std::unique_ptr<Client>> connecting_;    // socket -> not said hello yet
  std::unordered_map<uint16_t, std::unique_ptr<Client>> clients_;  // by slot
  std::unordered_map<uint64_t, Spawn> spawns_;                     // by token
  std::unordered_set<pid_t> early_exits_;  // reported by the keeper before the zygote had named them
  uint32_t start_failures_ = 0;            // in a row
  uint64_t next_token_ = 1;
  std::unordered_map<uint32_t, Job> jobs_;             // those that run
  std::unordered_map<Address, size_t> log_unprinted_;  // bytes of lines sent to a driver and not acknowledged
  // Nonce -> slot of the driver that waits for its number.
  std::unordered_map<uint64_t, uint16_t> job_starts_;
  uint64_t next_nonce_ = 1;
  std::vector<Room> waiting_room_;
  TimeNs retry_room_at_ = 0;
  Backoff room_retries_{200 * kMicrosecond, 10 * kMillisecond};  // pins end without a word
  std::vector<EndingJob> ending_jobs_;
  std::unordered_map<uint32_t, NodeRecord> nodes_;
  std::deque<std::pair<Address, std::string>> causes_;  // of the latest deaths here
  std::unordered_set<Address> gone_owners_;             // never used again: 12 bytes per process that ended
  Fence fence_;
  std::unique_ptr<HeartbeatLink> heartbeats_;
  MemoryMonitor memory_{""};
  uint64_t kernel_kills_ = 0;  // by its OOM killer in our control groups, those before our start included
  TimeNs next_reclaim_ = 0;
  TimeNs room_progress_ = 0;      // of the latest write to disk, or FREE, that made room
  TimeNs listen_again_ = kNever;  // there were no descriptors for a new client
  bool stopping_ = false;
  bool stop_asked_ = false;
  int stop_status_ = 0;
  TimeNs stop_deadline_ = kNever;
  bool all_alive_ = true;
  std::optional<int> fatal_;
};

}  // namespace rmpi
