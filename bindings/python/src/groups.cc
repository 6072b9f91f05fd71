// SPDX-License-Identifier: Apache-2.0
// Placement groups for Python. A group is its number here; ray_mpi/util/placement_group.py wraps it.
#include <cmath>

#include "bindings/python/src/codec.h"
#include "bindings/python/src/core_call.h"
#include "bindings/python/src/label_rules.h"
#include "bindings/python/src/module.h"
#include "bindings/python/src/object_ref.h"

namespace rmpi::python {
namespace {

constexpr double kUnit = 10000;  // amounts are fixed point

using Bundle = std::vector<std::pair<std::string, double>>;

nb::dict AsDict(const GroupRecord& g) {
  nb::dict d;
  d["group"] = g.group;
  d["id"] = Session::Get().core()->GroupId(g.group);
  d["name"] = g.name;
  d["namespace"] = g.ray_namespace;
  d["strategy"] = static_cast<int>(g.strategy);
  d["state"] = static_cast<int>(g.state);
  d["attempts"] = g.attempts;
  d["latency_ms"] = static_cast<double>(g.latency_ns) / 1e6;
  nb::list bundles, nodes;
  for (const GroupBundle& b : g.bundles) {
    nb::dict resources;
    for (const auto& [name, amount] : b.resources)
      resources[name.c_str()] = static_cast<double>(amount) / kUnit;
    bundles.append(resources);
    nodes.append(b.node == 0 ? std::string() : NodeHex(Session::Get().core()->run_id(), b.node));
  }
  d["bundles"] = bundles;
  d["nodes"] = nodes;
  return d;
}

nb::dict CreateGroup(const std::vector<Bundle>& bundles, int strategy, const std::string& name,
                     const std::string& ray_namespace, bool detached, uint32_t soft_node, nb::handle labels) {
  GroupRecord group;
  group.strategy = static_cast<GroupStrategy>(strategy);
  group.name = name;
  group.ray_namespace = ray_namespace;
  group.detached = detached;
  group.soft_node = soft_node;
  const std::vector<LabelRules> rules = LabelsOf(labels);  // one per bundle, or none
  for (size_t i = 0; i < bundles.size(); ++i) {
    GroupBundle b;
    if (!rules.empty()) b.labels = rules.at(i);
    for (const auto& [resource, amount] : bundles[i])  // sorted by name
      b.resources.emplace_back(resource, static_cast<int64_t>(std::llround(amount * kUnit)));
    group.bundles.push_back(std::move(b));
  }
  CoreWorker* core = Session::Get().CoreOrStart();
  CheckStatus(Unlocked([&] { return core->CreateGroup(&group); }));
  return AsDict(group);
}

// [dict]: of one, or with 0 of all.
nb::list Groups(uint32_t group) {
  std::vector<GroupRecord> groups;
  CoreWorker* core = Session::Get().CoreOrStart();
  CheckStatus(Unlocked([&] { return core->ListGroups(group, &groups); }));
  nb::list out;
  for (const GroupRecord& g : groups) out.append(AsDict(g));
  return out;
}

nb::object FindGroup(const std::string& ray_namespace, const std::string& name) {
  GroupRecord group;
  CoreWorker* core = Session::Get().CoreOrStart();
  const Status status = Unlocked([&] { return core->FindGroup(ray_namespace, name, &group); });
  if (status.code() == StatusCode::kNotFound) return nb::none();
  CheckStatus(status);
  return AsDict(group);
}

nb::object GroupReady(uint32_t group, nb::handle value) {
  Encoder encoder;
  encoder.Value(value.ptr());
  Blob bytes = Blob::Allocate(encoder.size());
  encoder.Write(bytes.mutable_data());
  Ref ref;
  CheckStatus(Session::Get().CoreOrStart()->GroupReady(group, bytes, &ref));
  return WrapRef(std::move(ref));
}

}  // namespace

void InitGroups(nb::module_& m) {
  m.def("create_group", &CreateGroup, "bundles"_a, "strategy"_a, "name"_a, "namespace"_a, "detached"_a,
        "soft_node"_a, "labels"_a);
  m.def("remove_group", [](uint32_t group) {
    CoreWorker* core = Session::Get().CoreOrStart();
    CheckStatus(Unlocked([&] { return core->RemoveGroup(group); }));
  });
  m.def("groups", &Groups, "group"_a);
  m.def("find_group", &FindGroup, "namespace"_a, "name"_a);
  m.def("group_ready", &GroupReady, "group"_a, "value"_a);
  m.def("group_id", [](uint32_t group) { return Session::Get().core()->GroupId(group); });
  // (number, whether what is submitted here is meant for it); number 0: none.
  m.def("current_group", [] {
    const CurrentGroup here = Session::Get().core()->current_group();
    return nb::make_tuple(here.group, here.capture);
  });
}

}  // namespace rmpi::python
