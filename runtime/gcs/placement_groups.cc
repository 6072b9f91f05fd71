// SPDX-License-Identifier: Apache-2.0
#include "runtime/gcs/placement_groups.h"

#include <algorithm>

namespace rmpi {
namespace {

using When = sched::GlobalScheduler::When;

constexpr TimeNs kTryPeriod = kMillisecond;  // reports come in crowds
constexpr TimeNs kFirstBackoff = 100 * kMillisecond;
constexpr TimeNs kLastBackoff = kSecond;
// What is earmarked lies idle: for so long at most, and so long not again; each that was in vain makes the
// next one longer.
constexpr TimeNs kLastEarmarkPatience = 640 * kSecond;
constexpr size_t kRemovedKept = 1000;
constexpr int64_t kBundleUnits = 1000 * sched::kResourceUnit;  // Ray's mark of a bundle

// Of what a group wants. Two different ones that come out alike only try less often.
uint64_t KindOf(const GroupRecord& record) {
  Writer w;
  w(record.strategy, record.bundles, record.soft_node);
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(w.bytes().data()), w.size()});
}

constexpr const char* kStrategies[] = {"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"};

}  // namespace

const GroupRecord* PlacementGroups::Find(uint32_t group) const {
  if (const auto it = groups_.find(group); it != groups_.end()) return &it->second.record;
  const auto it = std::find_if(removed_.rbegin(), removed_.rend(),
                               [&](const GroupRecord& r) { return r.group == group; });
  return it == removed_.rend() ? nullptr : &*it;
}

bool PlacementGroups::Infeasible(uint32_t group) const {
  const auto it = groups_.find(group);
  return it != groups_.end() && it->second.infeasible;
}

// ---- requests ---------------------------------------------------------------------------------------------

void PlacementGroups::OnRequest(const Address& from, const GroupRequest& m, bool job_runs, TimeNs now) {
  GroupReply reply;
  const auto it = groups_.find(m.group.group);
  switch (m.op) {
    case GroupOp::kCreate:
      reply = Create(m.group, job_runs, now);
      // Alone, at once; else with the others that wait, oldest first.
      waiting_.size() == 1 ? Try(now) : TrySoon(now);
      break;
    case GroupOp::kRemove:
      Remove(m.group.group, now);
      break;
    case GroupOp::kWait:
      if (it == groups_.end() || it->second.record.state == GroupState::kCreated) {
        const GroupState state = it == groups_.end() ? GroupState::kRemoved : GroupState::kCreated;
        outbox_->Send(from, MsgType::kGroupReady, GroupReady{m.group.group, state});
      } else {
        it->second.waiters.insert(from);
      }
      return;
    case GroupOp::kFind:
      if (const auto name = names_.find({m.group.ray_namespace, m.group.name}); name != names_.end())
        reply.groups.push_back(groups_.at(name->second).record);
      break;
    case GroupOp::kTable:
      if (m.group.group != 0) {
        if (const GroupRecord* r = Find(m.group.group)) reply.groups.push_back(*r);
      } else {
        for (const auto& [number, g] : groups_) reply.groups.push_back(g.record);
        reply.groups.insert(reply.groups.end(), removed_.begin(), removed_.end());
      }
      break;
  }
  reply.nonce = m.nonce;
  if (m.nonce != 0) outbox_->Send(from, MsgType::kGroupReply, reply);
}

GroupReply PlacementGroups::Create(const GroupRecord& asked, bool job_runs, TimeNs now) {
  GroupReply reply;
  reply.taken = !asked.name.empty() && names_.contains({asked.ray_namespace, asked.name});
  if (!job_runs) reply.refused = "the job that wants a placement group is over";
  if (asked.bundles.empty()) reply.refused = "a placement group has at least one bundle";
  if (reply.taken || !reply.refused.empty()) return reply;
  const uint32_t number = next_group_++;
  Group& g = groups_[number];
  g.record = asked;
  g.record.group = number;
  g.record.state = GroupState::kPending;
  g.record.attempts = 0;
  for (GroupBundle& b : g.record.bundles) b.node = 0;
  g.since = now;
  g.kind = KindOf(g.record);
  if (!asked.name.empty()) names_[{asked.ray_namespace, asked.name}] = number;
  scheduler_->SetGroup(number, g.record.bundles);
  waiting_.insert(number);
  reply.groups.push_back(g.record);
  return reply;
}

