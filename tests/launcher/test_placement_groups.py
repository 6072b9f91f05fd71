# SPDX-License-Identifier: Apache-2.0
"""Placement groups on three ranks, seen from outside: where tasks ran, and what happens when a rank dies."""

import pytest

pytestmark = pytest.mark.usefixtures("mpirun")

START = """
import os, subprocess, time
import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy as InGroup
ray.init()
me = ray.get_runtime_context().get_node_id()

@ray.remote(num_cpus=1)
def where():
    return ray.get_runtime_context().get_node_id()

def nodes_of(group):
    assert group.wait(30)
    ran = [ray.get(where.options(scheduling_strategy=InGroup(group, i)).remote(), timeout=30) for i in range(group.bundle_count)]
    assert ran == list(placement_group_table(group)["bundles_to_node_id"].values()), ran
    return ran

@ray.remote(max_retries=0, num_cpus=0)
def end_node():
    subprocess.run(["pkill", "-KILL", "-P", str(os.getppid()), "-x", "ray-mpi-raylet"])  # the keeper's child
    time.sleep(60)

def kill(node):
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    ray.wait([end_node.options(scheduling_strategy=there).remote()], timeout=30)

def eventually(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
"""


def run(ray_mpi, text, cpus="2"):
    done = ray_mpi("-n", "3", "--num-cpus", cpus, ray_mpi.write("app.py", START + text))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_strategy(ray_mpi):
    assert run(ray_mpi, """
bundles = [{"CPU": 1}] * 3
for strategy, bundles in (("PACK", bundles[:2]), ("SPREAD", bundles), ("STRICT_PACK", bundles[:2]), ("STRICT_SPREAD", bundles)):
    group = placement_group(bundles, strategy=strategy)
    print(len(set(nodes_of(group))))
    remove_placement_group(group)
    eventually(lambda: ray.available_resources().get("CPU") == 6)  # soft strategies take what is free now
group = placement_group([{"CPU": 1}] * 4, strategy="STRICT_SPREAD")
print(group.wait(0.5))
remove_placement_group(group)
large = placement_group([{"CPU": 3}], strategy="STRICT_PACK")
print(large.wait(0.5))
""") == ["1", "3", "1", "3", "False", "False"]  # fmt: skip


def test_any_bundle_may_be_on_any_node(ray_mpi):
    """Three tasks at once need all three bundles."""
    assert run(ray_mpi, """
@ray.remote(num_cpus=1)
def meet():
    time.sleep(0.5)
    return ray.get_runtime_context().get_node_id()

group = placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
start = time.monotonic()
print(len(set(ray.get([meet.options(scheduling_strategy=InGroup(group)).remote() for _ in range(3)], timeout=30))))
ray.get([meet.options(scheduling_strategy=InGroup(group)).remote() for _ in range(9)], timeout=30)
""") == ["3"]  # fmt: skip


def test_bundles_of_a_dead_node_are_placed_anew(ray_mpi):
    """The others stay, with the actor that lives there; what was lost comes back when there is room."""
    assert run(ray_mpi, """
@ray.remote(num_cpus=0)
class Counter:
    def __init__(self):
        self.n = 0
    def next(self):
        self.n += 1
        return self.n, ray.get_runtime_context().get_node_id()

group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
before = nodes_of(group)
dies = next(i for i in range(2) if before[i] != me)
stays = 1 - dies
keeper = Counter.options(scheduling_strategy=InGroup(group, stays)).remote()
mover = Counter.options(scheduling_strategy=InGroup(group, dies), max_restarts=-1, max_task_retries=-1).remote()
print(ray.get(keeper.next.remote())[0], ray.get(mover.next.remote())[0])
kill(before[dies])
after = nodes_of(group)
print(after[stays] == before[stays], after[dies] not in before)
print(ray.get(keeper.next.remote(), timeout=30)[0], ray.get(mover.next.remote(), timeout=30) == (1, after[dies]))
""") == ["1", "1", "True", "True", "2", "True"]  # fmt: skip


def test_a_group_waits_for_room_after_a_death(ray_mpi):
    assert run(ray_mpi, """
group = placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
before = nodes_of(group)
dead = next(n for n in before if n != me)
kill(dead)
eventually(lambda: placement_group_table(group)["state"] == "RESCHEDULING")
lost = before.index(dead)
waits = where.options(scheduling_strategy=InGroup(group, lost)).remote()
alive = [ray.get(where.options(scheduling_strategy=InGroup(group, i)).remote(), timeout=30) for i in range(3) if i != lost]
print(alive == [n for n in before if n != dead], len(ray.wait([waits], timeout=0.5)[0]))
remove_placement_group(group)
try:
    ray.get(waits, timeout=30)
except ray.exceptions.TaskPlacementGroupRemoved:
    print("removed")
""") == ["True", "0", "removed"]  # fmt: skip


def test_a_gang_is_not_starved_by_small_tasks_everywhere(ray_mpi):
    assert run(ray_mpi, """
@ray.remote(num_cpus=1)
def small():
    time.sleep(0.002)

refs = [small.remote() for _ in range(6000)]
group = placement_group([{"CPU": 2}] * 3, strategy="STRICT_SPREAD")
print(group.wait(30), len(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) < len(refs))
remove_placement_group(group)
ray.get(refs, timeout=50)
""") == ["True", "True"]  # fmt: skip


def test_bundles_with_labels(ray_mpi):
    """Each rank has its zone. What no zone holds waits; a lost bundle waits for its own zone."""
    config = ray_mpi.write("zones.ini", "".join(f"[rank {r}]\nlabels = zone={z}\n" for r, z in enumerate("abc")))
    text = """
zones = {n["NodeID"]: n["Labels"]["zone"] for n in ray.nodes()}
def group_in(*selectors, strategy="PACK"):
    asked = [dict(zone=s) if s else {} for s in selectors]
    return placement_group([{"CPU": 1}] * len(asked), strategy=strategy, bundle_label_selector=asked)

for strategy in ("PACK", "SPREAD", "STRICT_SPREAD"):
    group = group_in("c", "in(a, b)", "!in(a, c)" if strategy != "STRICT_SPREAD" else "a", strategy=strategy)
    at = [zones[node] for node in nodes_of(group)]
    print(at[0], at[1] in "ab", at[2] in ("a" if strategy == "STRICT_SPREAD" else "b"))
    remove_placement_group(group)
    eventually(lambda: ray.available_resources().get("CPU") == 6)
together = group_in("b", "", strategy="STRICT_PACK")
print(*[zones[node] for node in nodes_of(together)])
print(group_in("a", "b", strategy="STRICT_PACK").wait(0.3), group_in("d").wait(0.3))
lost = group_in("c", "a")
before = nodes_of(lost)
kill(before[0])
eventually(lambda: placement_group_table(lost)["state"] == "RESCHEDULING")
print(lost.wait(0.5), placement_group_table(lost)["state"])
"""
    done = ray_mpi("-n", "3", "--num-cpus", "2", "--config", config, ray_mpi.write("app.py", START + text))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["c True True"] * 3 + ["b b", "False False", "False RESCHEDULING"]
    assert "with the labels {zone: in(d)}; it waits for nodes that can" in done.stderr
