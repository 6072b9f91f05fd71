// SPDX-License-Identifier: Apache-2.0
// PullWorld: the real PullManagers and stores of many nodes in one thread and virtual time. Frames and links
// are models; bytes are real, copied at the last moment at which a transfer could still read them, so that
// memory given up too early shows as wrong bytes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "runtime/raylet/pull_manager.h"
#include "runtime/raylet/served_objects.h"
#include "tests/objstore/store_fixture.h"
#include "tests/sim/rng.h"

namespace rmpi::sim {

constexpr uint64_t kChunkBytes = 4096;
constexpr uint64_t kChunksInFlight = 4;
constexpr TimeNs kChunkTime = kMillisecond;  // on a link

class PullWorld {
 public:
  struct Setup {
    uint64_t seed = 1;
    uint32_t nodes = 4;
    uint64_t store_bytes = 1 << 20;
    TimeNs most_latency = 100 * kMicrosecond;
  };
  explicit PullWorld(const Setup& setup);
  ~PullWorld();

  // An object whose only place is that node. The owner never dies.
  ObjectId Make(uint32_t node, uint64_t bytes);
  // A process of that node wants these, and has them all at once before it goes on.
  void Want(uint32_t node, const std::vector<ObjectId>& ids, PullPriority priority, TimeNs at);
  void KillNode(uint32_t node, TimeNs at);
  void Pause(uint32_t node, TimeNs at, TimeNs length);
  void Free(const ObjectId& id, TimeNs at);
  // Until everybody has what he wants, or it is lost. False, with a text, when something is wrong.
  bool Run(TimeNs limit);

  TimeNs now() const { return now_; }
  const std::string& problem() const { return problem_; }
  uint64_t sent_bytes(uint32_t node) const;
  uint32_t most_served(uint32_t node) const;  // at once, directly
  // When the readers' wishes were met, in that order.
  struct Met {
    uint32_t node;
    PullPriority priority;
    TimeNs at;
  };
  const std::vector<Met>& met() const { return met_; }
  uint64_t lost() const { return lost_; }

 private:
  struct Node;
  struct Reader {
    uint32_t node;
    uint16_t slot;
    PullPriority priority;
    std::vector<ObjectId> ids;
    std::set<ObjectId> missing;
    bool done = false;
  };
  struct Run_;
  struct Object {
    uint64_t size = 0;
    std::vector<uint32_t> places;
    bool freed = false;
  };
  struct Event {
    TimeNs at;
    uint64_t order;
    std::function<void()> fn;
    bool operator<(const Event& o) const { return std::pair(at, order) > std::pair(o.at, o.order); }
  };

  void At(TimeNs at, std::function<void()> fn);
  // On that node's own time: later while it is stopped, never when it is dead.
  void OnNode(uint32_t node, TimeNs at, std::function<void(Node&)> fn);
  TimeNs Latency() { return 10 * kMicrosecond + static_cast<TimeNs>(rng_.Below(setup_.most_latency)); }
  void Post(uint32_t from, const Address& to, MsgType type, Bytes body);
  void Deliver(Node& node, const Address& from, const Address& to, MsgType type, const Blob& body);
  void Settle(Node& node);
  void OwnerGets(MsgType type, const Blob& body);
  void Reply(const Address& reader, const PullReply& m);
  void Wish(const Reader& reader, const ObjectId& id);
  // The transfers.
  void AskChunks(uint32_t node, uint64_t request);
  void ServeChunk(uint32_t source, uint32_t to, uint64_t request, uint64_t turn, uint64_t offset,
                  uint64_t bytes);
  void EndFetch(Node& node, uint64_t request, bool ok);
  void Recheck(Node& node);
  void Fail(const std::string& text);
  bool Bad(const ObjectId& id, const std::byte* data) const;

  Setup setup_;
  Rng rng_;
  TimeNs now_ = kSecond;
  uint64_t next_order_ = 0;
  uint64_t next_object_ = 1;
  std::priority_queue<Event> events_;
  std::vector<std::unique_ptr<Node>> nodes_;  // 0: none
  std::map<std::pair<uint32_t, uint32_t>, TimeNs> fifo_;
  std::map<ObjectId, Object> objects_;
  std::vector<Reader> readers_;
  std::vector<Met> met_;
  uint64_t lost_ = 0;
  size_t waiting_ = 0;  // readers
  std::string problem_;
};

}  // namespace rmpi::sim