void PlacementGroups::Remove(uint32_t group, TimeNs now) {
  const auto it = groups_.find(group);
  if (it == groups_.end()) return;
  Group g = std::move(it->second);
  groups_.erase(it);
  waiting_.erase(group);
  if (earmarking_ == group) earmarking_ = 0;
  if (!g.record.name.empty()) names_.erase({g.record.ray_namespace, g.record.name});
  std::set<uint32_t> nodes(g.targets.begin(), g.targets.end());
  for (const GroupBundle& b : g.record.bundles) nodes.insert(b.node);
  nodes.erase(0);
  for (const uint32_t node : nodes) outbox_->Send(RayletOf(node), MsgType::kGroupRelease, Release{group, {}});
  g.record.state = GroupState::kRemoved;
  Tell(&g);
  removed_.push_back(std::move(g.record));
  if (removed_.size() > kRemovedKept) removed_.pop_front();
  scheduler_->RemoveGroup(group);
  TrySoon(now);
}

void PlacementGroups::Tell(Group* g) {
  for (const Address& to : g->waiters)
    outbox_->Send(to, MsgType::kGroupReady, GroupReady{g->record.group, g->record.state});
  g->waiters.clear();
}

// ---- placing ----------------------------------------------------------------------------------------------

std::vector<uint32_t> PlacementGroups::Missing(const Group& g) const {
  std::vector<uint32_t> out;
  for (uint32_t i = 0; i < g.record.bundles.size(); ++i) {
    if (g.record.bundles[i].node == 0) out.push_back(i);
  }
  return out;
}

// Oldest first. Who finds no room keeps nobody else from trying; the oldest that could ever have it may
// earmark.
void PlacementGroups::Try(TimeNs now) {
  next_try_ = now + kTryPeriod;
  // Groups that want the same: if one finds no room, the next one does not either.
  std::set<uint64_t> hopeless;
  bool oldest = earmarking_ == 0 && now >= next_earmark_;
  for (const uint32_t number : std::vector<uint32_t>(waiting_.begin(), waiting_.end())) {
    Group& g = groups_.at(number);
    if (now < g.retry_at) {
      Arm(g.retry_at);
      continue;
    }
    const bool whole = g.record.state == GroupState::kPending;
    if (whole && hopeless.contains(g.kind)) continue;
    if (TryOne(&g, When::kNow, now)) continue;
    if (whole) hopeless.insert(g.kind);
    CheckFeasible(&g);
    if (oldest && !g.infeasible && TryOne(&g, When::kFreeable, now)) oldest = false;
  }
  if (earmarking_ == 0 && !waiting_.empty() && now < next_earmark_) Arm(next_earmark_);
}

bool PlacementGroups::TryOne(Group* g, When when, TimeNs now) {
  std::vector<sched::WantedBundle> wanted;
  std::vector<uint32_t> there;
  for (const uint32_t i : Missing(*g))
    wanted.push_back({g->record.bundles[i].resources, g->record.bundles[i].labels});
  for (const GroupBundle& b : g->record.bundles) {
    if (b.node != 0) there.push_back(b.node);
  }
  const std::vector<uint32_t> nodes =
      scheduler_->FindNodes(wanted, g->record.strategy, g->record.soft_node, there, when);
  if (nodes.empty()) return false;
  ReserveOn(g, nodes, when == When::kFreeable, now);
  return true;
}

