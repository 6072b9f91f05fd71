// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/cluster.h"

#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <stdexcept>

#include "tests/scale/node.h"
#include "tests/scale/owner.h"

namespace rmpi::scale {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

}  // namespace

TimeNs CpuNow() {
  timespec ts;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return static_cast<TimeNs>(ts.tv_sec) * kSecond + ts.tv_nsec;
}

Cluster::Cluster(const Size& size, const Costs& costs, uint32_t owners) : size_(size), costs_(costs) {
  GcsOptions options;
  options.run_id = 1;
  options.expected_nodes = size.nodes;
  if (size.flat) options.heartbeats.above = size.nodes;
  gcs_ = std::make_unique<Gcs>(options, this, this);
  alive_.assign(size.nodes, true);
  for (uint32_t id = 1; id <= size.nodes; ++id) nodes_.push_back(std::make_unique<Node>(this, id));
  const size_t before = mallinfo2().uordblks;
  for (const auto& node : nodes_) gcs_->OnJoin(node->Record(), now_);
  head_bytes_ = mallinfo2().uordblks - before;
  for (uint32_t i = 0; i < owners; ++i) {  // the first one is the driver, the others are spread
    const uint32_t node = 1 + i * std::max(1U, size.nodes / owners) % size.nodes;
    owners_.push_back(std::make_unique<Owner>(this, nodes_[node - 1]->OpenSlot()));
    owner_at_[owners_.back()->self()] = owners_.back().get();
  }
  Writer job;  // the one that all owners are of
  job(JobMessage{});
  MessageHeader header;
  header.type = static_cast<uint16_t>(MsgType::kJobStart);
  header.src = RayletOf(1);
  gcs_->OnMessage(header, job.bytes(), now_);
  HeadTimer();
  head_ = {};
}
Cluster::~Cluster() = default;

Owner* Cluster::OwnerAt(const Address& a) {
  const auto it = owner_at_.find(a);
  return it == owner_at_.end() ? nullptr : it->second;
}

void Cluster::OnBringUpFailed(const std::string& text) { throw std::logic_error(text); }

// Its processes are silent from now on; what they sent arrives.
void Cluster::KillNode(uint32_t id) { alive_[id - 1] = false; }

// ---- time -------------------------------------------------------------------------------------------------

void Cluster::At(TimeNs when, Timer timer, uint32_t who, uint64_t what) {
  events_due_.push({std::max(when, now_), next_order_++, kNone, timer, who, what});
}

bool Cluster::RunUntilIdle(TimeNs limit) { return Run(now_ + limit, true); }

bool Cluster::Run(TimeNs limit, bool until_idle) {
  while (!events_due_.empty()) {
    if (until_idle && unfinished == 0) return true;
    const Event e = events_due_.top();
    if (e.at > limit) break;
    events_due_.pop();
    now_ = e.at;
    ++events_;
    Handle(e);
  }
  now_ = limit;
  return !until_idle || unfinished == 0;
}

void Cluster::Handle(const Event& e) {
  if (e.message != kNone) {
    const Message m = std::move(messages_[e.message]);
    free_messages_.push_back(e.message);
    return Deliver(m);
  }
  switch (e.timer) {
    case Timer::kHead:
      return HeadTimer();
    case Timer::kOwner:
      return owners_[e.who]->OnTimer();
    case Timer::kNode:
      if (alive_[e.who - 1]) nodes_[e.who - 1]->OnTimer();
      return;
    case Timer::kForked:
      if (alive_[e.who - 1]) nodes_[e.who - 1]->OnForked(static_cast<uint8_t>(e.what));
      return;
    case Timer::kTaskDone:
      if (alive_[e.who - 1]) nodes_[e.who - 1]->OnTaskDone(static_cast<uint16_t>(e.what));
      return;
  }
}

// ---- links ------------------------------------------------------------------------------------------------

// When somebody who is busy until then has done one thing more.
TimeNs Cluster::Busy(TimeNs* until, TimeNs from, TimeNs cost) {
  return *until = std::max(*until, from) + cost;
}

