// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/heartbeat_link.h"

#include <algorithm>

namespace rmpi {
namespace {

constexpr TimeNs kReportSpacing = 5 * kMillisecond;
// What others report is passed on together. Both times are taken from the patience of a fence.
constexpr TimeNs kGatherReports = 10 * kMillisecond;
constexpr TimeNs kGatherBeats = 200 * kMillisecond;
// Without an answer through an aggregating node: half of what a fence waits.
constexpr TimeNs kStraightAfter = kFenceAfter / 2;

// What has changed since the last frame: the later one says all but of bundles, each of which it may not
// name.
void Merge(Heartbeat* into, const Heartbeat& m) {
  into->sequence = m.sequence;
  if (!m.changed) return;
  std::vector<BundleReport> bundles = std::move(into->bundles);
  *into = m;
  std::erase_if(bundles, [&](const BundleReport& old) {
    return std::any_of(m.bundles.begin(), m.bundles.end(),
                       [&](const BundleReport& b) { return b.group == old.group && b.index == old.index; });
  });
  into->bundles.insert(into->bundles.end(), bundles.begin(), bundles.end());
}

}  // namespace

void HeartbeatLink::Start(bool head, TimeNs now) {
  head_ = head;
  next_ = now;
}

void HeartbeatLink::OnReportTo(uint32_t node, TimeNs now) {
  if (head_ || node == parent_) return;
  GoStraight(now);
  parent_ = node;
}

void HeartbeatLink::GoStraight(TimeNs now) {
  parent_ = kHeadNode;
  scheduler_->ReportAll();
  next_ = now;
}

void HeartbeatLink::OnHeartbeat(uint32_t from, const Heartbeat& m, TimeNs now) {
  const auto [it, fresh] = waiting_.try_emplace(from, m);
  if (!fresh) Merge(&it->second, m);
  next_ = std::min(next_, now + (m.changed ? kGatherReports : kGatherBeats));
}

void HeartbeatLink::OnAck(uint64_t sequence) {
  fence_->OnHeartbeatAck(sequence);
  for (; !unanswered_.empty() && unanswered_.front().first <= sequence; unanswered_.pop_front()) {
    for (const auto& [node, its_sequence] : unanswered_.front().second)
      outbox_->Send(RayletOf(node), MsgType::kHeartbeatAck, Nonce{its_sequence});
  }
}

// The head says that before it answers any frame from then on: so nobody who is dead for it gets an answer.
void HeartbeatLink::OnNodeDead(uint32_t node, TimeNs now) {
  waiting_.erase(node);
  for (auto& [sequence, passed] : unanswered_) {
    std::erase_if(passed, [&](const auto& p) { return p.first == node; });
  }
  if (node == parent_) GoStraight(now);
}

Heartbeat HeartbeatLink::Own(bool changed, TimeNs now) {
  Heartbeat m;
  m.sequence = ++sequence_;
  m.changed = changed;
  if (changed) scheduler_->TakeReport(&m);
  if (!head_) fence_->OnHeartbeatSent(m.sequence, now);
  return m;
}

void HeartbeatLink::OnTimer(TimeNs now) {
  if (head_) {  // no frame needed to tell oneself
    next_ = kNever;
    if (scheduler_->ReportDue()) outbox_->Send(GcsAddress(), MsgType::kHeartbeat, Own(true, now));
    return;
  }
  if (parent_ != kHeadNode && now - fence_->known() > kStraightAfter) GoStraight(now);
  const bool changed = scheduler_->ReportDue();
  if (now < next_) {
    if (changed) next_ = std::min(next_, now + kReportSpacing);
    return;
  }
  next_ = now + kHeartbeatPeriod;
  if (waiting_.empty()) {
    const Heartbeat m = Own(changed, now);
    return outbox_->Send(parent_ == kHeadNode ? GcsAddress() : RayletOf(parent_), MsgType::kHeartbeat, m);
  }
  Heartbeats m;
  Passed passed;
  for (auto& [node, beat] : waiting_) {
    passed.emplace_back(node, beat.sequence);
    m.others.emplace_back(node, std::move(beat));
  }
  waiting_.clear();
  m.own = Own(changed, now);
  unanswered_.emplace_back(m.own.sequence, std::move(passed));
  outbox_->Send(GcsAddress(), MsgType::kHeartbeats, m);
}

TimeNs HeartbeatLink::NextDeadline() const {
  return head_ || parent_ == kHeadNode ? next_ : std::min(next_, fence_->known() + kStraightAfter + 1);
}

}  // namespace rmpi
