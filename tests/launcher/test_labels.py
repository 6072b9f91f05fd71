# SPDX-License-Identifier: Apache-2.0
"""Three ranks that differ: where tasks and actors with labels, strategies and big arguments run."""

import pytest

pytestmark = pytest.mark.usefixtures("mpirun")

CONFIG = """
num-cpus = 2
[rank 0]
labels = zone=a
[rank 1]
labels = zone=b,disk=nvme
resources = {"slot": 1}
[rank 2]
labels = zone=b
num-gpus = 2
"""

HEAD = '''
import time, ray
from ray.util.scheduling_strategies import *
ray.init()
nodes = {n["Rank"]: n for n in ray.nodes()}
rank_of = {n["NodeID"]: rank for rank, n in nodes.items()}

@ray.remote
def where(*args):
    return rank_of[ray.get_runtime_context().get_node_id()]

@ray.remote
def stay(seconds):
    time.sleep(seconds)
    return rank_of[ray.get_runtime_context().get_node_id()]

@ray.remote
class Keeper:
    def where(self):
        return rank_of[ray.get_runtime_context().get_node_id()]

def ranks(n, **options):
    """Of tasks that are long enough for no node to be through with them before another has begun."""
    return sorted(set(ray.get([stay.options(**options).remote(0.2) for _ in range(n)], timeout=60)))
'''


@pytest.fixture
def run(ray_mpi):
    config = ray_mpi.write("ranks.ini", CONFIG)

    def run(text):
        path = ray_mpi.write("app.py", HEAD + text)
        done = ray_mpi("-n", "3", "--config", config, path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_labels_per_rank(run):
    out = run(
        """
print([nodes[r]["Labels"]["zone"] for r in range(3)], nodes[1]["Labels"]["disk"], nodes[1]["Resources"]["slot"])
print(ranks(8, label_selector={"zone": "a"}), ranks(8, label_selector={"zone": "b"}))
print(ranks(8, label_selector={"zone": "b", "disk": "!nvme"}), ranks(8, label_selector={"disk": "in(nvme, hdd)"}))
print(ranks(4, label_selector={"ray.io/node-id": nodes[2]["NodeID"]}))
print(ranks(4, label_selector={"zone": "c"}, fallback_strategy=[{"label_selector": {"disk": "nvme"}}]))
time.sleep(1)  # until leases are given back: what is soft asks only for a node with room
soft = NodeLabelSchedulingStrategy({"zone": In("b")}, soft={"disk": Exists()})
print({ray.get(where.options(scheduling_strategy=soft).remote(), timeout=60) for _ in range(4)})
print(ranks(4, scheduling_strategy=NodeLabelSchedulingStrategy({"disk": DoesNotExist(), "zone": NotIn("a")})))
keepers = [Keeper.options(label_selector={"disk": "nvme"}).remote() for _ in range(4)]
print(set(ray.get([k.where.remote() for k in keepers], timeout=60)))
"""
    )
    assert out == "['a', 'b', 'b'] nvme 1.0\n[0] [1, 2]\n[2] [1]\n[2]\n[1]\n{1}\n[2]\n{1}\n"


def test_packed_to_the_half_then_spread_and_away_from_gpus(run):
    """Of two CPUs per node the first half goes to the nodes without GPUs, nearest first."""
    out = run(
        """
ray.get([stay.options(scheduling_strategy="SPREAD").remote(0.3) for _ in range(6)], timeout=60)
time.sleep(1)
def few(n):
    return sorted(ray.get([stay.remote(1.5) for _ in range(n)], timeout=60))
one = few(1)
time.sleep(1)
two = few(2)
time.sleep(1)
print(one, two, few(6))
"""
    )
    assert out == "[0] [0, 1] [0, 0, 1, 1, 2, 2]\n"


def test_tasks_go_where_their_arguments_are(run):
    out = run(
        """
import numpy
@ray.remote
def make(n):
    return numpy.zeros(n)
on = lambda rank: {"scheduling_strategy": NodeAffinitySchedulingStrategy(nodes[rank]["NodeID"], soft=False)}
small = [make.options(**on(1)).remote(400_000) for _ in range(3)]
large = make.options(**on(2)).remote(800_000)
ray.wait(small + [large], num_returns=4, timeout=60, fetch_local=False)
time.sleep(1)
print(ray.get([where.remote(large), where.remote(*small, large)], timeout=60))
"""
    )
    assert out == "[2, 1]\n"


def test_a_dead_node_by_affinity_and_by_label(run):
    out = run(
        """
import json, os, pathlib, signal
lost = nodes[2]["NodeID"]
@ray.remote(max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(lost, soft=False))
def raylet():
    return os.environ["RAY_MPI_SESSION"]
session = ray.get(raylet.remote(), timeout=60)
@ray.remote(max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(lost, soft=False))
def kill():
    os.kill(json.loads((pathlib.Path(session) / "session.json").read_text())["keeper_pid"], signal.SIGKILL)
kill.remote()
while nodes[2]["Alive"]:
    time.sleep(0.1)
    nodes = {n["Rank"]: n for n in ray.nodes()}
hard = NodeAffinitySchedulingStrategy(lost, soft=False)
soft = NodeAffinitySchedulingStrategy(lost, soft=True)
keeper = Keeper.options(scheduling_strategy=hard).remote()
for thing in (where.options(scheduling_strategy=hard).remote(), keeper.where.remote()):
    try:
        ray.get(thing, timeout=60)
    except ray.exceptions.RayError as error:
        print(type(error).__name__)
print(ray.get(where.options(scheduling_strategy=soft).remote(), timeout=60) in (0, 1))
print(ranks(4, label_selector={"zone": "b"}))
"""
    )
    assert out == "TaskUnschedulableError\nActorUnschedulableError\nTrue\n[1]\n"
