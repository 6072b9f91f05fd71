# SPDX-License-Identifier: Apache-2.0
"""Where a task or actor may run."""

from typing import Union


class PlacementGroupSchedulingStrategy:
    """Inside of a placement group."""

    def __init__(self, placement_group, placement_group_bundle_index=-1, placement_group_capture_child_tasks=None):
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """On one node; soft: elsewhere if that one is gone or has no room."""

    def __init__(self, node_id, soft, _spill_on_unavailable=False, _fail_on_unavailable=False):
        if hasattr(node_id, "hex") and not isinstance(node_id, (str, bytes)):
            node_id = node_id.hex()
        if not _is_node_id(node_id):
            raise ValueError(f"Invalid node_id {node_id!r}: node ids have 56 hexadecimal digits, see ray.nodes().")
        self.node_id = node_id
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable


def _is_node_id(text):
    try:
        return isinstance(text, str) and len(bytes.fromhex(text)) == 28 and text != "f" * 56
    except ValueError:
        return False


def node_number(node_id):
    """The number that the runtime knows a node by: the last four bytes of its id."""
    return int.from_bytes(bytes.fromhex(node_id)[24:], "little")


class _Operator:
    def __init__(self, *values):
        if not values or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{type(self).__name__} wants one or more strings")
        self.values = list(values)


class In(_Operator):
    """The label is one of these."""


class NotIn(_Operator):
    """The label is none of these."""


class Exists:
    """The node has the label."""


class DoesNotExist:
    """The node does not have the label."""


class NodeLabelSchedulingStrategy:
    """On nodes whose labels match."""

    def __init__(self, hard, *, soft=None):
        for labels in (hard, soft or {}):
            if not isinstance(labels, dict):
                raise ValueError(f"labels are a dict of name and In, NotIn, Exists or DoesNotExist, not {labels!r}")
            for name, operator in labels.items():
                if not isinstance(name, str) or not isinstance(operator, (In, NotIn, Exists, DoesNotExist)):
                    raise ValueError(
                        f"labels map a name to In, NotIn, Exists or DoesNotExist, not {name!r} to {operator!r}"
                    )
        if not hard and not soft:
            raise ValueError("The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be empty.")
        self.hard = hard
        self.soft = soft


CLASSES = (PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy)
SchedulingStrategyT = Union[
    None, str, PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy
]
LabelMatchExpressionsT = dict
