// SPDX-License-Identifier: Apache-2.0
#include "objstore/numa_bind.h"

#include <hwloc.h>

#include <cerrno>
#include <memory>

namespace rmpi::objstore {
namespace {

struct FreeBitmap {
  void operator()(hwloc_bitmap_s* b) const { hwloc_bitmap_free(b); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

struct DestroyTopology {
  void operator()(hwloc_topology* t) const { hwloc_topology_destroy(t); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;

Status Load(Topology* topology) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return Status::Io("object store: hwloc_topology_init", errno);
  topology->reset(raw);
  hwloc_topology_set_all_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
  if (hwloc_topology_load(raw) != 0) return Status::Io("object store: hwloc_topology_load", errno);
  return Status::Ok();
}

}  // namespace

Status BindToNumaNodes(void* address, uint64_t bytes, const std::string& nodes) {
  Bitmap wanted(hwloc_bitmap_alloc()), got(hwloc_bitmap_alloc());
  if (hwloc_bitmap_list_sscanf(wanted.get(), nodes.c_str()) != 0 || hwloc_bitmap_iszero(wanted.get())) {
    return Status::Invalid("object store: \"" + nodes + "\" is no list of NUMA nodes; write e.g. 0-1");
  }
  Topology topology;
  if (Status s = Load(&topology); !s.ok()) return s;
  if (!hwloc_bitmap_isincluded(wanted.get(), hwloc_topology_get_allowed_nodeset(topology.get()))) {
    return Status::Invalid("object store: this process may not use all of the NUMA nodes " + nodes +
                           "; see hwloc-ls --allowed");
  }
  constexpr int kFlags = HWLOC_MEMBIND_BYNODESET;
  if (hwloc_set_area_membind(topology.get(), address, bytes, wanted.get(), HWLOC_MEMBIND_BIND, kFlags) != 0) {
    return Status::Io("object store: binding the arena to NUMA nodes " + nodes, errno);
  }
  hwloc_membind_policy_t policy = HWLOC_MEMBIND_DEFAULT;
  if (hwloc_get_area_membind(topology.get(), address, bytes, got.get(), &policy, kFlags) != 0) {
    return Status::Io("object store: reading back the arena's binding to NUMA nodes " + nodes, errno);
  }
  if (policy != HWLOC_MEMBIND_BIND || !hwloc_bitmap_isequal(wanted.get(), got.get())) {
    return Status::Internal("object store: the kernel did not take the arena's binding to NUMA nodes " +
                            nodes);
  }
  return Status::Ok();
}

}  // namespace rmpi::objstore
