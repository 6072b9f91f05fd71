// SPDX-License-Identifier: Apache-2.0
// `ray-mpi status`: the answer as tables, as lines and as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "launcher/status.h"
#include "launcher/terminal.h"
#include "runtime/ids/ids.h"
#include "runtime/node/cpu_list.h"
#include "sched/labels.h"
#include "sched/resources.h"

namespace rmpi::launcher {
namespace {

using Json = nlohmann::json;
using sched::Amounts;

constexpr char kNothing[] = "-";

double Units(int64_t fixed) { return static_cast<double>(fixed) / sched::kResourceUnit; }

std::string Amount(const std::string& resource, int64_t fixed) {
  if (resource == "memory") return Size(static_cast<uint64_t>(std::max(0.0, Units(fixed))));
  return fmt::format("{:.4g}", Units(fixed));
}

// Of the machine, not to be asked for: Ray's own names.
bool Hidden(const std::string& resource) {
  return resource.starts_with("node:") || resource == "object_store_memory";
}

// One node: the head's record and, if it answered in time, what it said.
struct NodeView {
  const NodeRecord* record;
  const NodeStatus* said;
  std::string state;

  std::string rank() const { return record->rank < 0 ? "joined" : std::to_string(record->rank); }
  int64_t Used(const std::string& name) const {
    return sched::AmountOf(record->total, name) -
           sched::AmountOf(said != nullptr ? said->available : record->available, name);
  }
};

std::vector<NodeView> NodesOf(const RunStatus& status) {
  std::vector<NodeView> nodes;
  for (const NodeRecord& r : status.nodes) {
    const auto said = std::find_if(status.details.begin(), status.details.end(),
                                   [&](const auto& d) { return d.first == r.node; });
    const bool answered = said != status.details.end();
    nodes.push_back({&r, answered ? &said->second : nullptr,
                     !r.alive     ? "dead"
                     : r.drained  ? "drained"
                     : r.draining ? "draining"
                     : answered   ? "alive"
                                  : "silent"});
  }
  // Ranks in their order, then those that joined later.
  std::sort(nodes.begin(), nodes.end(), [](const NodeView& a, const NodeView& b) {
    const auto key = [](const NodeView& n) {
      return std::tuple(n.record->rank < 0, n.record->rank < 0 ? 0 : n.record->rank, n.record->node);
    };
    return key(a) < key(b);
  });
  return nodes;
}

std::string CpusOf(const WorkerStatus& w) {
  CpuList cpus(w.cpus.begin(), w.cpus.end());
  std::sort(cpus.begin(), cpus.end());
  return cpus.empty() ? "any" : FormatCpuList(cpus);
}

const char* KindOf(const WorkerStatus& w) {
  return w.driver ? "driver" : !w.leased ? "idle" : w.actor ? "actor" : w.blocked ? "waits" : "task";
}

const char* NameOf(GroupState state) {
  constexpr const char* kNames[] = {"PENDING", "CREATED", "REMOVED", "RESCHEDULING"};
  return kNames[static_cast<size_t>(state) % std::size(kNames)];
}

const char* NameOf(GroupStrategy strategy) {
  constexpr const char* kNames[] = {"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"};
  return kNames[static_cast<size_t>(strategy) % std::size(kNames)];
}

std::string StrategyOf(const Shape& shape, uint64_t run_id) {
  std::string text = shape.strategy == Strategy::kSpread ? "SPREAD" : "DEFAULT";
  if (shape.strategy == Strategy::kNodeAffinity)
    text = fmt::format("node {}{}", shape.affinity_node, shape.affinity_soft ? ", or another" : "");
  if (shape.group != 0) {
    text = fmt::format("group {}", GroupHex(run_id, shape.group));
    if (shape.bundle >= 0) text += fmt::format(", bundle {}", shape.bundle);
  }
  return shape.labels.empty() ? text : text + ", labels " + sched::ToString(shape.labels);
}

std::string WhyWaiting(const PendingStatus& p, const RunStatus& status) {
  if (!p.reason.empty()) return p.reason;
  if (p.shape.group == 0) return "waits for room";
  const auto group = std::find_if(status.groups.begin(), status.groups.end(),
                                  [&](const GroupStatus& g) { return g.record.group == p.shape.group; });
  const bool there = group != status.groups.end() && group->record.state == GroupState::kCreated;
  return there ? "waits for room in its group" : "waits for its group";
}

std::string WhyWaiting(const GroupStatus& g) {
  if (g.record.state == GroupState::kCreated || g.record.state == GroupState::kRemoved) return "";
  return g.infeasible ? "the nodes that are there can never hold it" : "waits for room";
}

std::string StoreOf(const NodeStatus* said) {
  if (said == nullptr) return kNothing;
  const std::string text = Size(said->store_used_bytes) + "/" + Size(said->store_bytes);
  return said->spilled_bytes == 0 ? text : text + ", " + Size(said->spilled_bytes) + " on disk";
}

// ---- rows -------------------------------------------------------------------------------------------------

Rows NodeRows(const std::vector<NodeView>& nodes, bool all) {
  Rows rows;
  for (const NodeView& n : nodes) {
    const NodeRecord& r = *n.record;
    if (!r.alive) {
      if (all) rows.push_back({n.rank(), std::to_string(r.node), r.hostname, n.state, r.death_reason});
      continue;
    }
    const auto of = [&](const std::string& name) {
      const int64_t total = sched::AmountOf(r.total, name);
      return total == 0 ? kNothing : Amount(name, n.Used(name)) + "/" + Amount(name, total);
    };
    std::string other, labels;
    for (const auto& [name, total] : r.total) {
      if (!Hidden(name) && name != "CPU" && name != "GPU" && name != "memory")
        other += (other.empty() ? "" : ", ") + name + " " + of(name);
    }
    for (const auto& [key, value] : r.labels) labels += (labels.empty() ? "" : ", ") + key + "=" + value;
    rows.push_back({n.rank(), std::to_string(r.node), r.hostname, n.state, of("CPU"), of("GPU"), of("memory"),
                    StoreOf(n.said), other.empty() ? kNothing : other});
    if (all) rows.back().push_back(labels);
  }
  return rows;
}

Rows ProcessRows(const std::vector<NodeView>& nodes, bool all) {
  Rows rows;
  for (const NodeView& n : nodes) {
    if (n.said == nullptr) continue;
    for (const WorkerStatus& w : n.said->workers) {
      if (!all && !w.driver && !w.leased) continue;
      rows.push_back({n.rank(), n.record->hostname, std::to_string(w.pid), KindOf(w),
                      std::to_string(w.job.value), w.leased && !w.task.empty() ? w.task : kNothing,
                      w.leased ? sched::ToString(w.resources) : kNothing, CpusOf(w)});
    }
  }
  return rows;
}

Rows PendingRows(const RunStatus& status) {
  Rows rows;
  for (const PendingStatus& p : status.pending)
    rows.push_back({std::to_string(p.count), sched::ToString(p.shape.resources),
                    StrategyOf(p.shape, status.run_id), WhyWaiting(p, status)});
  return rows;
}

Rows GroupRows(const RunStatus& status) {
  Rows rows;
  for (const GroupStatus& g : status.groups) {
    std::string bundles;
    for (const GroupBundle& b : g.record.bundles) {
      bundles += (bundles.empty() ? "" : ", ") + sched::ToString(b.resources) +
                 (b.node == 0 ? "" : fmt::format(" on {}", b.node));
    }
    rows.push_back({GroupHex(status.run_id, g.record.group), g.record.name.empty() ? kNothing : g.record.name,
                    NameOf(g.record.state), NameOf(g.record.strategy), bundles, WhyWaiting(g)});
  }
  return rows;
}

std::string Summary(const RunStatus& status, const std::vector<NodeView>& nodes) {
  const auto ranks =
      std::count_if(nodes.begin(), nodes.end(), [](const auto& n) { return n.record->rank >= 0; });
  const auto alive = std::count_if(nodes.begin(), nodes.end(), [](const auto& n) { return n.record->alive; });
  std::string text = fmt::format("run {:016x}: {} nodes alive", status.run_id, alive);
  const size_t dead = nodes.size() - static_cast<size_t>(alive);
  if (dead != 0) text += fmt::format(", {} dead or gone", dead);
  if (static_cast<uint32_t>(ranks) < status.expected_nodes)
    text += fmt::format(", {} ranks have yet to join", status.expected_nodes - static_cast<uint32_t>(ranks));
  return text;
}

// ---- JSON -------------------------------------------------------------------------------------------------

Json JsonOf(const Amounts& amounts) {
  Json json = Json::object();
  for (const auto& [name, amount] : amounts) json[name] = Units(amount);
  return json;
}

Json JsonOf(const WorkerStatus& w) {
  return {{"pid", w.pid},
          {"kind", KindOf(w)},
          {"language", w.language == kCppLanguage      ? Json("C++")
                       : w.language == kPythonLanguage ? Json("Python")
                                                       : Json()},
          {"job", w.job.value},
          {"task", w.leased && !w.task.empty() ? Json(w.task) : Json()},
          {"blocked", w.blocked},
          {"resources", JsonOf(w.resources)},
          {"cpus", w.cpus},
          {"devices", w.devices}};
}

Json JsonOf(const NodeView& n, uint64_t run_id) {
  const NodeRecord& r = *n.record;
  Json json = {{"node_id", NodeHex(run_id, r.node)},
               {"node", r.node},
               {"rank", r.rank < 0 ? Json() : Json(r.rank)},
               {"host", r.hostname},
               {"ip", r.ip},
               {"state", n.state},
               {"labels", Json::object()},
               {"resources", Json::object()},
               {"processes", Json::array()}};
  if (!r.death_reason.empty()) json["death_reason"] = r.death_reason;
  for (const auto& [key, value] : r.labels) json["labels"][key] = value;
  if (!r.alive) return json;
  for (const auto& [name, total] : r.total) {
    if (Hidden(name)) continue;
    json["resources"][name] = {{"total", Units(total)}, {"used", Units(n.Used(name))}};
  }
  if (n.said == nullptr) return json;
  json["object_store"] = {{"total_bytes", n.said->store_bytes},
                          {"used_bytes", n.said->store_used_bytes},
                          {"objects", n.said->store_objects},
                          {"spilled_bytes", n.said->spilled_bytes}};
  Amounts used = n.said->in_groups;
  sched::Subtract(&used, n.said->in_groups_available);
  json["in_placement_groups"] = {{"total", JsonOf(n.said->in_groups)}, {"used", JsonOf(used)}};
  for (const WorkerStatus& w : n.said->workers) json["processes"].push_back(JsonOf(w));
  return json;
}

Json JsonOf(const GroupStatus& g, uint64_t run_id) {
  Json json = {{"placement_group_id", GroupHex(run_id, g.record.group)},
               {"name", g.record.name},
               {"state", NameOf(g.record.state)},
               {"strategy", NameOf(g.record.strategy)},
               {"infeasible", g.infeasible},
               {"reason", WhyWaiting(g)},
               {"bundles", Json::array()}};
  for (const GroupBundle& b : g.record.bundles)
    json["bundles"].push_back({{"resources", JsonOf(b.resources)},
                               {"node_id", b.node == 0 ? Json() : Json(NodeHex(run_id, b.node))}});
  return json;
}

}  // namespace

std::string StatusTables(const RunStatus& status, bool all) {
  const std::vector<NodeView> nodes = NodesOf(status);
  std::string text = kBold + Summary(status, nodes) + kPlain + "\n";
  const auto add = [&](const char* title, const std::vector<std::string>& headings, const Rows& rows) {
    if (!rows.empty()) text += fmt::format("\n{}{}{}\n", kBold, title, kPlain) + Columns(headings, rows);
  };
  std::vector<std::string> headings = {"rank", "node",   "host",         "state", "CPU",
                                       "GPU",  "memory", "object store", "other"};
  if (all) headings.push_back("labels");
  add("Nodes (used/total)", headings, NodeRows(nodes, all));
  add("Processes", {"rank", "host", "pid", "kind", "job", "task", "resources", "bound to CPUs"},
      ProcessRows(nodes, all));
  add("Waiting", {"count", "resources", "where", "why"}, PendingRows(status));
  add("Placement groups", {"id", "name", "state", "strategy", "bundles", ""}, GroupRows(status));
  return text;
}

std::string StatusLines(const RunStatus& status, bool all) {
  const std::vector<NodeView> nodes = NodesOf(status);
  return Summary(status, nodes) + "\n" + TabLines("node", NodeRows(nodes, all)) +
         TabLines("process", ProcessRows(nodes, all)) + TabLines("waiting", PendingRows(status)) +
         TabLines("group", GroupRows(status));
}

std::string StatusJson(const RunStatus& status) {
  Json json = {{"run_id", fmt::format("{:016x}", status.run_id)},
               {"ranks", status.expected_nodes},
               {"nodes", Json::array()},
               {"waiting", Json::array()},
               {"placement_groups", Json::array()}};
  for (const NodeView& n : NodesOf(status)) json["nodes"].push_back(JsonOf(n, status.run_id));
  for (const PendingStatus& p : status.pending) {
    json["waiting"].push_back({{"count", p.count},
                               {"resources", JsonOf(p.shape.resources)},
                               {"where", StrategyOf(p.shape, status.run_id)},
                               {"infeasible", p.infeasible},
                               {"reason", WhyWaiting(p, status)}});
  }
  for (const GroupStatus& g : status.groups) json["placement_groups"].push_back(JsonOf(g, status.run_id));
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace rmpi::launcher
