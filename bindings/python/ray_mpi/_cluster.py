# SPDX-License-Identifier: Apache-2.0
"""Questions about the cluster: nodes, resources."""

from ray_mpi import _core, _worker
from ray_mpi.runtime_context import device_ids


def nodes():
    """A list of dicts, one per node that is or was in the run."""
    _worker.auto_init()
    return [_node(node) for node in _core.nodes()]


def _node(node):
    session = _core.session()
    return {
        "NodeID": node["hex_id"],
        "Alive": node["alive"],
        "NodeManagerAddress": node["ip"],
        "NodeManagerHostname": node["hostname"],
        "NodeManagerPort": 0,  # nothing listens on a port
        "ObjectManagerPort": 0,
        "ObjectStoreSocketName": session,
        "RayletSocketName": session,
        "MetricsExportPort": 0,
        "MetricsAgentPort": 0,
        "DashboardAgentListenPort": 0,
        "RuntimeEnvAgentPort": 0,
        "NodeName": node["ip"],
        "Rank": node["rank"] if node["rank"] >= 0 else None,  # of a node that joined later
        "DeathReason": 0 if node["alive"] else 1,
        "DeathReasonMessage": node["death_reason"],
        "alive": node["alive"],
        "Resources": node["total"] if node["alive"] else {},
        "Labels": node["labels"],
    }


def _sum(which):
    total = {}
    _worker.auto_init()
    for node in _core.nodes():
        if node["alive"]:
            for name, amount in node[which].items():
                total[name] = total.get(name, 0.0) + amount
    return total


def cluster_resources():
    """{resource: amount} of all living nodes."""
    return _sum("total")


def available_resources():
    """{resource: amount} not in use now; what is used up is left out."""
    # Below zero while tasks that were blocked have gone on before others were done.
    return {name: amount for name, amount in _sum("available").items() if amount > 0}


def get_gpu_ids():
    """The ids of the GPUs that the running task holds; none in the driver."""
    _worker.auto_init()
    return device_ids("GPU")


def timeline(filename=None):
    """Not there yet."""
    raise NotImplementedError("ray.timeline(): the record of task events is not there yet in this version of ray-mpi")


def _private_stats():
    """Figures of this node's object store and of this process's own tables, for tests and benchmarks."""
    stats = _core.stats()
    return {
        **stats,
        "object_store_capacity_bytes": stats["capacity_bytes"],
        "object_store_used_bytes": stats["used_bytes"],
        "owned_objects": stats["owned_entries"],
        "borrowed_objects": stats["borrowed_entries"],
    }
