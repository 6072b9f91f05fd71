# SPDX-License-Identifier: Apache-2.0
"""Placement groups: not there yet."""

from ray_mpi.util import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)


class PlacementGroup:
    """A handle on a group; there are none yet."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError("Placement groups are not there yet in this version of ray-mpi")


__all__ = [
    "PlacementGroup",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]
