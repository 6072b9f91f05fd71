// SPDX-License-Identifier: Apache-2.0
#include "runtime/raylet/node_drain.h"

#include <algorithm>

namespace rmpi {
namespace {

constexpr TimeNs kLook = 20 * kMillisecond;
constexpr TimeNs kReportEvery = 200 * kMillisecond;
constexpr TimeNs kEndPatience = 2 * kSecond;     // for processes that were killed
constexpr TimeNs kMovePatience = 10 * kSecond;   // without any object that moved
constexpr TimeNs kReplyPatience = 30 * kSecond;  // for one node that is to take one object
// For the owner to free an object here that another node keeps; then that node is asked again, so often.
constexpr TimeNs kOwnerPatience = 300 * kMillisecond;
constexpr size_t kMostUnclaimed = 20;
constexpr size_t kAtOnce = 32;
// A full node is asked once. What fails otherwise may do so in passing (a copy that was freed on its way).
constexpr size_t kRounds = 3;
constexpr TimeNs kPause = 50 * kMillisecond;

}  // namespace

void NodeDrain::Start(uint32_t node, TimeNs timeout, TimeNs now) {
  if (active()) {  // asked again: it may have to be sooner
    if (phase_ == Phase::kWork) deadline_ = std::min(deadline_, clock_ + timeout);
    return;
  }
  phase_ = Phase::kWork;
  node_ = node;
  deadline_ = timeout;
  next_look_ = looked_at_ = now;
}

void NodeDrain::OnTimer(TimeNs now) {
  if (now < next_look_) return;
  next_look_ = now + kLook;
  clock_ += std::min(now - looked_at_, 5 * kLook);
  looked_at_ = now;
  const bool moving = MoveObjects();
  if (phase_ == Phase::kWork) {
    const bool busy = host_->WorkLeft() || host_->EndIdleActors();
    if (busy && clock_ < deadline_) return Report(false);
    report_.killed = host_->EndWorkers();
    phase_ = Phase::kEnd;
    deadline_ = clock_ + kEndPatience;
  } else if (phase_ == Phase::kEnd && (host_->Workers() == 0 || clock_ >= deadline_)) {
    phase_ = Phase::kMove;  // what the last ones made comes with the next look
    progress_at_ = clock_;
  } else if (phase_ == Phase::kMove && (!moving || clock_ - progress_at_ > kMovePatience)) {
    phase_ = Phase::kOver;
    next_look_ = kNever;
  }
  Report(phase_ == Phase::kOver);
}

void NodeDrain::Report(bool over) {
  if (!over && clock_ < reported_at_ + kReportEvery) return;
  report_.over = over;
  report_.workers = host_->Workers();
  report_.left = static_cast<uint32_t>(moves_.size());
  report_.left_bytes = 0;
  for (const auto& [key, m] : moves_) report_.left_bytes += m.size;
  if (report_ == reported_) return;
  reported_at_ = clock_;
  reported_ = report_;
  host_->SendDrained(report_);
}

// ---- objects ----------------------------------------------------------------------------------------------

// False: nothing is left that could still move.
bool NodeDrain::MoveObjects() {
  const std::vector<ObjectAt> here = host_->Primaries();
  std::map<Key, Move> still;
  for (const ObjectAt& o : here) {
    if (auto node = moves_.extract({o.id, o.attempt})) {
      still.insert(std::move(node));
    } else {
      still[{o.id, o.attempt}].size = o.size;
    }
  }
  for (const auto& [key, m] : moves_) {  // freed: moved, or of no use any more
    progress_at_ = clock_;
    if (m.stage != Stage::kArrived) continue;
    ++report_.moved;
    report_.moved_bytes += m.size;
  }
  moves_ = std::move(still);
  auto asked = static_cast<size_t>(std::count_if(
      moves_.begin(), moves_.end(), [](const auto& m) { return m.second.stage == Stage::kAsked; }));
  for (const ObjectAt& o : here) {
    Move& m = moves_.at({o.id, o.attempt});
    if (asked >= kAtOnce || !MayAsk(&m)) continue;
    Ask(o, &m);
    if (m.stage == Stage::kAsked) ++asked;
  }
  return std::any_of(moves_.begin(), moves_.end(),
                     [](const auto& m) { return m.second.stage != Stage::kStuck; });
}

bool NodeDrain::MayAsk(Move* m) const {
  switch (m->stage) {
    case Stage::kNew:
      return m->refused == 0 || clock_ - m->since >= kPause;
    case Stage::kAsked:
      if (clock_ - m->since < kReplyPatience) return false;
      m->refused += kRounds;
      return true;
    case Stage::kArrived:
      if (clock_ - m->since < kOwnerPatience) return false;
      if (++m->unclaimed > kMostUnclaimed) m->stage = Stage::kStuck;
      return m->stage != Stage::kStuck;
    case Stage::kStuck:
      return false;
  }
  return false;
}

void NodeDrain::Ask(const ObjectAt& object, Move* m) {
  const std::vector<uint32_t> others = host_->OtherNodes();
  const bool same =
      m->stage == Stage::kArrived && std::find(others.begin(), others.end(), m->to) != others.end();
  if (!same && m->refused >= kRounds * others.size()) {
    m->stage = Stage::kStuck;
    return;
  }
  if (!same) m->to = others[cursor_++ % others.size()];
  m->stage = Stage::kAsked;
  m->since = clock_;
  Pull pull;
  pull.id = object.id;
  pull.attempt = object.attempt;
  pull.size = object.size;
  pull.moves_from = node_;
  pull.places = {object.place};
  host_->SendPull(m->to, pull);
}

void NodeDrain::OnPullReply(const PullReply& reply, TimeNs now) {
  const auto it = moves_.find({reply.id, reply.attempt});
  if (it == moves_.end() || it->second.stage != Stage::kAsked || phase_ == Phase::kOver) return;
  Move& m = it->second;
  const bool refused = reply.failed || reply.full;
  m.stage = refused ? Stage::kNew : Stage::kArrived;
  if (refused) m.refused += reply.full ? kRounds : 1;
  m.since = progress_at_ = clock_;
  next_look_ = std::min(next_look_, now);
}

void NodeDrain::OnNodeDead(uint32_t node, TimeNs now) {
  for (auto& [key, m] : moves_) {
    if (m.to == node && m.stage != Stage::kStuck) m.stage = Stage::kNew;
  }
  if (active() && phase_ != Phase::kOver) next_look_ = now;
}

}  // namespace rmpi
