// SPDX-License-Identifier: Apache-2.0
// One Core with nobody around it: what it sends is recorded, what others would say is told to it.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "tests/core/null_host.h"
#include "tests/gcs/recorder.h"

namespace rmpi::core {

class LoneCore : public testing::Test {
 protected:
  LoneCore() : core_(&out_, &host_) {
    core_.SetIdentity({1, 1, 0, 1}, JobId{1});
    TaskTemplate t;
    t.function_name = "f";
    t.resources = {{"CPU", 1.0}};
    template_ = core_.tasks().Prepare(t);
  }
  template <class M>
  void Tell(const Address& from, MsgType type, const M& m) {
    Deliver(&core_, from, core_.objects().self(), type, m, now_);
  }
  // A new object of ours, pending, with one handle.
  Entry* NewPut() {
    Record* record = core_.objects().NewRecord(TaskKind::kPut, 1);
    Entry* e = core_.objects().ReturnOf(record, 0);
    e->handles.fetch_add(1);
    core_.objects().DropHold(e);
    return e;
  }
  // A call whose arguments are `refs`; its one result, with one handle.
  Entry* Submit(const std::vector<Entry*>& refs) {
    for (Entry* e : refs) core_.objects().AddHold(e);
    Task* task = core_.tasks().New(TaskKind::kNormal, template_, Blob::Allocate(16), refs,
                                   static_cast<uint32_t>(refs.size()), 0, 0);
    Record* record = task->record;
    Entry* e = core_.objects().ReturnOf(record, 0);
    e->handles.fetch_add(1);
    core_.submitter().Start(task, now_);
    core_.Settle(now_);
    return e;
  }

  Recorder out_;
  NullHost host_;
  Core core_;
  std::shared_ptr<Template> template_;
  TimeNs now_ = kSecond;
};

}  // namespace rmpi::core
