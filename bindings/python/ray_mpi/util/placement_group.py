# SPDX-License-Identifier: Apache-2.0
"""Placement groups: bundles of resources, on one node or on several, that are there all at once or not at all."""

import math
import warnings

from ray_mpi import _core, _labels, _waiting, _worker, exceptions
from ray_mpi._ids import NodeID, PlacementGroupID

_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")  # GroupStrategy of the runtime
VALID_PLACEMENT_GROUP_STRATEGIES = set(_STRATEGIES)
_STATES = ("PENDING", "CREATED", "REMOVED", "RESCHEDULING")
_NODE_ID = "ray.io/node-id"
_RESERVED_RESOURCE = "bundle"
_NOT_A_LIST = (
    "Bundles must be a non-empty list of resource dictionaries. "
    'For example: `[{"CPU": 1.0}, {"GPU": 1.0}]`.'
)


class PlacementGroup:
    """A handle on a group. It can be passed to tasks and actors."""

    @staticmethod
    def empty():
        """No group."""
        return PlacementGroup(PlacementGroupID.nil())

    def __init__(self, id, bundle_cache=None):  # noqa: A002  (Ray's name)
        self.id = id
        self.bundle_cache = bundle_cache

    @property
    def is_empty(self):
        return self.id.is_nil()

    def ready(self):
        """An ObjectRef of this handle, which is there when all bundles are."""
        if self.is_empty:
            return _core.put(self)
        return _core.group_ready(_number(self), self)

    def wait(self, timeout_seconds=30):
        """Whether all bundles are there within so many seconds."""
        if self.is_empty:
            return False
        ready, _ = _waiting.wait([self.ready()], timeout=timeout_seconds)
        if not ready:
            return False
        try:
            _core.get(ready[0])
        except exceptions.TaskPlacementGroupRemoved:
            raise Exception(f"Placement group {self.id} does not exist.") from None  # noqa: TRY002  (as Ray)
        return True

    @property
    def bundle_specs(self):
        """What each bundle has, as [{resource: amount}]."""
        if not self.bundle_cache:
            self.bundle_cache = list(placement_group_table(self)["bundles"].values())
        return self.bundle_cache

    @property
    def bundle_count(self):
        return len(self.bundle_specs)

    def __eq__(self, other):
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self):
        return hash(self.id)


def _number(group):
    """By which the runtime knows a group: the last four bytes of its id."""
    return int.from_bytes(group.id.binary()[14:], "little")


def placement_group(
    bundles,
    strategy=None,
    name="",
    lifetime=None,
    _soft_target_node_id=None,
    bundle_label_selector=None,
    topology_strategy=None,
):
    """Ask for a group; returns its handle at once, see PlacementGroup.ready().

    strategy: "PACK" (few nodes, the default), "SPREAD" (many), "STRICT_PACK" (one), "STRICT_SPREAD" (all different).
    lifetime "detached": it outlives the job that made it. bundle_label_selector: of each bundle's node, as label_selector
    of a task. Raises ValueError for bundles that nobody could use.
    """
    from ray_mpi.util.scheduling_strategies import node_number

    _worker.auto_init()
    validate_placement_group(
        bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy
    )
    strategy = strategy or (topology_strategy or {}).get(_NODE_ID, "PACK")
    amounts = [sorted((key, float(value)) for key, value in bundle.items() if value) for bundle in bundles]
    soft_node = node_number(_soft_target_node_id) if _soft_target_node_id else 0
    made = _core.create_group(
        amounts,
        _STRATEGIES.index(strategy),
        name,
        _namespace(),
        lifetime == "detached",
        soft_node,
        [_labels.rules_of_selector(selector) for selector in bundle_label_selector or ()],
    )
    specs = [{key: float(value) for key, value in bundle.items()} for bundle in bundles]
    return PlacementGroup(PlacementGroupID.from_hex(made["id"]), specs)


def _namespace():
    return _worker.global_worker.namespace


def remove_placement_group(placement_group):
    """End a group: what runs in it is killed, what waits for it fails."""
    assert placement_group is not None
    _worker.auto_init()
    if not placement_group.is_empty:
        _core.remove_group(_number(placement_group))