void Cluster::Send(const Address& from, const Address& to, MsgType type, Bytes body) {
  TimeNs leaves = now_;
  if (Owner* o = OwnerAt(from)) leaves = Busy(&o->busy_until, now_, costs_.owner_message);
  if (from == GcsAddress()) leaves = Busy(&head_busy_until_, now_, costs_.head_message);
  TimeNs arrives = leaves + (from.node == to.node ? costs_.lane : costs_.wire);
  // A queue before the receiver: who is busy takes it later.
  if (Owner* o = OwnerAt(to)) arrives = Busy(&o->takes_until, arrives, costs_.owner_message);
  if (to == GcsAddress()) arrives = Busy(&head_busy_until_, arrives, costs_.head_message);
  uint32_t index = 0;
  if (free_messages_.empty()) {
    index = static_cast<uint32_t>(messages_.size());
    messages_.emplace_back();
  } else {
    index = free_messages_.back();
    free_messages_.pop_back();
  }
  Message& m = messages_[index];
  m.header.type = static_cast<uint16_t>(type);
  m.header.body_bytes = static_cast<uint32_t>(body.size());
  m.header.src = from;
  m.header.dst = to;
  m.body = Blob::Copy(body);
  events_due_.push({arrives, next_order_++, index, Timer::kHead, 0, 0});
}

void Cluster::Deliver(const Message& m) {
  const Address& to = m.header.dst;
  if (to == GcsAddress()) return ToHead(m);
  if (!alive_[to.node - 1]) return;
  if (Owner* o = OwnerAt(to)) return o->OnMessage(m.header, m.body.bytes());
  nodes_[to.node - 1]->OnMessage(m.header, m.body.bytes());
}

// ---- the head ---------------------------------------------------------------------------------------------

void Cluster::ToHead(const Message& m) {
  const auto type = static_cast<MsgType>(m.header.type);
  ++(type == MsgType::kHeartbeat || type == MsgType::kHeartbeats ? head_.heartbeats : head_.in);
  const TimeNs begin = CpuNow();
  gcs_->OnMessage(m.header, m.body.bytes(), now_);
  head_.cpu += CpuNow() - begin;
}

void Cluster::HeadTimer() {
  const TimeNs begin = CpuNow();
  gcs_->OnTimer(now_);
  head_.cpu += CpuNow() - begin;
  At(std::max(gcs_->NextDeadline() == kNever ? now_ + kSecond : gcs_->NextDeadline(), now_ + kMillisecond),
     Timer::kHead, 0);
}

void Cluster::Post(const Address& to, MsgType type, Bytes body) {
  switch (type) {
    case MsgType::kHeartbeatAck:
      return Send(GcsAddress(), to, type, body);
    case MsgType::kJoined:  // bring-up is not what is measured here
    case MsgType::kNodeAdded:
    case MsgType::kJobStartReply:
      return;
    case MsgType::kAssign: {
      Demand d;
      Reader reader(body);
      reader(d);
      head_.assigned += d.count;
      break;
    }
    case MsgType::kGroupReserve: {
      Reserve m;
      Reader reader(body);
      reader(m);
      head_.assigned += m.bundles.size();
      break;
    }
    default:
      break;
  }
  ++head_.out;
  Send(GcsAddress(), to, type, body);
}

HeadLoad Cluster::TakeHeadLoad() { return std::exchange(head_, {}); }

// ---- what is counted --------------------------------------------------------------------------------------

void Cluster::Started(TimeNs submitted) {
  ++started_;
  last_start_ = now_;
  latencies_.push_back(now_ - submitted);
}

std::vector<TimeNs> Cluster::TakeLatencies() {
  std::vector<TimeNs> out = std::exchange(latencies_, {});
  std::sort(out.begin(), out.end());
  return out;
}

double Cluster::LocalGrantsPerSecond() const {
  return local_cpu_ == 0 ? 0 : static_cast<double>(local_grants_) * 1e9 / static_cast<double>(local_cpu_);
}

}  // namespace rmpi::scale
