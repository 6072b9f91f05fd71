// SPDX-License-Identifier: Apache-2.0
// UcxTransfer: Transfer over UCX active messages.
//
// Control thread: commands go into a queue, completions come out of another; a mutex and an eventfd each.
// Data thread: everything else, without locks. UCX calls us back only from its ucp_worker_progress.
//
//   Link   a peer's worker, known by the key of its address; its endpoint is made on first use and by force
//          closed on failure. Several fetches of one source take turns on it, within a window of bytes.
//   Chunk  a request on its way, named by a token. An answer without a chunk (late, cancelled) is dropped.
//
// A fetch completes only when none of its chunks is being received: UCX may be writing into the arena.
#pragma once

#include <ucp/api/ucp.h>

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "objstore/transfer/transfer.h"
#include "objstore/transfer/ucx_worker.h"
#include "objstore/transfer/wire.h"
#include "runtime/base/time.h"
#include "runtime/base/unique_fd.h"

namespace rmpi::transfer {

class UcxTransfer final : public Transfer {
 public:
  explicit UcxTransfer(Options options);
  ~UcxTransfer() override;
  Status Start();

  std::string LocalAddress() const override { return worker_.address(); }
  Status AddPeer(uint32_t node, const std::string& address) override;
  void DropPeer(uint32_t node) override { Push(Drop{node}); }
  void AddSegment(uint32_t segment, std::byte* base, uint64_t bytes) override {
    Push(Segment{segment, base, bytes});
  }
  void Fetch(uint64_t request, uint32_t node, const ObjectId& id, uint32_t attempt, Place from, Place to,
             uint64_t bytes, bool coming) override;
  void Cancel(uint64_t request) override { Push(Revoke{request}); }
  void Recheck() override { Push(Look{}); }
  int EventFd() const override { return completion_event_.get(); }
  std::vector<Completion> TakeCompletions() override;
  Counters counters() const override;

 private:
  // Commands of the control thread.
  struct Add {
    uint32_t node;
    std::string address;
  };
  struct Drop {
    uint32_t node;
  };
  struct Segment {
    uint32_t segment;
    std::byte* base;
    uint64_t bytes;
  };
  struct Pull {
    uint64_t request;
    uint32_t node;
    ObjectId id;
    uint32_t attempt;
    Place from, to;
    uint64_t bytes;
    bool coming;
  };
  struct Revoke {
    uint64_t request;
  };
  struct Look {};
  struct Stop {};
  using Command = std::variant<Add, Drop, Segment, Pull, Revoke, Look, Stop>;

  struct Link {
    uint64_t key = 0;
    std::string address;
    ucp_ep_h endpoint = nullptr;
    void* closing = nullptr;    // UCX's request of a close under way
    bool failed = false;        // UCX said so; to be closed
    bool dead = false;          // dropped: nothing to it or from it any more
    bool heard = false;         // it has answered on this endpoint, so it knows our address
    uint64_t window_used = 0;   // bytes asked for and not arrived, but for what is still coming there
    uint32_t chunks = 0;        // the same
    std::deque<uint64_t> line;  // fetches with chunks still to ask for, in turn
  };
  struct Open {  // a fetch under way
    Pull what;
    uint64_t link;
    uint64_t asked = 0, arrived = 0;     // bytes
    uint32_t chunks = 0;                 // asked for, not finished
    uint32_t receiving = 0;              // of these: UCX writes into the arena
    uint64_t prefix = 0;                 // bytes from the beginning that have arrived without a gap
    std::map<uint64_t, uint64_t> early;  // chunks behind a gap: offset, bytes
    bool begun = false;
    Status status;
  };
  struct Chunk {
    uint64_t request;
    uint64_t link;
    uint64_t offset;  // within the fetch
    uint64_t bytes;
    bool receiving = false;
  };
  struct Request {  // of a peer, to be served
    ChunkRequest header;
    std::string address;
  };
  template <typename Header>
  struct Sending {  // UCX reads these until the send completes
    UcxTransfer* self;
    Header header;
    std::string payload;
  };
  struct Receiving {
    UcxTransfer* self;
    uint64_t token;
  };