void PlacementGroups::CheckFeasible(Group* g) {
  if (g->infeasible) return;
  std::vector<sched::WantedBundle> all;
  for (const GroupBundle& b : g->record.bundles) all.push_back({b.resources, b.labels});
  if (!scheduler_->FindNodes(all, g->record.strategy, 0, {}, When::kEver).empty()) return;
  g->infeasible = true;
  std::string text = "no nodes can ever hold the placement group " + GroupHex(run_id_, g->record.group) +
                     (g->record.name.empty() ? "" : " (" + g->record.name + ")") + ", " +
                     kStrategies[static_cast<size_t>(g->record.strategy) % 4] + " of " +
                     std::to_string(all.size()) + " bundles:";
  for (size_t i = 0; i < std::min<size_t>(all.size(), 4); ++i) {
    text += " " + sched::ToString(all[i].resources);
    if (!all[i].labels.empty()) text += " with the labels " + sched::ToString(all[i].labels);
  }
  if (all.size() > 4) text += " ...";
  warn_(text + "; it waits for nodes that can");
}

void PlacementGroups::ReserveOn(Group* g, const std::vector<uint32_t>& nodes, bool earmark, TimeNs now) {
  ++g->epoch;
  ++g->record.attempts;
  g->targets.assign(g->record.bundles.size(), 0);
  g->earmark = earmark;
  waiting_.erase(g->record.group);
  if (earmark) {
    earmarking_ = g->record.group;
    earmark_until_ = now + earmark_patience_;
    Arm(earmark_until_);
  }
  std::map<uint32_t, Reserve> requests;
  const std::vector<uint32_t> missing = Missing(*g);
  for (size_t i = 0; i < missing.size(); ++i) {
    const sched::Amounts& amounts = g->record.bundles[missing[i]].resources;
    g->targets[missing[i]] = nodes[i];
    requests[nodes[i]].bundles.emplace_back(missing[i], amounts);
    scheduler_->Deduct(nodes[i], amounts);
  }
  for (auto& [node, request] : requests) {
    request.group = g->record.group;
    request.epoch = g->epoch;
    request.earmark = earmark;
    g->unanswered.insert(node);
    outbox_->Send(RayletOf(node), MsgType::kGroupReserve, request);
  }
}

void PlacementGroups::OnReserved(uint32_t node, const Reserved& m, TimeNs now) {
  const auto it = groups_.find(m.group);
  if (it == groups_.end() || it->second.epoch != m.epoch || !it->second.reserving()) return;
  Group& g = it->second;
  if (!m.ok) {
    scheduler_->TakeForFull(node);
    GiveUp(&g, now);
    return;
  }
  g.unanswered.erase(node);
  if (g.unanswered.empty()) Created(&g, now);
}

// All of the attempt, wherever it has got.
void PlacementGroups::GiveUp(Group* g, TimeNs now) {
  std::map<uint32_t, Release> releases;
  for (uint32_t i = 0; i < g->targets.size(); ++i) {
    if (g->targets[i] != 0) releases[g->targets[i]].bundles.push_back(i);
  }
  for (auto& [node, m] : releases) {
    m.group = g->record.group;
    outbox_->Send(RayletOf(node), MsgType::kGroupRelease, m);
  }
  if (g->earmark) {
    earmarking_ = 0;
    next_earmark_ = now + earmark_patience_;
  }
  ++g->epoch;  // answers to what was asked come too late
  g->targets.clear();
  g->unanswered.clear();
  g->backoff = std::min(kLastBackoff, std::max(kFirstBackoff, g->backoff * 3 / 2));
  g->retry_at = now + g->backoff;
  waiting_.insert(g->record.group);
  Arm(g->retry_at);
}

void PlacementGroups::Created(Group* g, TimeNs now) {
  for (size_t i = 0; i < g->targets.size(); ++i) {
    if (g->targets[i] != 0) g->record.bundles[i].node = g->targets[i];
  }
  if (g->earmark) earmarking_ = 0;
  g->targets.clear();
  g->backoff = 0;
  if (!Missing(*g).empty()) {  // lost while others were being reserved
    scheduler_->SetGroup(g->record.group, g->record.bundles);
    waiting_.insert(g->record.group);
    return TrySoon(now);
  }
  g->record.state = GroupState::kCreated;
  g->record.latency_ns = now - g->since;
  scheduler_->SetGroup(g->record.group, g->record.bundles);
  Tell(g);
  TrySoon(now);  // there may be another one that wants to earmark
}

