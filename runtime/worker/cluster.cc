// SPDX-License-Identifier: Apache-2.0
// CoreWorker: key/value, functions, nodes, statistics.
#include <span>

#include "runtime/base/session_socket.h"
#include "runtime/worker/impl.h"
#include "runtime/worker/nodes_of.h"

namespace rmpi {
namespace {

constexpr char kFunctions[] = "fun";
constexpr size_t kMaxNodesBytes = 1 << 20;
constexpr size_t kLargestValue = 95 << 20;  // Ray's limit for a function, too

Status TooLarge(const std::string& what, size_t bytes) {
  return Status::Invalid(what + " has " + std::to_string(bytes) + " bytes, more than the " +
                         std::to_string(kLargestValue) +
                         " that the head keeps: ray.put() large data and pass the reference");
}

ResourceList FromFixed(const std::vector<std::pair<std::string, int64_t>>& in) {
  ResourceList out;
  for (const auto& [name, amount] : in) out.emplace_back(name, static_cast<double>(amount) / 10000);
  return out;
}

std::vector<NodeInfo> Describe(const NodesReply& reply, uint64_t run_id) {
  std::vector<NodeInfo> out;
  for (const NodeRecord& r : reply.nodes) {
    NodeInfo n;
    n.node = r.node;
    n.hex_id = NodeHex(run_id, r.node);
    n.alive = r.alive;
    n.hostname = r.hostname;
    n.ip = r.ip;
    n.rank = r.rank;  // negative: it joined later
    n.total = FromFixed(r.total);
    n.available = FromFixed(r.available);
    n.labels = r.labels;
    n.death_reason = r.death_reason;
    out.push_back(std::move(n));
  }
  return out;
}

}  // namespace

const Address& CoreWorker::address() const { return impl_->self_; }
JobId CoreWorker::job_id() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  return impl_->core_.objects().job();
}
uint64_t CoreWorker::run_id() const { return impl_->run_id_; }
uint32_t CoreWorker::node() const { return impl_->self_.node; }
std::string CoreWorker::session() const { return impl_->session_; }

Status CoreWorker::Export(const std::string& key, Bytes value) {
  if (value.size() > kLargestValue) return TooLarge("the pickled function", value.size());
  KvRequest m;
  m.op = KvOp::kPut;
  m.ns = kFunctions;
  m.key = key;
  m.value = Blob::Copy(value);
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  impl_->Send(GcsAddress(), MsgType::kKvRequest, m);
  impl_->FlushLanes();
  return Status::Ok();
}

Status CoreWorker::Import(const std::string& key, TimeNs deadline, Blob* value) {
  KvRequest m;
  m.op = KvOp::kWaitGet;
  m.ns = kFunctions;
  m.key = key;
  KvReply reply;
  // The raylet of this node keeps what its workers have asked for.
  Status s = impl_->Call(RayletOf(impl_->self_.node), MsgType::kKvRequest, m, deadline, &reply);
  if (s.ok()) *value = std::move(reply.value);
  return s;
}

Status CoreWorker::KvPut(const std::string& ns, const std::string& key, Bytes value, bool overwrite,
                         bool* added) {
  if (value.size() > kLargestValue) return TooLarge("the value of key " + key, value.size());
  KvRequest m;
  m.op = KvOp::kPut;
  m.overwrite = overwrite;
  m.ns = "kv:" + ns;
  m.key = key;
  m.value = Blob::Copy(value);
  KvReply reply;
  Status s = impl_->Call(GcsAddress(), MsgType::kKvRequest, m, MonotonicNow() + kAnswerPatience, &reply);
  *added = reply.found;
  return s;
}

Status CoreWorker::KvGet(const std::string& ns, const std::string& key, std::optional<Blob>* value) {
  KvRequest m;
  m.ns = "kv:" + ns;
  m.key = key;
  KvReply reply;
  Status s = impl_->Call(GcsAddress(), MsgType::kKvRequest, m, MonotonicNow() + kAnswerPatience, &reply);
  value->reset();
  if (s.ok() && reply.found) *value = std::move(reply.value);
  return s;
}

Status CoreWorker::KvDel(const std::string& ns, const std::string& key, bool* deleted) {
  KvRequest m;
  m.op = KvOp::kDelete;
  m.ns = "kv:" + ns;
  m.key = key;
  KvReply reply;
  Status s = impl_->Call(GcsAddress(), MsgType::kKvRequest, m, MonotonicNow() + kAnswerPatience, &reply);
  *deleted = reply.found;
  return s;
}

Status CoreWorker::KvKeys(const std::string& ns, const std::string& prefix, std::vector<std::string>* keys) {
  KvRequest m;
  m.op = KvOp::kKeys;
  m.ns = "kv:" + ns;
  m.key = prefix;
  KvReply reply;
  Status s = impl_->Call(GcsAddress(), MsgType::kKvRequest, m, MonotonicNow() + kAnswerPatience, &reply);
  *keys = std::move(reply.keys);
  return s;
}

void CoreWorker::Impl::OnLogLines(const Address& from, LogLines m) {
  if (printer_) {
    printer_->Add(from, std::move(m));
  } else {
    Send(from, MsgType::kLogAck, LogAck{m.text.size()});
  }
}

Status CoreWorker::Nodes(std::vector<NodeInfo>* out) {
  NodesReply reply;
  Status s =
      impl_->Call(GcsAddress(), MsgType::kNodesRequest, Nonce{}, MonotonicNow() + kAnswerPatience, &reply);
  *out = Describe(reply, impl_->run_id_);
  return s;
}

Status NodesOf(const std::string& session, std::vector<NodeInfo>* out) {
  ClientHello hello;
  hello.asks = kAsksNodes;
  std::vector<std::byte> answer(kMaxNodesBytes);
  size_t n = 0;
  if (Status s = AskSession(session, std::as_bytes(std::span(&hello, 1)), answer, &n); !s.ok()) return s;
  uint64_t run_id = 0;
  NodesReply reply;
  Reader reader({answer.data(), n});
  reader(run_id);
  reader(reply);
  if (n == 0 || !reader.Done())
    return Status::Unavailable("the runtime at " + session + " does not answer: it is ending, or has failed");
  *out = Describe(reply, run_id);
  return Status::Ok();
}

StoreStats CoreWorker::Stats() {
  StoreStats out;
  StatsReply reply;
  if (!impl_
           ->Call(RayletOf(impl_->self_.node), MsgType::kStats, Nonce{}, MonotonicNow() + kAnswerPatience,
                  &reply)
           .ok()) {
    return out;
  }
  const std::lock_guard<std::mutex> lock(impl_->mutex_);
  out.capacity_bytes = reply.capacity;
  out.used_bytes = reply.used;
  out.objects = reply.objects;
  out.bytes_moved = reply.moved;
  out.bytes_read_in_place = impl_->read_in_place_;
  out.owned_entries = impl_->core_.objects().owned_count();
  out.borrowed_entries = impl_->core_.objects().borrowed_count();
  out.pending_tasks = impl_->core_.tasks().pending_count();
  return out;
}

SystemError DecodeSystemError(Bytes bytes) {
  SystemError e;
  Reader reader(bytes);
  uint8_t type = 0;
  reader(type, e.message, e.context);
  e.type = static_cast<ErrorType>(type);
  return e;
}

}  // namespace rmpi
