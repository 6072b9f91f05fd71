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

Status LoadTopology(const std::string& synthetic, Topology* topology) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return Status::Io("hwloc_topology_init", errno);
  const Handle handle(raw);
  if (!synthetic.empty() && hwloc_topology_set_synthetic(raw, synthetic.c_str()) != 0) {
    return Status::Invalid("hwloc does not understand the topology '" + synthetic + "'");
  }
  if (hwloc_topology_load(raw) != 0) return Status::Io("hwloc cannot read the machine's topology", errno);

  // hwloc's logical order is the order of locality.
  for (hwloc_obj_t pu = nullptr; (pu = hwloc_get_next_obj_by_type(raw, HWLOC_OBJ_PU, pu)) != nullptr;) {
    topology->cpus_by_locality.push_back(static_cast<int>(pu->os_index));
  }
  for (hwloc_obj_t node = nullptr;
       (node = hwloc_get_next_obj_by_type(raw, HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
    topology->numa_nodes.push_back(
        {static_cast<int>(node->os_index), ListOf(node->cpuset), node->attr->numanode.local_memory});
  }
  topology->cores = std::max(0, hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_CORE));
  return Status::Ok();
}

}  // namespace rmpi
