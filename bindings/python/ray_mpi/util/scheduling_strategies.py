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
        if _spill_on_unavailable and not soft:
            raise ValueError("_spill_on_unavailable cannot be set when soft is False.")
        if _fail_on_unavailable and soft:
            raise ValueError("_fail_on_unavailable cannot be set when soft is True.")
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
        name = type(self).__name__
        if not values:
            raise ValueError(f"{name} wants one or more values: {name}('value1', 'value2')")
        for position, value in enumerate(values):
            if not isinstance(value, str):
                raise ValueError(f"{name}: the value in position {position} must be a string, not {value!r}")
        self.values = list(values)


class In(_Operator):
    """The label is one of these."""


class NotIn(_Operator):
    """The label is none of these, or missing."""


class Exists:
    """The node has the label."""


class DoesNotExist:
    """The node does not have the label."""


class _LabelMatchExpression:
    """A label and what it must be."""

    def __init__(self, key, operator):
        self.key = key
        self.operator = operator


def _expressions(labels, what):
    if labels is None:
        return []
    if not isinstance(labels, dict):
        raise ValueError(f'The {what} parameter must be a map (e.g. {{"key1": In("value1")}}), not {type(labels)}.')
    for key, operator in labels.items():
        if not isinstance(key, str):
            raise ValueError(f"The map key of the {what} parameter must be a string, not {key!r}.")
        if not isinstance(operator, (In, NotIn, Exists, DoesNotExist)):
            raise ValueError(
                f"The map value for key {key} of the {what} parameter must be one of the `In`, `NotIn`, `Exists` or "
                f"`DoesNotExist` operator, not {operator!r}."
            )
    return [_LabelMatchExpression(key, operator) for key, operator in labels.items()]


class NodeLabelSchedulingStrategy:
    """On nodes whose labels match all of `hard`, and if it can be all of `soft`."""

    def __init__(self, hard, *, soft=None):
        self.hard = _expressions(hard, "hard")
        self.soft = _expressions(soft, "soft")
        if not (self.hard or self.soft):
            raise ValueError("The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be empty.")


CLASSES = (PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy)
SchedulingStrategyT = Union[
    None, str, PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy
]
LabelMatchExpressionsT = dict