def get_placement_group(placement_group_name):
    """The group of that name in this job's namespace. ValueError: there is none."""
    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group")
    _worker.auto_init()
    found = _core.find_group(_namespace(), placement_group_name)
    if found is None:
        raise ValueError(f"Failed to look up placement group with name: {placement_group_name}")
    return PlacementGroup(PlacementGroupID.from_hex(found["id"]))


def placement_group_table(placement_group=None):
    """What the head knows of one group, or {id: what it knows} of all, those removed of late included."""
    _worker.auto_init()
    if placement_group is None:
        return {group["id"]: _entry(group) for group in _core.groups(0)}
    if placement_group.is_empty:
        return {}
    found = _core.groups(_number(placement_group))
    return _entry(found[0]) if found else {}


def _entry(group):
    state = _STATES[group["state"]]
    scheduling = {"CREATED": "FINISHED", "REMOVED": "REMOVED"}.get(state, "PENDING")
    return {
        "placement_group_id": group["id"],
        "name": group["name"],
        "bundles": dict(enumerate(group["bundles"])),
        "bundles_to_node_id": dict(enumerate(group["nodes"])),
        "strategy": _STRATEGIES[group["strategy"]],
        "state": state,
        "stats": {
            "end_to_end_creation_latency_ms": group["latency_ms"],
            "scheduling_latency_ms": group["latency_ms"],
            "scheduling_attempt": group["attempts"],
            "highest_retry_delay_ms": 0.0,
            "scheduling_state": scheduling,
        },
    }


def get_current_placement_group():
    """The group that the running task or actor is in, or None."""
    _worker.auto_init()
    number, _ = _core.current_group()
    return PlacementGroup(PlacementGroupID.from_hex(_core.group_id(number))) if number else None


# ---- what may be asked for ------------------------------------------------------------------------------------------


def validate_placement_group(
    bundles,
    strategy=None,
    lifetime=None,
    _soft_target_node_id=None,
    bundle_label_selector=None,
    topology_strategy=None,
):
    """Raise for what placement_group() does not take."""
    if topology_strategy is not None:
        _check_topology(topology_strategy, strategy)
        strategy = topology_strategy.get(_NODE_ID)
    if strategy is not None and strategy not in _STRATEGIES:
        raise ValueError(
            f"Invalid placement group strategy {strategy}. Supported strategies are: {VALID_PLACEMENT_GROUP_STRATEGIES}."
        )
    if _soft_target_node_id:
        if strategy != "STRICT_PACK":
            raise ValueError(f"_soft_target_node_id currently only works with STRICT_PACK but got {strategy or 'PACK'}")
        if NodeID.from_hex(_soft_target_node_id).is_nil():
            raise ValueError(f"Invalid hex ID of _soft_target_node_id, got {_soft_target_node_id}")
    _check_bundles(bundles)
    if bundle_label_selector is not None:
        _check_selectors(bundles, bundle_label_selector)
    if lifetime not in (None, "detached"):
        raise ValueError(
            f"Placement group `lifetime` argument must be either `None` or 'detached'. Got {lifetime}."
        )


def _check_selectors(bundles, selectors):
    if len(selectors) != len(bundles):
        raise ValueError(
            f"Invalid bundle label selector {selectors}. "
            "The length of `bundle_label_selector` should equal the length of `bundles`."
        )
    if not isinstance(selectors, list):
        raise ValueError(f"Placement group bundle_label_selector must be a list, got {type(selectors)}.")
    for selector in selectors:
        if not isinstance(selector, dict) or not all(isinstance(text, str) for rule in selector.items() for text in rule):
            raise ValueError(
                "Bundle label selector must be a list of string dictionary label selectors. For example: "
                '`[{"ray.io/market_type": "spot"}, {"ray.io/accelerator-type": "A100"}]`.'
            )
        wrong = _labels.selector_error(selector)
        if wrong:
            raise ValueError(f"Invalid label selector provided in bundle_label_selector list. Detailed error: '{wrong}'")


def _check_topology(topology, strategy):
    if strategy is not None:
        raise ValueError(
            "`strategy` and `topology_strategy` cannot both be specified. "
            f"Pass node-level packing via `topology_strategy['{_NODE_ID}']`."
        )
    if not isinstance(topology, dict):
        raise ValueError(f"`topology_strategy` must be a dict, got {type(topology).__name__}.")
    if set(topology) - {_NODE_ID}:
        raise NotImplementedError(
            f"placement_group(topology_strategy=...) knows '{_NODE_ID}' only in this version of ray-mpi"
        )


