// SPDX-License-Identifier: Apache-2.0
// Executor: the arguments of tasks that lie in stores. They are brought to this node before the claim
// (PROTOCOL T4); one that is not where it was said to be is asked for again (O7): a task goes back to its
// owner meanwhile, so that it keeps no CPU from what makes the argument; a call keeps its place.
#include <algorithm>

#include "runtime/core/executor.h"

namespace rmpi::core {

// Counts argument i as missing, and asks for it, when it is a stored one that is not on this node.
void Executor::RequestArg(ExecItem* item, size_t i) {
  const ResolvedArg& arg = item->resolved[i];
  if (arg.value.state != ValueState::kStored || item->local[i].node != 0) return;
  const auto here = std::find_if(arg.value.places.begin(), arg.value.places.end(), [&](const Place& p) {
    return p.node == objects_->self().node && p.segment != kNotInMemory;
  });
  if (here != arg.value.places.end()) {
    item->local[i] = *here;
    return;
  }
  ++item->missing;
  if (pulls_[{arg.id, arg.value.attempt}]++ != 0) return;
  Pull pull;
  pull.id = arg.id;
  pull.attempt = arg.value.attempt;
  pull.size = arg.value.size;
  pull.priority = PullPriority::kArgs;
  pull.places = arg.value.places;
  outbox_->Send(RayletOf(objects_->self().node), MsgType::kPull, pull);
}

void Executor::OnPullReply(const PullReply& m) {
  if (pulls_.erase({m.id, m.attempt}) == 0) return;
  std::vector<Address> moved;  // callers whose waiting calls may go on
  for (size_t i = 0; i < waiting_.size();) {
    ExecItem* item = waiting_[i].get();
    std::vector<size_t> wanted;
    bool nowhere = false;  // the copy here was the last one known, and it was evicted
    for (size_t k = 0; k < item->resolved.size(); ++k) {
      const ResolvedArg& arg = item->resolved[k];
      if (arg.id != m.id || arg.value.state != ValueState::kStored || arg.value.attempt != m.attempt ||
          item->local[k].node != 0)
        continue;
      wanted.push_back(k);
      nowhere |= arg.value.places.empty();
    }
    const bool call = item->task.kind() == TaskKind::kActorCall;
    if (wanted.empty()) {
      ++i;
    } else if (m.failed && m.gone.empty() && !nowhere) {
      // A passing fault: it is asked for once more; what else the item waits for is under way.
      for (size_t k : wanted) {
        --item->missing;
        RequestArg(item, k);
      }
      ++i;
    } else if (m.failed && call) {
      LocateAgain(m.id, m.gone);
      ++i;
    } else if (m.failed || m.full) {
      const std::unique_ptr<ExecItem> out = TakeWaiting(i);
      moved.push_back(out->owner);
      Forget(*out);
      if (m.full) {
        AnswerError(*out, ErrorType::kObjectStoreFull,
                    "argument " + Hex(m.id) + " of task " + out->tmpl->function_name + ": " + m.text);
      } else {
        GiveBack(*out, m.id, m.gone);
      }
    } else {
      for (size_t k : wanted) {
        item->local[k] = m.place;
        --item->missing;
      }
      if (item->missing != 0 || !Arrived(i, &moved)) ++i;
    }
  }
  for (const Address& owner : moved) ReleaseOrdered(owner);
}

// The waiting item i has all its arguments. True: it has left that list.
bool Executor::Arrived(size_t i, std::vector<Address>* moved) {
  moved->push_back(waiting_[i]->owner);
  if (waiting_[i]->in_turn()) return false;  // there may be others before it
  ready_.Push(TakeWaiting(i));
  return true;
}

std::unique_ptr<ExecItem> Executor::TakeWaiting(size_t i) {
  std::unique_ptr<ExecItem> out = std::move(waiting_[i]);
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
  return out;
}

// An argument of an item that is ready was evicted between its arrival and now: has it brought again. It
// keeps its turn: later calls of its caller wait behind it again.
void Executor::FetchAgain(const ExecItem* front) {
  ReadyQueue::Items back = ready_.RemoveIf([&](const ExecItem& i) {
    return &i == front ||
           (front->in_turn() && i.in_turn() && i.owner == front->owner && i.arrival > front->arrival);
  });
  ExecItem* item = back.front().get();
  for (size_t i = 0; i < item->local.size(); ++i) {
    item->local[i] = {};
    std::erase_if(item->resolved[i].value.places,
                  [&](const Place& p) { return p.node == objects_->self().node; });
    RequestArg(item, i);
  }
  waiting_.insert(waiting_.begin(), std::make_move_iterator(back.begin()),
                  std::make_move_iterator(back.end()));
}

// An unclaimed item leaves: the pulls it waited for may be withdrawn.
void Executor::Forget(const ExecItem& item) {
  for (size_t i = 0; i < item.local.size(); ++i) {
    const ResolvedArg& arg = item.resolved[i];
    if (arg.value.state != ValueState::kStored || item.local[i].node != 0) continue;
    const auto it = pulls_.find({arg.id, arg.value.attempt});
    if (it == pulls_.end() || --it->second != 0) continue;
    pulls_.erase(it);
    Pull pull;
    pull.id = arg.id;
    pull.attempt = arg.value.attempt;
    pull.priority = PullPriority::kArgs;  // a get of the same object by this process goes on
    pull.cancel = true;
    outbox_->Send(RayletOf(objects_->self().node), MsgType::kPull, pull);
  }
}

// ---- lost arguments ---------------------------------------------------------------------------------------

void Executor::GiveBack(const ExecItem& item, const ObjectId& missing, const std::vector<uint32_t>& nodes) {
  Returned r;
  r.tasks.push_back({item.task, item.attempt, false, false});
  r.blocked = blocked_;
  r.retiring = retiring_;
  r.missing = missing;
  r.missing_on = nodes;
  if (nodes.empty()) r.missing_on.push_back(objects_->self().node);
  outbox_->Send(item.owner, MsgType::kReturned, r);
}

void Executor::LocateAgain(const ObjectId& id, const std::vector<uint32_t>& nodes) {
  if (!locating_.insert(id).second) return;
  RefMessage m;
  m.id = id;
  m.nonce = nodes.empty() ? objects_->self().node : nodes.front();
  outbox_->Send(id.owner(), MsgType::kLocate, m);
}

void Executor::OnLocation(const Location& m) {
  if (locating_.erase(m.id) == 0) return;
  std::vector<Address> moved;
  for (size_t i = 0; i < waiting_.size();) {
    ExecItem* item = waiting_[i].get();
    bool wanted = false;
    for (size_t k = 0; k < item->resolved.size(); ++k) {
      ResolvedArg& arg = item->resolved[k];
      const bool asked = item->task.kind() == TaskKind::kActorCall && arg.id == m.id &&
                         arg.value.state == ValueState::kStored && item->local[k].node == 0 &&
                         pulls_.count({arg.id, arg.value.attempt}) == 0;
      if (!asked) continue;
      wanted = true;
      arg.value = m.value;
      --item->missing;
      RequestArg(item, k);
    }
    const bool gone = m.value.state == ValueState::kGone;
    if (wanted && (gone || m.value.kind != static_cast<uint8_t>(ValueKind::kValue))) {
      const std::unique_ptr<ExecItem> out = TakeWaiting(i);
      moved.push_back(out->owner);
      Forget(*out);
      if (gone) {
        AnswerError(*out, ErrorType::kObjectLost,
                    "argument " + Hex(m.id) + " of task " + out->tmpl->function_name +
                        " is gone: its owner no longer holds it");
      } else {
        AnswerError(*out, m.value);
      }
    } else if (!wanted || item->missing != 0 || !Arrived(i, &moved)) {
      ++i;
    }
  }
  for (const Address& owner : moved) ReleaseOrdered(owner);
}

// The owners of arguments that are being located are gone.
void Executor::LoseLocations(const std::function<bool(const Address&)>& gone, const std::string& cause) {
  std::vector<ObjectId> lost;
  for (const ObjectId& id : locating_) {
    if (gone(id.owner())) lost.push_back(id);
  }
  std::sort(lost.begin(), lost.end());
  for (const ObjectId& id : lost) {
    Location m;
    m.id = id;
    m.value.kind = static_cast<uint8_t>(ValueKind::kSystemError);
    m.value.bytes = EncodeSystemError(static_cast<uint8_t>(ErrorType::kOwnerDied),
                                      "the owner of object " + Hex(id) + " has died: " + cause, Hex(id));
    OnLocation(m);
  }
}

}  // namespace rmpi::core
