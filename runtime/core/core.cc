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
      handle(Result{}, [&](Result& m) { submitter_.OnResult(from, m, now); });
      break;
    case MsgType::kGrant:
      handle(Grant{}, [&](const Grant& m) { submitter_.OnGrant(from, m, now); });
      break;
    case MsgType::kReclaim:
      submitter_.OnReclaim(now);
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
      handle(Returned{}, [&](const Returned& m) { submitter_.OnReturned(from, m, now); });
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
      handle(Location{}, [&](const Location& m) { objects_.OnLocation(m); });
      break;
    case MsgType::kCancelRequest:
      handle(RefMessage{}, [&](const RefMessage& m) { OnCancelRequest(m); });
      break;
    case MsgType::kLocationAdd:
      handle(ObjectAt{}, [&](const ObjectAt& m) { objects_.OnLocationAdd(m); });
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
  submitter_.Settle(now);
}

void Core::OnCancelRequest(const RefMessage& m) {
  Entry* e = objects_.Find(m.id);
  if (e != nullptr && e->owned) submitter_.Cancel(e, m.force, m.recursive);
}

void Core::OnEof(const Eof& m) {
  submitter_.OnEof(m);
  executor_.OnEof(m.who);
  objects_.OnEof(m);
}

void Core::OnNodeDead(const NodeRecord& m, TimeNs now) {
  submitter_.OnNodeDead(m.node, m.death_reason, now);
  executor_.OnNodeDead(m.node);
  objects_.OnNodeDead(m.node, m.death_reason);
}

}  // namespace rmpi::core
