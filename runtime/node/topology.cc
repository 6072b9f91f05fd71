// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/topology.h"

#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <type_traits>

namespace rmpi {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using Handle = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, Destroy>;

CpuList ListOf(hwloc_const_bitmap_t bitmap) {
  CpuList cpus;
  for (int cpu = hwloc_bitmap_first(bitmap); cpu >= 0; cpu = hwloc_bitmap_next(bitmap, cpu))
    cpus.push_back(cpu);
  return cpus;
}

}  // namespace

Status LoadTopology(const std::string& instead, Topology* topology) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return Status::Io("hwloc_topology_init", errno);
  const Handle handle(raw);
  hwloc_topology_set_all_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_type_filter(raw, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL);
  hwloc_topology_set_type_filter(raw, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
  const bool understood = instead.empty() ? true
                          : instead.ends_with(".xml")
                              ? hwloc_topology_set_xml(raw, instead.c_str()) == 0
                              : hwloc_topology_set_synthetic(raw, instead.c_str()) == 0;
  if (!understood) return Status::Invalid("hwloc does not understand the topology '" + instead + "'");
  if (hwloc_topology_load(raw) != 0) return Status::Io("hwloc cannot read the machine's topology", errno);

  // hwloc's logical order is the order of locality.
  for (hwloc_obj_t pu = nullptr; (pu = hwloc_get_next_obj_by_type(raw, HWLOC_OBJ_PU, pu)) != nullptr;) {
    topology->cpus_by_locality.push_back(static_cast<int>(pu->os_index));
    hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(raw, HWLOC_OBJ_CORE, pu);
    const int numa = pu->nodeset == nullptr ? 0 : std::max(0, hwloc_bitmap_first(pu->nodeset));
    const auto number = static_cast<int>(core == nullptr ? pu->logical_index : core->logical_index);
    topology->places.push_back({static_cast<int>(pu->os_index), number, numa});
  }
  for (hwloc_obj_t node = nullptr;
       (node = hwloc_get_next_obj_by_type(raw, HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
    topology->numa_nodes.push_back(
        {static_cast<int>(node->os_index), ListOf(node->cpuset), node->attr->numanode.local_memory});
  }
  topology->cores = std::max(0, hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_CORE));
  return Status::Ok();
}

std::vector<sched::CpuPlace> PlacesOf(const Topology& topology, const CpuList& granted) {
  std::vector<sched::CpuPlace> places;
  for (const sched::CpuPlace& place : topology.places) {
    if (std::binary_search(granted.begin(), granted.end(), place.cpu)) places.push_back(place);
  }
  return places.size() == granted.size() ? places : std::vector<sched::CpuPlace>();
}

}  // namespace rmpi