  // ucx_transfer.cc: both threads' ends of the queues, the data thread's loop
  void Push(Command command);
  void Run();
  bool TakeCommands();  // false: stop
  void Sleep();
  void Complete(uint64_t request, Status status, uint64_t bytes);
  void Do(Add command);
  void Do(Drop command);
  void Do(Segment command);
  void Do(Pull command);
  void Do(Revoke command);
  void Do(Look) { look_again_ = true; }
  std::byte* At(uint32_t segment, uint64_t offset, uint64_t bytes) const;  // null when not inside

  // link.cc: peers and their endpoints
  Link* LinkOf(uint64_t key);
  Link* AddLink(const std::string& address);
  Status Connect(Link* link);
  void CloseLink(Link* link);
  void MendLinks();  // closes what failed, finishes closes
  void CloseAll();
  void FailFetches(uint64_t link, const Status& status, bool force);
  static void OnError(void* self, ucp_ep_h endpoint, ucs_status_t status);
  template <typename Header>
  ucs_status_t Post(Link* link, unsigned id, const Header& header, std::string payload, const std::byte* data,
                    uint64_t bytes);
  template <typename Header>
  static void OnSent(void* request, ucs_status_t status, void* sending);

  // fetch.cc: the requester
  void Pump(Link* link);
  void Ask(Link* link, Open* fetch);
  void PumpComing(Link* link, Open* fetch);
  void Uncount(Link* link, const Open& fetch, uint64_t bytes);
  void NoteArrived(Open* fetch, const Chunk& chunk);
  void Fail(Open* fetch, Status status);
  void FinishChunk(uint64_t token, ucs_status_t status);
  void MaybeComplete(Open* fetch);
  static ucs_status_t OnAnswer(void* self, const void* header, size_t header_size, void* data, size_t size,
                               const ucp_am_recv_param_t* param);
  ucs_status_t TakeAnswer(const ChunkAnswer& answer, void* data, size_t size, bool rendezvous);
  static void OnReceived(void* request, ucs_status_t status, size_t size, void* receiving);

  // serve.cc: the source
  static ucs_status_t OnRequest(void* self, const void* header, size_t header_size, void* data, size_t size,
                                const ucp_am_recv_param_t* param);
  void ServeRequests();
  void Serve(const Request& request);
  bool Reply(Link* link, const ChunkAnswer& answer, const std::byte* data);

  Options options_;
  UcxWorker worker_;
  std::thread thread_;

  mutable std::mutex mutex_;  // guards the two queues
  std::vector<Command> commands_;
  std::vector<Completion> completions_;
  UniqueFd command_event_, completion_event_;

  // Data thread only.
  UniqueFd epoll_;
  std::unordered_map<uint32_t, Segment> segments_;
  std::unordered_map<uint64_t, Link> links_;
  std::unordered_map<uint32_t, uint64_t> nodes_;  // to the key of its link
  std::unordered_map<uint64_t, Open> fetches_;
  std::unordered_map<uint64_t, Chunk> chunks_;
  std::vector<Request> requests_;
  std::vector<Request> parked_;  // for what is still coming
  bool look_again_ = false;      // at those
  std::vector<uint64_t> to_pump_, to_mend_;
  uint64_t own_key_ = 0;
  uint64_t next_token_ = 1;
  uint64_t sending_ = 0;  // operations that UCX has not finished
  uint64_t receiving_ = 0;
  uint64_t closing_ = 0;

  struct {
    std::atomic<uint64_t> bytes_in{0}, bytes_out{0}, chunks_in{0}, chunks_out{0}, refused{0}, gone{0};
  } counters_;
};

}  // namespace rmpi::transfer
