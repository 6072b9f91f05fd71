# SPDX-License-Identifier: Apache-2.0
"""Helpers on top of the core."""

import socket

from ray_mpi import _core, _waiting
from ray_mpi.actor import list_named_actors
from ray_mpi.util import debug, scheduling_strategies, serialization
from ray_mpi.util.actor_pool import ActorPool
from ray_mpi.util.check_serialize import inspect_serializability
from ray_mpi.util.debug import disable_log_once_globally, enable_periodic_logging, log_once
from ray_mpi.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray_mpi.util.serialization import deregister_serializer, register_serializer


def get_node_ip_address(address="8.8.8.8:53"):
    """This node's address as its peers see it (the source address that a packet to them would carry)."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            pass
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def as_completed(refs, chunk_size=10, yield_completed=True):
    """The values of refs, each as soon as it is there."""
    pending = list(refs)
    while pending:
        ready, pending = _waiting.wait(pending, num_returns=min(chunk_size, len(pending)))
        for ref in ready:
            yield _core.get(ref)


def map_unordered(function, items, backpressure_size=None, chunk_size=10):
    """function.remote(item) for all items, values in the order of completion, so many submitted at a time."""
    if backpressure_size is None:
        yield from as_completed([function.remote(item) for item in items], chunk_size)
        return
    if backpressure_size < chunk_size:
        raise ValueError("backpressure_size must be at least chunk_size")
    pending = []
    for item in items:
        if len(pending) >= backpressure_size:
            ready, pending = _waiting.wait(pending, num_returns=min(chunk_size, len(pending)))
            yield from (_core.get(ref) for ref in ready)
        pending.append(function.remote(item))
    yield from as_completed(pending, chunk_size)


def get_node_instance_id():
    """The cloud's id of this machine; there is none on a cluster."""
    return ""


def connect(*args, **kwargs):
    raise NotImplementedError(
        "ray.util.connect(): the Ray client is not there in ray-mpi; run the program with ray-mpi"
    )


def disconnect():
    """No client: nothing to do."""


__all__ = [
    "ActorPool",
    "as_completed",
    "connect",
    "debug",
    "deregister_serializer",
    "disable_log_once_globally",
    "disconnect",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
    "scheduling_strategies",
    "serialization",
]
