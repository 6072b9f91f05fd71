// SPDX-License-Identifier: Apache-2.0
// Owner: the mixed workload (workload.h), its gangs included.
#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

#include "tests/scale/owner.h"

namespace rmpi::scale {

void Owner::SubmitMixed(const std::vector<MixedTask>& tasks) {
  std::map<std::tuple<TimeNs, uint32_t, uint32_t>, std::shared_ptr<core::Template>> functions;
  for (const MixedTask& t : tasks) {
    auto& function = functions[{t.run, t.cpus, t.gpus}];
    if (!function) {
      TaskTemplate tmpl;
      tmpl.function_name = "f" + std::to_string(functions.size());
      tmpl.resources = {{"CPU", t.cpus}};
      if (t.gpus != 0) tmpl.resources.emplace_back("GPU", t.gpus);
      function = core_.tasks().Prepare(tmpl);
    }
    std::vector<core::Entry*> args;
    if (t.data != 0) {  // its one hold is the task's
      args.push_back(core_.objects().ReturnOf(core_.objects().NewRecord(TaskKind::kPut, 1), 0));
      core_.objects().SetStored(args[0], 0, 0, kArgumentBytes, {{t.data, 0, 4096}});
    }
    Submit(function, {t.run, cluster_->now(), t.data}, std::move(args), &refs_);
  }
  Settle();
}

void Owner::SubmitGangs(const std::vector<Gang>& gangs) {
  for (const Gang& g : gangs) {
    gangs_.push_back({g, cluster_->now() + g.at, UINT64_MAX - gangs_.size(), false, 0, {}});
  }
  Settle();
}

void Owner::AskForGroup(const GroupRequest& m) {
  Writer w;
  w(m);
  cluster_->Send(self_, GcsAddress(), MsgType::kGroupRequest, w.bytes());
}

// Those whose time has come; and those that are over end.
void Owner::RunGangs() {
  next_gang_ = kNever;
  for (RunningGang& g : gangs_) {
    if (g.asked) continue;
    if (cluster_->now() < g.at) {
      next_gang_ = std::min(next_gang_, g.at);
      continue;
    }
    GroupRequest m;
    m.op = GroupOp::kCreate;
    m.group.job = JobId{1};
    m.group.strategy = GroupStrategy::kStrictSpread;
    m.group.bundles.assign(g.gang.bundles, GroupBundle{{{"CPU", g.gang.cpus * sched::kResourceUnit}}, 0, {}});
    m.nonce = g.nonce;
    g.asked = true;
    groups_[m.nonce] = cluster_->now();
    AskForGroup(m);
  }
  std::erase_if(gangs_, [&](const RunningGang& g) {
    const bool over = !g.results.empty() && std::none_of(g.results.begin(), g.results.end(),
                                                         [](const core::Entry* e) { return e->pending(); });
    if (!over) return false;
    core_.submitter().LeaveGroup(g.group, cluster_->now());
    for (core::Entry* e : g.results) core_.objects().DropHandle(e);
    GroupRequest m;
    m.op = GroupOp::kRemove;
    m.group.group = g.group;
    AskForGroup(m);
    return true;
  });
}

// Of a gang: a task in each bundle.
void Owner::StartInGroup(uint32_t group) {
  for (RunningGang& g : gangs_) {
    if (g.group != group) continue;
    TaskTemplate tmpl;
    tmpl.function_name = "gang";
    tmpl.resources = {{"CPU", g.gang.cpus}};
    tmpl.group = group;
    for (uint32_t i = 0; i < g.gang.bundles; ++i) {
      tmpl.bundle = static_cast<int32_t>(i);
      Submit(core_.tasks().Prepare(tmpl), {g.gang.run, cluster_->now(), 0}, {}, &g.results);
    }
  }
}

}  // namespace rmpi::scale
