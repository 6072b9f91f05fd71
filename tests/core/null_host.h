// SPDX-License-Identifier: Apache-2.0
// What a Core that stands alone asks of the loop around it: everything is granted, and nothing happens.
#pragma once

#include <utility>

#include "runtime/core/core.h"

namespace rmpi::core {

class NullHost : public Core::Host {
 public:
  bool Claim(ExecItem&) override { return true; }
  void Answered(uint32_t) override {}
  void Interrupt(const ExecItem&) override {}
  void CancelChildren(uint32_t, bool) override {}
  bool PinArgs(ExecItem& item) override { return item.task != std::exchange(unpinnable, TaskId{}); }
  void OnPullReply(const PullReply&) override {}
  void OnExtentReply(const ExtentReply&) override {}
  void OnExtentReclaim() override {}
  void OnExit() override {}
  void OnLogLines(const Address&, LogLines) override {}
  void OnReply(MsgType, Bytes) override {}

  TaskId unpinnable;  // once: an argument of it was evicted
};

}  // namespace rmpi::core