def _check_bundles(bundles):
    if not isinstance(bundles, list):
        raise ValueError(f"Placement group bundles must be a list, got {type(bundles)}.")
    if not bundles:
        raise ValueError(_NOT_A_LIST + " Got empty list instead.")
    for bundle in bundles:
        if (
            not isinstance(bundle, dict)
            or not all(isinstance(key, str) for key in bundle)
            or not all(isinstance(value, (int, float)) for value in bundle.values())
        ):
            raise ValueError(_NOT_A_LIST)
        if not any(bundle.values()):
            raise ValueError(
                f"Bundles cannot be an empty dictionary or resources with only 0 values. Bundles: {bundles}"
            )
        for key, value in bundle.items():
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"The quantity of resource {key} cannot be negative, nor without end: {bundle}")
        if _RESERVED_RESOURCE in bundle:
            raise ValueError(f"'{_RESERVED_RESOURCE}' is the name of a resource that placement groups make")
        if "object_store_memory" in bundle:
            warnings.warn(
                "Setting 'object_store_memory' for bundles is deprecated: it reserves no memory.",
                DeprecationWarning,
                stacklevel=3,
            )


def check_placement_group_index(placement_group, bundle_index):
    """Raise for a bundle that the group does not have."""
    if placement_group.is_empty:
        if bundle_index != -1:
            raise ValueError("If placement group is not set, the value of bundle index must be -1.")
    elif not -1 <= bundle_index < placement_group.bundle_count:
        raise ValueError(
            f"placement group bundle index {bundle_index} is invalid. "
            f"Valid placement group indexes: 0-{placement_group.bundle_count}"
        )


def _fits_somewhere(resources, bundles):
    return any(
        all(bundle.get(name, 0) >= amount for name, amount in resources.items() if name != _RESERVED_RESOURCE)
        for bundle in bundles
    )


def place(options, resources, cpus_to_start, what):
    """Where a task or an actor runs that these options ask for: the fields of a template.

    `resources`: {name: amount} that it needs; cpus_to_start: CPUs that an actor needs besides, to start.
    """
    from ray_mpi.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    strategy = options.get("scheduling_strategy")
    if isinstance(strategy, PlacementGroupSchedulingStrategy):
        group, index = strategy.placement_group, strategy.placement_group_bundle_index
        capture = strategy.placement_group_capture_child_tasks
    elif strategy is None:
        group, index = options.get("placement_group", "default"), options.get("placement_group_bundle_index", -1)
        capture = options.get("placement_group_capture_child_tasks")
    else:
        return {}
    inherits = group == "default" and capture is not False
    if group == "default":
        group = get_current_placement_group() if capture else None
    group = group or PlacementGroup.empty()
    assert isinstance(group, PlacementGroup)
    check_placement_group_index(group, index)
    if group.is_empty:
        return {"inherits": inherits}
    _check_fits(group.bundle_specs, resources, cpus_to_start, what)
    if capture is None:
        capture = _core.current_group()[1]
    return {"group": _number(group), "bundle": index, "capture": capture}


def _check_fits(bundles, resources, cpus_to_start, what):
    if not _fits_somewhere(resources, bundles):
        shown = {name: int(amount) if amount == int(amount) else amount for name, amount in resources.items()}
        raise ValueError(
            f"Cannot schedule {what} with the placement group because the resource request "
            f"{shown} cannot fit into any bundles for the placement group, {bundles}."
        )
    if cpus_to_start and not _fits_somewhere({**resources, "CPU": cpus_to_start}, bundles):
        raise ValueError(
            f"Cannot schedule {what} with the placement group because the actor requires {cpus_to_start} CPU for "
            f"creation, but it cannot fit into any bundles for the placement group, {bundles}. "
            "Consider creating a placement group with CPU resources."
        )


__all__ = [
    "PlacementGroup",
    "VALID_PLACEMENT_GROUP_STRATEGIES",
    "check_placement_group_index",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
    "validate_placement_group",
]
