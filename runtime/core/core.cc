// SPDX-License-Identifier: Apache-2.0
#include "runtime/core/core.h"

namespace rmpi::core {
namespace {

template <class M>
bool Decode(Bytes body, M* m) {
  Reader reader(body);
  reader(*m);
  return reader.Done();
}

}  // namespace

void Core::OnMessage(const MessageHeader& header, Bytes body, TimeNs now) {
  const Address& from = header.src;
  const auto handle = [&]<class M>(M m, auto&& fn) {
    if (Decode(body, &m)) {
      fn(m);
    } else {
      ++malformed_;
    }
  };
  switch (static_cast<MsgType>(header.type)) {
    case MsgType::kPush:
      handle(Push{}, [&](Push& m) {
        // A worker forked ahead of demand learns its job from its first task.
        if (objects_.job() == JobId{}) objects_.SetIdentity(objects_.self(), m.task.job);
        executor_.OnPush(from, m);
      });
      break;
    case MsgType::kResult:
      handle(Result{}, [&](Result& m) {
        if (m.task.kind() == TaskKind::kActorCall) {
          actor_calls_.OnResult(from, m);
        } else {
          submitter_.OnResult(from, m, now);
        }
      });
      break;
    case MsgType::kGrant:
      handle(Grant{}, [&](const Grant& m) { submitter_.OnGrant(from, m, now); });
      break;
    case MsgType::kReclaim:
      handle(Reclaim{}, [&](const Reclaim& m) { submitter_.OnReclaim(from, m, now); });
      break;
    case MsgType::kUnschedulable:
      handle(Unschedulable{}, [&](const Unschedulable& m) { submitter_.OnUnschedulable(m); });
      break;
    case MsgType::kResultAck:
      handle(TaskRef{}, [&](const TaskRef& m) { executor_.OnResultAck(m); });
      break;
    case MsgType::kCancel:
      handle(TaskRef{}, [&](const TaskRef& m) { executor_.OnCancel(from, m); });
      break;
    case MsgType::kRevoke:
      executor_.OnRevoke(from);
      break;
    case MsgType::kReturned:
      handle(Returned{}, [&](const Returned& m) {
        submitter_.OnReturned(from, m, now);
        actor_calls_.OnReturned(from, m);
      });
      break;
    case MsgType::kItem:
      handle(Item{}, [&](const Item& m) { OnItem(from, m); });
      break;
    case MsgType::kItemAck:
      handle(ItemRef{}, [&](const ItemRef& m) { executor_.OnItemAck(m); });
      break;
    case MsgType::kStreamRead:
      handle(ItemRef{}, [&](const ItemRef& m) { executor_.OnStreamRead(from, m); });
      break;
    case MsgType::kActorLocate:
      handle(ActorLocate{}, [&](const ActorLocate& m) { actor_owner_.OnLocate(from, m); });
      break;
    case MsgType::kActorState:
      handle(ActorState{}, [&](const ActorState& m) { actor_calls_.OnState(m); });
      break;
    case MsgType::kActorKill:
      handle(ActorKill{}, [&](const ActorKill& m) { actor_owner_.OnKill(m); });
      break;
    case MsgType::kActorExit:
      handle(ActorExit{}, [&](const ActorExit& m) { actor_owner_.OnExit(from, m); });
      break;
    case MsgType::kRegister:
      handle(RefMessage{}, [&](const RefMessage& m) { objects_.OnRegister(from, m); });
      break;
    case MsgType::kRegisterReply:
      handle(RefMessage{}, [&](const RefMessage& m) { objects_.OnRegisterReply(m); });
      break;
    case MsgType::kUnregister:
      handle(RefMessage{}, [&](const RefMessage& m) { objects_.OnUnregister(from, m); });
      break;
    case MsgType::kLocate:
      handle(RefMessage{}, [&](const RefMessage& m) { objects_.OnLocate(from, m); });
      break;
    case MsgType::kLocation:
      handle(Location{}, [&](const Location& m) {
        objects_.OnLocation(m);
        executor_.OnLocation(m);
      });
      break;
    case MsgType::kCancelRequest:
      handle(RefMessage{}, [&](const RefMessage& m) { OnCancelRequest(m); });
      break;
    case MsgType::kLocationAdd:
      handle(ObjectAt{}, [&](const ObjectAt& m) { objects_.OnLocationAdd(m); });
      break;
    case MsgType::kPrimaryMoved:
      handle(PrimaryMoved{}, [&](const PrimaryMoved& m) { objects_.OnPrimaryMoved(m); });
      break;
    case MsgType::kLocationDelete:
      handle(LocationDelete{}, [&](const LocationDelete& m) { objects_.OnLocationDelete(from.node, m); });
      break;
    case MsgType::kLocationChecked:
      handle(LocationCheck{}, [&](const LocationCheck& m) { objects_.OnLocationChecked(from.node, m); });
      break;
    case MsgType::kPullReply:
      handle(PullReply{}, [&](const PullReply& m) {
        executor_.OnPullReply(m);
        host_->OnPullReply(m);
      });
      break;
    case MsgType::kExtentReply:
      handle(ExtentReply{}, [&](const ExtentReply& m) { host_->OnExtentReply(m); });
      break;
    case MsgType::kExtentReclaim:
      host_->OnExtentReclaim();
      break;
    case MsgType::kExit:
      host_->OnExit();
      break;
    case MsgType::kLogLines:
      handle(LogLines{}, [&](LogLines& m) { host_->OnLogLines(from, std::move(m)); });
      break;
    case MsgType::kEof:
      handle(Eof{}, [&](const Eof& m) { OnEof(m); });
      break;
    case MsgType::kNodeDead:
      handle(Join{}, [&](const Join& m) { OnNodeDead(m.record, now); });
      break;
    default:
      host_->OnReply(static_cast<MsgType>(header.type), body);
      break;
  }
  Settle(now);
}

void Core::Settle(TimeNs now) {
  for (;;) {
    if (Task* t = tasks_.TakeReady()) {
      if (t->calls != nullptr) {
        actor_calls_.OnReady(t);
      } else {
        submitter_.OnReady(t, now);
      }
    } else if (Task* again = tasks_.TakeAgain()) {
      if (Entry* actor = again->handle) {
        actor_calls_.Start(again, actor);  // takes a hold of its own
        objects_.DropHold(actor);
      } else {
        submitter_.Start(again, now);
      }
    } else if (!released_actors_.empty()) {
      const ObjectId actor = released_actors_.back();
      released_actors_.pop_back();
      if (const Entry* e = objects_.Find(actor); e != nullptr && e->wanted()) continue;  // borrowed again
      actor_calls_.Forget(actor);
      if (actor.owner() == objects_.self()) actor_owner_.OnOutOfScope(actor);
    } else {
      break;
    }
  }
  submitter_.Settle(now);
}

// An item counts as a result does (T5): from the worker that has the task, of its present attempt.
void Core::OnItem(const Address& from, const Item& m) {
  const TaskRef ref{m.task, m.attempt, false, false};
  streams_.OnItem(m.task.kind() == TaskKind::kActorCall ? actor_calls_.PushedTask(ref, from)
                                                        : submitter_.PushedTask(ref, from),
                  from, m);
}

void Core::OnCancelRequest(const RefMessage& m) {
  Entry* e = objects_.Find(m.id);
  if (e != nullptr && e->owned) Cancel(e, m.force, m.recursive);
}

void Core::Cancel(Entry* e, bool force, bool recursive) {
  if (!e->owned) {
    RefMessage m;
    m.id = e->id;
    m.force = force;
    m.recursive = recursive;
    outbox_->Send(e->id.owner(), MsgType::kCancelRequest, m);
    return;
  }
  Task* t = tasks_.Find(e->id.task);
  if (t == nullptr || t->creates_actor()) return;  // finished: nothing to do
  if (t->calls != nullptr) {
    actor_calls_.Cancel(t, recursive);
  } else {
    submitter_.Cancel(t, force, recursive);
  }
}

void Core::CancelChildren(uint32_t parent, bool force) {
  std::vector<TaskId> children;
  objects_.ForEachTask([&](const Task* t) {
    if (t->parent == parent && t->state != TaskState::kDone) children.push_back(t->id());
  });
  for (const TaskId& id : children) {  // the end of one may be the end of others
    const Task* t = tasks_.Find(id);
    if (t != nullptr && t->record->returns != 0) Cancel(objects_.ReturnOf(t->record, 0), force, true);
  }
}

void Core::OnEof(const Eof& m) {
  submitter_.OnEof(m);
  tasks_.OnEof(m.who);
  actor_owner_.OnEof(m.who);
  actor_calls_.OnEof(m);
  executor_.OnEof(m);
  objects_.OnEof(m);
}

void Core::OnNodeDead(const NodeRecord& m, TimeNs now) {
  submitter_.OnNodeDead(m.node, m.death_reason, now);
  tasks_.OnNodeDead(m.node);
  actor_owner_.OnNodeDead(m.node);
  actor_calls_.OnNodeDead(m.node, m.death_reason);
  executor_.OnNodeDead(m.node, m.death_reason);
  objects_.OnNodeDead(m.node, m.death_reason, !m.spill_folders.empty());
}

}  // namespace rmpi::core