// ---- what happens -----------------------------------------------------------------------------------------

void PlacementGroups::OnReport(TimeNs now) { TrySoon(now); }

void PlacementGroups::OnNodeAdded(TimeNs now) {
  for (auto& [number, g] : groups_) g.infeasible = false;
  Try(now);
}

// Returns which of its bundles that node had.
std::vector<uint32_t> PlacementGroups::LoseOn(Group* g, uint32_t node, TimeNs now) {
  std::vector<uint32_t> lost;
  for (uint32_t i = 0; i < g->record.bundles.size(); ++i) {
    if (g->record.bundles[i].node != node) continue;
    g->record.bundles[i].node = 0;
    lost.push_back(i);
  }
  if (!lost.empty()) {
    g->record.state = GroupState::kRescheduling;
    g->infeasible = false;
    g->since = now;
    if (!g->reserving()) waiting_.insert(g->record.group);
  }
  return lost;
}

void PlacementGroups::OnNodeDead(uint32_t node, TimeNs now) {
  for (auto& [number, g] : groups_) {
    LoseOn(&g, node, now);
    if (std::find(g.targets.begin(), g.targets.end(), node) != g.targets.end()) {
      std::replace(g.targets.begin(), g.targets.end(), node, 0U);
      GiveUp(&g, now);
      g.retry_at = now;
    }
    std::erase_if(g.waiters, [&](const Address& a) { return a.node == node; });
  }
  Try(now);
}

// What is asked of it now is refused; what it has taken already, for a group that waits for others, is no
// use.
void PlacementGroups::OnNodeDrained(uint32_t node, TimeNs now) {
  for (auto& [number, g] : groups_) {
    const std::vector<uint32_t> lost = LoseOn(&g, node, now);
    if (!lost.empty()) {
      outbox_->Send(RayletOf(node), MsgType::kGroupRelease, Release{number, lost});
      scheduler_->SetGroup(number, g.record.bundles);
    }
    if (std::find(g.targets.begin(), g.targets.end(), node) == g.targets.end()) continue;
    GiveUp(&g, now);
    g.retry_at = now;
  }
  Try(now);
}

void PlacementGroups::OnJobEnd(JobId job, TimeNs now) {
  std::vector<uint32_t> over;
  for (const auto& [number, g] : groups_) {
    if (g.record.job == job && !g.record.detached) over.push_back(number);
  }
  for (const uint32_t number : over) Remove(number, now);
}

void PlacementGroups::OnEof(const Address& who) {
  for (auto& [number, g] : groups_) g.waiters.erase(who);
}

void PlacementGroups::OnTimer(TimeNs now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  if (earmarking_ != 0 && now >= earmark_until_) {
    GiveUp(&groups_.at(earmarking_), now);
    earmark_patience_ = std::min(2 * earmark_patience_, kLastEarmarkPatience);
  } else if (earmarking_ != 0) {
    Arm(earmark_until_);
  }
  Try(now);
}

// ---- reports ----------------------------------------------------------------------------------------------

void PlacementGroups::ShowOn(NodeRecord* node) const {
  for (const auto& [number, g] : groups_) {
    const std::string id = GroupHex(run_id_, number);
    for (uint32_t i = 0; i < g.record.bundles.size(); ++i) {
      const GroupBundle& b = g.record.bundles[i];
      if (b.node != node->node) continue;
      const auto show = [&](sched::Amounts* to, sched::Amounts what) {
        sched::Add(&what, {{"bundle", kBundleUnits}});
        for (const auto& [name, amount] : what) {
          sched::Add(to, {{name + "_group_" + id, amount}});
          sched::Add(to, {{name + "_group_" + std::to_string(i) + "_" + id, amount}});
        }
      };
      show(&node->total, b.resources);
      const sched::Amounts* available = scheduler_->BundleAvailable(number, i);
      if (available != nullptr) show(&node->available, sched::WithoutHints(*available));
    }
  }
}

}  // namespace rmpi
