# SPDX-License-Identifier: Apache-2.0
"""One object for six ranks: receivers serve each other, whoever dies meanwhile, and every byte is right."""

import pytest

pytestmark = pytest.mark.usefixtures("mpirun")

START = """
import os, subprocess, sys, time
import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init()
driver = ray.get_runtime_context().get_node_id()
others = [n["NodeID"] for n in ray.nodes() if n["NodeID"] != driver]

def on(node):
    return NodeAffinitySchedulingStrategy(node, soft=False)

def pattern(n, size=96 << 20):
    return np.random.default_rng(n).integers(0, 256, size, dtype=np.uint8)

@ray.remote(num_cpus=0, max_retries=0)
def check(refs, n):
    return bool((ray.get(refs[0]) == pattern(n)).all())

@ray.remote(num_cpus=0)
def make(n):
    return pattern(n)

@ray.remote(num_cpus=0, max_retries=0)
def warm():
    return None

@ray.remote(num_cpus=0, max_retries=0)
def end_node(delay):
    time.sleep(delay)
    subprocess.run(["pkill", "-KILL", "-P", str(os.getppid()), "-x", "ray-mpi-raylet"])  # the keeper's child
    time.sleep(60)

def outcome(ref):
    try:
        return ray.get(ref, timeout=50)
    except ray.exceptions.GetTimeoutError:
        return "hangs"
    except ray.exceptions.RayError as error:
        print(error, file=sys.stderr)
        return type(error).__name__

ray.get([warm.options(scheduling_strategy=on(n)).remote() for n in others])
"""


def run(ray_mpi, text):
    done = ray_mpi("-n", "6", "--num-cpus", "2", "--object-store-memory", "256M", ray_mpi.write("app.py", START + text))
    assert done.returncode == 0 and set(done.stdout.split()) == {"True"}, done.stdout + done.stderr
    return len(done.stdout.split())


def test_every_rank_gets_every_byte(ray_mpi):
    assert run(ray_mpi, """
ref = ray.put(pattern(1))
print(*ray.get([check.options(scheduling_strategy=on(n)).remote([ref], 1) for n in others]))
""") == 5


def test_a_receiver_that_serves_others_dies(ray_mpi):
    """At several moments of a transfer of tenths of seconds."""
    assert run(ray_mpi, """
for turn, delay in enumerate([0.01, 0.05, 0.12]):
    alive = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeID"] != driver]
    ref = ray.put(pattern(turn))
    first = check.options(scheduling_strategy=on(alive[0])).remote([ref], turn)
    end = end_node.options(scheduling_strategy=on(alive[0])).remote(delay)
    rest = [check.options(scheduling_strategy=on(n)).remote([ref], turn) for n in alive[1:]]
    outcomes = [outcome(r) for r in rest]
    here = {n["NodeID"] for n in ray.nodes() if n["Alive"]}  # on a machine that is too busy others may be given up
    print(*[o if n in here else True for n, o in zip(alive[1:], outcomes)])
    del ref
    outcome(end)
""") >= 4


def test_the_source_dies(ray_mpi):
    """It is made again, and who had some of it asks there."""
    assert run(ray_mpi, """
ref = make.options(scheduling_strategy=NodeAffinitySchedulingStrategy(others[0], soft=True)).remote(3)
ray.wait([ref], fetch_local=False)
end = end_node.options(scheduling_strategy=on(others[0])).remote(0.05)
print(*map(outcome, [check.options(scheduling_strategy=on(n)).remote([ref], 3) for n in others[1:]]))
print(bool((ray.get(ref, timeout=50) == pattern(3)).all()))
""") == 5
