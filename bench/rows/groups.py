# SPDX-License-Identifier: Apache-2.0
"""Placement groups: reserved, waited for, removed."""

import ray
from measure import main, row
from ray.util import placement_group, remove_placement_group

GROUPS = 100
CPUS = 0.01  # of each bundle: all groups fit at once


@row("placement_group_create_removal", "groups/s")
def create_and_remove():
    def call():
        groups = [placement_group([{"CPU": CPUS}]) for _ in range(GROUPS)]
        for group in groups:
            if not group.wait(30):
                raise RuntimeError("a group is not there after 30 s")
        for group in groups:
            remove_placement_group(group)

    return call, GROUPS


@row("placement_group_first_task", "groups/s")
def first_task():
    @ray.remote(num_cpus=CPUS)
    def noop():
        return b"ok"

    def call():
        group = placement_group([{"CPU": CPUS}])
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group)
        ray.get(noop.options(scheduling_strategy=strategy).remote())
        remove_placement_group(group)

    return call, 1


if __name__ == "__main__":
    main()
