// SPDX-License-Identifier: Apache-2.0
// Owner: a process that submits tasks, actors and calls through the real Core, and keeps a reference to each
// result. It runs none itself.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "runtime/core/core.h"
#include "tests/core/null_host.h"
#include "tests/scale/cluster.h"
#include "tests/scale/node.h"
#include "tests/scale/workload.h"

namespace rmpi::scale {

class Owner : public Outbox, public core::NullHost {
 public:
  Owner(Cluster* cluster, const Address& self);

  const Address& self() const { return self_; }
  // Many tasks of one function, each of that length.
  void Submit(const TaskTemplate& function, uint64_t count, TimeNs run);
  // The same, one after the other from now on, `gap` apart.
  void SubmitSteadily(const TaskTemplate& function, uint64_t count, TimeNs run, TimeNs gap);
  // So many actors of no CPU, which Ray spreads.
  void SubmitActors(uint64_t count);
  // Placement groups: made, and waited for.
  void CreateGroups(uint64_t count, GroupStrategy strategy, uint32_t bundles, int64_t cpus);
  // All at once; gangs at their time, each with a task in every bundle, after which its group is removed.
  void SubmitMixed(const std::vector<MixedTask>& tasks);
  void SubmitGangs(const std::vector<Gang>& gangs);
  void DropAll();  // the references
  size_t pending() const { return core_.tasks().pending_count() + groups_.size() + gangs_.size(); }

  void OnMessage(const MessageHeader& header, Bytes body);
  void OnTimer();

  // How long it is busy with what it sends, and with what it takes.
  TimeNs busy_until = 0, takes_until = 0;

 private:
  struct RunningGang {
    Gang gang;
    TimeNs at = 0;
    uint64_t nonce = 0;
    bool asked = false;
    uint32_t group = 0;
    std::vector<core::Entry*> results;  // of its tasks, when they are submitted
  };

  void SubmitOne();
  void Submit(const std::shared_ptr<core::Template>& function, const Work& work,
              std::vector<core::Entry*> args, std::vector<core::Entry*>* results);
  void AskForGroup(const GroupRequest& m);
  void RunGangs();
  void StartInGroup(uint32_t group);
  bool OnGroup(MsgType type, Bytes body);
  void Settle();
  void Post(const Address& to, MsgType type, Bytes body) override;

  Cluster* cluster_;
  Address self_;
  uint32_t index_;
  core::Core core_;
  std::vector<core::Entry*> refs_;
  std::shared_ptr<core::Template> function_;
  TimeNs run_ = 0, gap_ = 0, next_ = kNever;
  uint64_t left_ = 0;
  size_t counted_ = 0;  // of this owner's in Cluster::unfinished
  TimeNs timer_at_ = kNever;
  std::map<uint64_t, TimeNs>
      groups_;  // that are not there yet: when they were asked for, by nonce, then by number
  std::vector<RunningGang> gangs_;  // those that are not over
  TimeNs next_gang_ = kNever;
  std::deque<std::pair<MessageHeader, Blob>> to_self_;
};

}  // namespace rmpi::scale
