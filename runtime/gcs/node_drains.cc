// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/node_drains.h"

#include <algorithm>
#include <cstdlib>

namespace rmpi {
namespace {

constexpr size_t kLeastIdDigits = 4;
constexpr size_t kShownIdDigits = 12;
constexpr size_t kMostListed = 16;

std::string Where(const NodeRecord& r) {
  return (r.rank < 0 ? "joined later" : "rank " + std::to_string(r.rank)) + " on " + r.hostname;
}

std::string Listed(const NodeRecord& r, uint64_t run_id) {
  return Where(r) + ", id " + NodeHex(run_id, r.node).substr(0, kShownIdDigits);
}

bool IsHost(const NodeRecord& r, const std::string& name) {
  return r.hostname == name || r.hostname.substr(0, r.hostname.find('.')) == name;
}

bool IsRank(const NodeRecord& r, const std::string& number) {
  return r.rank >= 0 && std::to_string(r.rank) == number;
}

}  // namespace

// A number is a rank if there is such a one; else the beginning of an id, as anything may be.
Status NodeDrains::Find(const Nodes& nodes, uint64_t run_id, const std::string& wanted, uint32_t* node) {
  std::vector<const NodeRecord*> ranks, hosts, ids;
  std::string there;
  size_t alive = 0;
  for (const auto& [id, r] : nodes) {
    if (!r.alive) continue;
    if (++alive <= kMostListed) there += (there.empty() ? "" : "; ") + Listed(r, run_id);
    if (IsRank(r, wanted)) ranks.push_back(&r);
    if (IsHost(r, wanted)) hosts.push_back(&r);
    if (wanted.size() >= kLeastIdDigits && NodeHex(run_id, id).starts_with(wanted)) ids.push_back(&r);
  }
  if (alive > kMostListed) there += "; and " + std::to_string(alive - kMostListed) + " more";
  const auto& found = !ranks.empty() ? ranks : !hosts.empty() ? hosts : ids;
  if (found.size() == 1) {
    *node = found.front()->node;
    return Status::Ok();
  }
  if (found.empty())
    return Status::NotFound("no node that is up has the rank, the host name or the beginning of an id '" +
                            wanted + "'. There are: " + there);
  std::string which;
  for (const NodeRecord* r : found) which += (which.empty() ? "" : "; ") + Listed(*r, run_id);
  return Status::Invalid("'" + wanted + "' may be any of " + std::to_string(found.size()) +
                         " nodes; name one by its rank or its id: " + which);
}

void NodeDrains::Start(const NodeRecord& record, const std::string& reason) {
  Drain& d = drains_[record.node];
  d.reason = reason;
  d.state.number = record.node;
  d.state.node = "node " + std::to_string(record.node) + " (" + Where(record) + ")";
  d.state.stays = record.rank >= 0;
  Changed(&d);
}

bool NodeDrains::OnReport(uint32_t node, const Drained& report) {
  const auto it = drains_.find(node);
  if (it == drains_.end() || it->second.state.report == report) return false;
  it->second.state.report = report;
  Changed(&it->second);
  return true;
}

void NodeDrains::OnRequest(const Address& from, const DrainRequest& m, uint32_t node) {
  const auto it = drains_.find(node);
  if (it == drains_.end()) return;
  if (it->second.state.version <= m.seen) {
    waiters_.push_back({from, m.nonce, node});
    return;
  }
  DrainReply reply = it->second.state;
  reply.nonce = m.nonce;
  outbox_->Send(from, MsgType::kDrainReply, reply);
}

void NodeDrains::Changed(Drain* d) {
  ++d->state.version;
  DrainReply reply = d->state;
  std::erase_if(waiters_, [&](const Waiter& w) {
    if (w.node != reply.number) return false;
    reply.nonce = w.nonce;
    outbox_->Send(w.from, MsgType::kDrainReply, reply);
    return true;
  });
}

std::string NodeDrains::WhyDead(uint32_t node, const std::string& reason) const {
  const auto it = drains_.find(node);
  if (it == drains_.end()) return reason;
  const DrainReply& state = it->second.state;
  if (!state.report.over) return reason + ", while it was being drained (" + it->second.reason + ")";
  if (state.stays) return reason + "; it had been drained (" + it->second.reason + ")";
  return "it was drained (" + it->second.reason + ") and has left";
}

void NodeDrains::OnNodeDead(uint32_t node, const std::string& why) {
  std::erase_if(waiters_, [&](const Waiter& w) { return w.from.node == node; });
  const auto it = drains_.find(node);
  if (it == drains_.end() || it->second.state.report.over) return;
  it->second.state.death = why;
  Changed(&it->second);
}

std::string NodeDrains::Text(uint32_t node) const {
  const Drain& d = drains_.at(node);
  const Drained& m = d.state.report;
  std::string text = d.state.node + " was drained (" + d.reason + ")" + (d.state.stays ? "" : " and leaves") +
                     "; " + std::to_string(m.moved) + " objects (" + std::to_string(m.moved_bytes) +
                     " bytes) moved to other nodes";
  if (m.killed != 0)
    text += "; " + std::to_string(m.killed) + " processes still ran something when its time was over";
  if (m.left == 0) return text;
  text += "; " + std::to_string(m.left) + " objects (" + std::to_string(m.left_bytes) +
          " bytes) stay behind, since no node has room";
  return d.state.stays ? text : text + ": results of tasks are made again, what ray.put() made is lost";
}

}  // namespace rmpi
