# SPDX-License-Identifier: Apache-2.0
"""Programs that reserve bundles of resources, and run tasks and actors in them."""


def test_a_group_that_fits_and_one_that_waits(program):
    out = program("""
        import ray
        from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        ray.init(num_cpus=2, num_gpus=2)
        group = placement_group([{"CPU": 1, "GPU": 1}])
        ray.get(group.ready(), timeout=30)
        print("ready at once:", group.wait(timeout_seconds=30))
        print(placement_group_table(group)["state"])

        late = placement_group([{"CPU": 1}, {"GPU": 2}])
        try:
            ray.get(late.ready(), timeout=0.5)
        except ray.exceptions.GetTimeoutError:
            print("no room for the other one, which is", placement_group_table(late)["state"])

        @ray.remote(num_cpus=1)
        class Reader:
            def ready(self):
                return "reader"

        @ray.remote(num_cpus=0, num_gpus=1)
        class Trainer:
            def ready(self):
                return len(ray.get_gpu_ids())

        reader = Reader.options(scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=group)).remote()
        trainer = Trainer.options(
            scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=0)
        ).remote()
        print(ray.get([reader.ready.remote(), trainer.ready.remote()], timeout=30))

        remove_placement_group(group)
        print("then:", late.wait(30), placement_group_table(group)["state"])
    """)
    assert out.splitlines() == [
        "ready at once: True",
        "CREATED",
        "no room for the other one, which is PENDING",
        "['reader', 1]",
        "then: True REMOVED",
    ]


def test_children_of_a_captured_task(program):
    out = program("""
        import ray
        from ray.util.placement_group import get_current_placement_group, placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as InGroup

        ray.init(num_cpus=3)
        group = placement_group([{"CPU": 2}])
        ray.get(group.ready(), timeout=30)

        @ray.remote(num_cpus=1)
        def leaf():
            return get_current_placement_group() is not None

        @ray.remote(num_cpus=1)
        def parent(stay):
            task = leaf if stay else leaf.options(scheduling_strategy=InGroup(placement_group=None))
            return ray.get(task.remote(), timeout=30)

        captured = InGroup(placement_group=group, placement_group_capture_child_tasks=True)
        print(ray.get([parent.options(scheduling_strategy=captured).remote(stay) for stay in (True, False)], timeout=30))
    """)
    assert out.splitlines() == ["[True, False]"]


def test_a_named_group(program):
    out = program("""
        import ray
        from ray.util.placement_group import placement_group

        ray.init(num_cpus=1)
        group = placement_group([{"CPU": 1}], lifetime="detached", name="shared")
        ray.get(group.ready(), timeout=30)
        print(ray.util.get_placement_group("shared") == group, ray.util.get_placement_group("shared").bundle_specs)
    """)
    assert out.splitlines() == ["True [{'CPU': 1.0}]"]
